"""The right to write: a lease that one process of a system holds at a time, and the fence that makes the journal refuse everybody else.

A lease alone is not a fence: a process that was frozen wakes up believing in it. So the lease only says who may try, by a deadline on the machine's own
clock; what is written carries the owner's fence record, and the journal refuses it once another owner has put down his. It refuses to guess that an
owner is gone: it waits until the lease has run out, except where the same place, which only one living process can occupy, is occupied by us.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import structlog

from tradingsystem.domain.errors import BrokenInvariant, OutcomeUnknown, RequestRefused, TryAgain
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.interfaces import Clock, Journal, Lease
from tradingsystem.messages.codec import Malformed, encode, read_json
from tradingsystem.messages.subjects import Subjects

RENEW_SHARE = 0.2  # of the lease's life
LOOK_SECONDS = 0.25

_log = structlog.get_logger()


class Owner(msgspec.Struct, frozen=True):
    """Who holds the lease. ``place`` is what only one living process can occupy at a time, empty when there is no such thing."""

    id: str
    place: str = ""


class Writer:
    """One process's claim to be the only one that writes."""

    def __init__(self, *, owner: Owner, lease: Lease, journal: Journal, subjects: Subjects, clock: Clock) -> None:
        self._owner, self._lease, self._journal, self._subjects, self._clock = owner, lease, journal, subjects, clock
        self._value = msgspec.json.encode(owner)
        self._revision = 0
        self._until_ns = 0
        self.fence_seq = 0

    def left_seconds(self) -> float:
        """How long nobody else can hold the lease, by the machine's clock; below zero when somebody may."""
        return (self._until_ns - self._clock.monotonic()) / NS_PER_SECOND

    async def take(self, stop: asyncio.Event) -> bool:
        """Wait for the lease, then put down the fence; False when ``stop`` came first."""
        told = ""
        while not stop.is_set():
            try:
                held = await self._lease.read()
                if held is None or self._is_dead(held[0]):
                    await self._write(0 if held is None else held[1])
                    await self._fence()
                    _log.info("lease_taken", owner=self._owner.id, fence=self.fence_seq)
                    return True
                waiting_for = held[0].decode(errors="replace")
            except (RequestRefused, OutcomeUnknown, TryAgain) as error:
                waiting_for = str(error)
            if waiting_for != told:
                _log.warning("lease_held_by_another", owner=waiting_for, life_seconds=self._lease.life_seconds)
                told = waiting_for
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await stop.wait()
            except TimeoutError:
                continue
        return False

    def _is_dead(self, value: bytes) -> bool:
        """Whether it was given back, or the holder is ourselves or somebody whose place we occupy."""
        if not value:
            return True
        try:
            holder = read_json(value, Owner)
        except Malformed:
            return False
        return holder.id == self._owner.id or bool(holder.place and holder.place == self._owner.place)

    async def _write(self, revision: int) -> None:
        before_ns = self._clock.monotonic()
        self._revision = await self._lease.write(self._value, revision)
        self._until_ns = before_ns + int(self._lease.life_seconds * NS_PER_SECOND)

    async def _fence(self) -> None:
        fences = [entry.seq async for entry in self._journal.read(self._subjects.journal_fence)]
        last = fences[-1] if fences else 0
        self.fence_seq = await self._journal.append(self._subjects.journal_fence, encode(self._owner), fence_seq=last)

    async def keep(self, lost: Callable[[], None]) -> None:
        """Renew until cancelled. ``lost`` hears that the lease has run out and may be anybody's; the next renewal may win it back, as long as
        nobody wrote meanwhile. Raises ``BrokenInvariant`` when somebody did."""
        period = self._lease.life_seconds * RENEW_SHARE
        told = False
        while True:
            await asyncio.sleep(period)
            try:
                await self._renew()
                told = False
            except (TryAgain, OutcomeUnknown) as error:
                _log.warning("lease_not_renewed", reason=str(error), left_seconds=round(self.left_seconds(), 3))
            if self.left_seconds() <= 0 and not told:
                told = True
                lost()

    async def _renew(self) -> None:
        try:
            await self._write(self._revision)
            return
        except RequestRefused:
            held = await self._lease.read()
        if held is not None and not self._is_dead(held[0]):
            raise BrokenInvariant(f"another process writes for this system: {held[0].decode(errors='replace')}")
        try:
            await self._write(0 if held is None else held[1])
        except RequestRefused as refused:
            raise TryAgain("somebody else reached for the lease in the same moment") from refused

    async def leave(self) -> None:
        """Give the lease back, so that the next owner need not wait. What cannot be reached runs out by itself."""
        self._until_ns = 0
        try:
            await self._lease.write(b"", self._revision)
        except (RequestRefused, TryAgain, OutcomeUnknown) as error:
            _log.info("lease_not_given_back", reason=str(error))
