"""The status of a resource as a value: facts and what stood there before in, the new status out. Pure.

Written only when it differs. What moves all the time (the day's profit) moves here at most every 30 s, so that a system that runs costs the API server nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from tradingsystem.domain.time import to_datetime
from tradingsystem.domain.trading import TradingStatus
from tradingsystem.spec.status import (
    ComponentReport,
    LatchSet,
    ModelsReport,
    RefusedBundle,
    RollbackReport,
    TradingReport,
    TradingSystemStatus,
)
from tradingsystem_operator.conditions import conditions
from tradingsystem_operator.facts import Facts, WorkloadFact

PROFIT_SECONDS = 30.0
_FORM = "%Y-%m-%dT%H:%M:%SZ"
_LATCHES_MAX = 64
_SENTENCE_MAX = 1_024
_REFUSED_MAX = 16


def read_status(raw: Mapping[str, Any] | None) -> TradingSystemStatus:
    """The status that stands in a resource; an empty one when there is none, or one that an older release wrote and nobody can read now."""
    try:
        return msgspec.convert(dict(raw or {}), TradingSystemStatus)
    except msgspec.ValidationError:
        return TradingSystemStatus()


def as_document(status: TradingSystemStatus) -> dict[str, Any]:
    """The status as it is written."""
    document: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(status))
    return document


def next_status(facts: Facts, before: TradingSystemStatus) -> TradingSystemStatus:
    """The status that these facts make of the one before."""
    acknowledged = facts.generation if facts.control.acknowledged else before.acknowledged_generation
    return TradingSystemStatus(
        observed_generation=facts.generation,
        acknowledged_generation=acknowledged,
        version=facts.version or before.version,
        revision=facts.revision or before.revision,
        conditions=conditions(facts, before.conditions),
        components=tuple(_component(workload, facts, before) for workload in facts.workloads) or before.components,
        trading=_trading(facts, before),
        models=_models(facts, before),
    )


def _component(workload: WorkloadFact, facts: Facts, before: TradingSystemStatus) -> ComponentReport:
    """A service that is silent for the moment keeps the hashes it last reported: it is not restarted by our not hearing it."""
    known = {component.name: component for component in before.components}.get(workload.name)
    beat = facts.control.beat(workload.name)
    boot = beat.boot_hash if beat is not None else (known.boot_hash if known is not None else "")
    live = known.live_hash if known is not None else ""
    if workload.name == "execution" and facts.control.live_hash:
        live = facts.control.live_hash
    serving = facts.control.model_serving if workload.name in {"models", "filter"} else 0
    return ComponentReport(
        name=workload.name,
        ready=workload.ready,
        revision=workload.revision,
        image=workload.image,
        boot_hash=boot,
        live_hash=live,
        model_version=serving,
    )


def _trading(facts: Facts, before: TradingSystemStatus) -> TradingReport | msgspec.UnsetType:
    """What execution says; when it is silent, what it said last, since a rule of the API server asks for it."""
    status = facts.control.status
    if status is None:
        return before.trading
    profit, told_at = _profit(status, before, facts.now)
    return TradingReport(
        state=status.state,
        since=to_datetime(status.since_ns).strftime(_FORM),
        why=status.why[:_SENTENCE_MAX],
        positions=len(status.positions),
        latches=tuple(
            LatchSet(
                id=latch.id,
                kind=latch.kind,
                state=latch.state,
                reason=latch.reason[:_SENTENCE_MAX],
                set_by=latch.set_by[:253],
                set_at=to_datetime(latch.set_at_ns).strftime(_FORM),
            )
            for latch in sorted(status.latches, key=lambda latch: latch.id)[:_LATCHES_MAX]
        ),
        day_profit=profit,
        day_profit_at=told_at,
    )


def _profit(status: TradingStatus, before: TradingSystemStatus, now: datetime) -> tuple[str, str]:
    """The day's profit and when it was told: the old pair until 30 s have passed and it has changed."""
    total = status.day_realised + status.day_unrealised - status.day_fees
    profit = str(total.quantize(Decimal("0.01")))
    told = before.trading
    if isinstance(told, TradingReport):
        age = (now - datetime.strptime(told.day_profit_at, _FORM).replace(tzinfo=UTC)).total_seconds()
        if profit == told.day_profit or 0 <= age < PROFIT_SECONDS:
            return told.day_profit, told.day_profit_at
    return profit, now.strftime(_FORM)


def _models(facts: Facts, before: TradingSystemStatus) -> ModelsReport | msgspec.UnsetType:
    """What models says; while it has not been heard, what it said last."""
    said = facts.control.models
    if said is None:
        return before.models
    back: RollbackReport | msgspec.UnsetType = msgspec.UNSET
    if said.rolled_back:
        back = RollbackReport(
            from_version=said.rolled_back,
            to_version=said.rolled_back_to,
            at=to_datetime(said.rolled_back_at_ns).strftime(_FORM),
            why=said.rolled_back_because[:_SENTENCE_MAX],
        )
    refused = [_refused(int(version), reason) for version, reason in said.refused.items()]
    return ModelsReport(
        serving=said.serving,
        previous=said.previous,
        candidate=said.trial,
        candidate_phase=said.phase,
        refused=tuple(refused[-_REFUSED_MAX:]),
        last_rollback=back,
    )


def _refused(version: int, reason: str) -> RefusedBundle:
    """``reason`` is the name of the refusal, a colon and the figures; what has no such name is told all the same."""
    name, _, why = reason.partition(": ")
    if not (name.isalnum() and name.isascii() and name[0].isalpha()):
        name, why = "Refused", reason
    return RefusedBundle(version=version, reason=name[:128], why=why[:_SENTENCE_MAX])
