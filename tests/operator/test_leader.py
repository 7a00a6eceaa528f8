"""Who leads, in virtual time: a Lease in memory whose server can fall silent, since what matters here are seconds. That a real API server takes these requests,
and that operators as processes take over from each other, is shown in `test_reconcile.py`.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable

import pytest

from tradingsystem.domain.errors import RequestRefused, TryAgain
from tradingsystem.world.trial.virtual_time import VirtualLoop, run
from tradingsystem_operator.leader import Leader, Terms
from tradingsystem_operator.objects import Kind, Object

TERMS = Terms()


def pass_by(seconds: float) -> asyncio.Future[None]:
    """Done when virtual time has moved on by so much."""
    loop = asyncio.get_running_loop()
    passed: asyncio.Future[None] = loop.create_future()
    loop.call_later(seconds, lambda: passed.done() or passed.set_result(None))
    return passed


class Records:
    """The Leases of one API server. ``silent``: it takes requests and answers none; ``away``: it refuses connections."""

    def __init__(self) -> None:
        self.kept: Object | None = None
        self.silent = self.away = False
        self.asked = self._version = 0

    async def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        await self._answer()
        return copy.deepcopy(self.kept)

    async def create(self, kind: Kind, thing: Object) -> Object:
        await self._answer()
        if self.kept is not None:
            raise RequestRefused("AlreadyExists", "there is one", 409)
        return self._keep(thing)

    async def replace(self, kind: Kind, thing: Object) -> Object:
        await self._answer()
        assert self.kept is not None
        if thing["metadata"]["resourceVersion"] != self.kept["metadata"]["resourceVersion"]:
            raise RequestRefused("Conflict", "it has changed", 409)
        return self._keep(thing)

    async def _answer(self) -> None:
        self.asked += 1
        if self.silent:
            await asyncio.Event().wait()
        if self.away:
            raise TryAgain("connection refused")
        await pass_by(0.01)

    def _keep(self, thing: Object) -> Object:
        self._version += 1
        self.kept = copy.deepcopy(thing)
        self.kept["metadata"]["resourceVersion"] = str(self._version)
        return copy.deepcopy(self.kept)


def contender(records: Records, loop: VirtualLoop, identity: str) -> Leader:
    return Leader(records, namespace="n", name="lease", identity=identity, monotonic=loop.time)


async def seconds(loop: VirtualLoop, waited: Awaitable[object]) -> float:
    """How long it took."""
    began = loop.time()
    await waited
    return loop.time() - began


def test_a_lease_that_was_given_up_is_taken_at_the_next_look() -> None:
    """An orderly end: who stands by asks every two seconds and finds it free."""

    async def scene(loop: VirtualLoop) -> float:
        records = Records()
        first, second = contender(records, loop, "first"), contender(records, loop, "second")
        await first.acquire()
        waiting = asyncio.create_task(second.acquire())
        await pass_by(30)
        await first.release()
        assert not first.leads
        return await seconds(loop, waiting)

    assert run(scene) <= TERMS.renews_seconds + 0.1


def test_the_lease_of_one_that_was_killed_is_taken_the_moment_it_runs_out() -> None:
    """Nobody gives it up; who has just begun cannot know how old the record is, and waits as long as it promises, no second more."""

    async def scene(loop: VirtualLoop) -> float:
        records = Records()
        await contender(records, loop, "first").acquire()
        return await seconds(loop, contender(records, loop, "second").acquire())

    assert TERMS.holds_seconds <= run(scene) <= TERMS.holds_seconds + 0.2


def test_the_same_identity_begins_again_at_once() -> None:
    """A container that is started again in its pod: the one before it is dead for sure."""

    async def scene(loop: VirtualLoop) -> float:
        records = Records()
        await contender(records, loop, "pod").acquire()
        return await seconds(loop, contender(records, loop, "pod").acquire())

    assert run(scene) < 0.1


@pytest.mark.parametrize("how", ["silent", "away"])
@pytest.mark.parametrize("after_seconds", [0.0, 1.0, 1.99, 3.5])
def test_who_cannot_renew_has_stopped_before_another_may_begin(how: str, after_seconds: float) -> None:
    """Whatever the moment and the manner in which its API server goes: the holder stops in time, and does not give up while there is time."""

    async def scene(loop: VirtualLoop) -> tuple[float, str]:
        records = Records()
        leader = contender(records, loop, "first")
        await leader.acquire()
        keeping = asyncio.create_task(leader.keep())
        await pass_by(10 + after_seconds)
        assert records.kept is not None
        setattr(records, how, True)
        began = loop.time()
        why = await keeping
        assert not leader.leads
        return loop.time() - began, why

    took, why = run(scene)
    assert TERMS.stops_seconds - TERMS.renews_seconds - 0.1 <= took <= TERMS.stops_seconds + 0.1
    assert TERMS.stops_seconds < TERMS.holds_seconds
    assert "not renewed" in why


def test_a_server_that_is_silent_for_a_while_costs_no_leadership() -> None:
    """One request is given up after four seconds, and the next one is answered."""

    async def scene(loop: VirtualLoop) -> bool:
        records = Records()
        leader = contender(records, loop, "first")
        await leader.acquire()
        keeping = asyncio.create_task(leader.keep())
        await pass_by(10)
        records.silent = True
        await pass_by(5)
        records.silent = False
        await pass_by(60)
        return leader.leads and not keeping.done()

    assert run(scene)


def test_a_server_that_is_away_is_not_asked_without_a_pause() -> None:
    """Who has seen no record yet waits between two questions as well."""

    async def scene(loop: VirtualLoop) -> int:
        records = Records()
        records.away = True
        waiting = asyncio.create_task(contender(records, loop, "first").acquire())
        await pass_by(60)
        waiting.cancel()
        return records.asked

    assert run(scene) <= 60 / (TERMS.renews_seconds / 2) + 1
