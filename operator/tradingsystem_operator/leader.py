"""One operator works, by a Lease; others stand by. Whoever cannot renew in time stops before another may begin; on a clean end the Lease is given up.

Whether a holder is alive is judged by this machine's clock alone: a Lease is free when its record has not changed for as long as it promises, however far
the clocks of two nodes are apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import structlog

from tradingsystem.domain.errors import NotAuthorized, RequestRefused, TradingSystemError, TryAgain
from tradingsystem.telemetry import operator_metrics as metrics
from tradingsystem_operator.objects import Kind, Object

log = structlog.get_logger()

LEASE = Kind("Lease", "coordination.k8s.io/v1", "leases")


class Leases(Protocol):
    """The part of the cluster that a Lease needs."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """See ``Cluster``."""

    async def create(self, kind: Kind, thing: Object) -> Object:
        """See ``Cluster``."""

    async def replace(self, kind: Kind, thing: Object) -> Object:
        """See ``Cluster``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How long a Lease holds, after how long without success its holder has stopped, how long one answer is waited for, and how often it is renewed. Each
    shorter than the one before it is safe. The figures are those of Kubernetes' own leaders."""

    holds_seconds: float = 15.0
    stops_seconds: float = 10.0
    answers_seconds: float = 4.0
    renews_seconds: float = 2.0


class Leader:
    """One contender for one Lease. ``monotonic`` is this machine's time, ``wall`` what is written into the record for people."""

    def __init__(
        self,
        leases: Leases,
        *,
        namespace: str,
        name: str,
        identity: str,
        monotonic: Callable[[], float],
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        terms: Terms | None = None,
    ) -> None:
        self._leases, self._namespace, self._name, self._identity = leases, namespace, name, identity
        self._monotonic, self._wall, self._terms = monotonic, wall, terms or Terms()
        self._record: Object | None = None
        self._seen: tuple[object, float] = (None, 0.0)
        self._renewed = 0.0
        self.leads = False

    async def acquire(self) -> None:
        """Return once this process is the leader. It waits for ever, since a follower has nothing better to do."""
        told = ""
        while not await self._attempt(self._terms.answers_seconds):
            holder = ((self._record or {}).get("spec") or {}).get("holderIdentity") or "nobody"
            if holder != told:
                told = holder
                log.info("standing_by", lease=self._name, holder=holder)
            pause, free_in = self._terms.renews_seconds * random.uniform(0.5, 1.0), self._free_in_seconds()
            await asyncio.sleep(min(pause, free_in) if free_in > 0 else pause)
        self.leads = True
        metrics.leader.set(1)
        log.info("leads", lease=self._name, identity=self._identity)

    async def keep(self) -> str:
        """Renew until it is lost; returns why, at the latest ``stops_seconds`` after it was last renewed. Whoever called must stop writing at once."""
        while True:
            await asyncio.sleep(min(self._terms.renews_seconds, self._left_seconds()))
            if not await self._attempt(min(self._terms.answers_seconds, self._left_seconds())):
                holder = ((self._record or {}).get("spec") or {}).get("holderIdentity", "")
                if holder != self._identity and self._record is not None:
                    return self._lose(f"{holder or 'somebody'} holds the Lease now")
                if self._left_seconds() <= 0:
                    return self._lose(f"not renewed for {self._terms.stops_seconds:g} s")

    async def release(self) -> None:
        """Give it up, so that the next one need not wait. Does nothing for who does not hold it; a server that does not answer is not waited for."""
        if not self.leads or self._record is None:
            return
        self._lose("released")
        record = self._record
        record["spec"] = record["spec"] | {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._stamp()}
        with contextlib.suppress(TradingSystemError, TimeoutError):
            async with asyncio.timeout(3.0):
                await self._leases.replace(LEASE, record)

    def _lose(self, why: str) -> str:
        self.leads = False
        metrics.leader.set(0)
        return why

    def _left_seconds(self) -> float:
        """For how long whoever holds it may still try to renew it."""
        return max(0.0, self._renewed + self._terms.stops_seconds - self._monotonic())

    async def _attempt(self, within_seconds: float) -> bool:
        """Take or renew it, if it is free or ours. A server that does not answer in time counts as no."""
        try:
            async with asyncio.timeout(within_seconds):
                return await self._take()
        except (TryAgain, TimeoutError) as error:
            log.warning("lease_not_reached", lease=self._name, reason=str(error) or "no answer in time")
        except RequestRefused as error:
            if error.code not in {"Conflict", "AlreadyExists"}:  # somebody else was faster: look again
                log.error("lease_refused", lease=self._name, reason=error.reason)
        except NotAuthorized as error:
            log.error("lease_forbidden", lease=self._name, reason=str(error))
        return False

    async def _take(self) -> bool:
        began = self._monotonic()
        found = await self._leases.get(LEASE, self._namespace, self._name)
        if found is None:
            self._record = await self._leases.create(LEASE, self._made())
            self._renewed = began
            return True
        self._record = found
        spec = found.get("spec") or {}
        if not self._is_mine_or_free(spec):
            return False
        mine = spec.get("holderIdentity") == self._identity
        changed = {"holderIdentity": self._identity, "leaseDurationSeconds": round(self._terms.holds_seconds), "renewTime": self._stamp()}
        if not mine:
            changed |= {"acquireTime": self._stamp(), "leaseTransitions": spec.get("leaseTransitions", 0) + 1}
        self._record = await self._leases.replace(LEASE, found | {"spec": spec | changed})
        self._renewed = began
        return True

    def _is_mine_or_free(self, spec: Object) -> bool:
        holder = spec.get("holderIdentity")
        if not holder or holder == self._identity:
            return True
        record = (holder, spec.get("renewTime"), spec.get("leaseTransitions"))
        if record != self._seen[0]:
            self._seen = (record, self._monotonic() + float(spec.get("leaseDurationSeconds") or self._terms.holds_seconds))
        return self._free_in_seconds() <= 0

    def _free_in_seconds(self) -> float:
        """For how long the record that was seen last still holds; 0 when it does no more, or none was seen."""
        return max(0.0, self._seen[1] - self._monotonic())

    def _made(self) -> Object:
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": round(self._terms.holds_seconds),
            "acquireTime": self._stamp(),
            "renewTime": self._stamp(),
            "leaseTransitions": 0,
        }
        metadata = {"name": self._name, "namespace": self._namespace}
        return {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": metadata, "spec": spec}

    def _stamp(self) -> str:
        return self._wall().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
