"""Changes of a running system, each way: what it was, what status said, what is asked, and whether the API server takes it."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec

from tradingsystem.spec.risk import Risk
from tradingsystem.spec.section import wire_name

NOW = "2026-03-02T15:00:00Z"
MODE = "mode-kept-while-positions-are-open"
SERVER = "message-server-kept-unless-halted-and-flat"
FLAT_HALTED = ("Halted", 0)
FLAT_ACTIVE = ("Active", 0)
HOLDING = ("Reducing", 2)
SILENT = None
"""The operator has not spoken yet: no status at all."""


@dataclasses.dataclass(frozen=True)
class Case:
    """`before` and `after` are changes of the smallest document; `trading` is state and open positions as status has them."""

    transition: str
    before: dict[str, Any]
    after: dict[str, Any]
    trading: tuple[str, int] | None
    accepted: bool


def _raised(name: str) -> str:
    return f"{name}-raised-only-when-halted"


def _limit_cases() -> list[Case]:
    """For each limit: raised by one while halted, while active, while nobody knows; lowered by one while active; kept."""
    cases = []
    for field in msgspec.structs.fields(Risk):
        name = wire_name(field.name)
        low, high = {f"spec.risk.{name}": field.default}, {f"spec.risk.{name}": field.default + 1}
        for trading, accepted in ((FLAT_HALTED, True), (FLAT_ACTIVE, False), (HOLDING, False), (SILENT, False)):
            cases.append(Case(_raised(name), low, high, trading, accepted))
        cases.append(Case(_raised(name), {}, high, FLAT_ACTIVE, False))  # left out is the founding value, so this raises too
        cases.append(Case(_raised(name), high, low, HOLDING, True))
        cases.append(Case(_raised(name), high, {}, FLAT_ACTIVE, True))
        cases.append(Case(_raised(name), low, low | {"spec.sizing.positionNotionalMin": 1_999}, FLAT_ACTIVE, True))
    return cases


def _target(amount: int) -> dict[str, Any]:
    return {"spec.risk.dailyTarget": amount}


def _mode(mode: str) -> dict[str, Any]:
    return {"spec.mode": mode}


_EXTERNAL = {"spec.messaging": {"type": "External", "urls": ["tls://nats-0:4222"], "secretRef": {"name": "nats-users"}}}
_MOVED = {"spec.messaging": _EXTERNAL["spec.messaging"] | {"urls": ["tls://nats-1:4222"], "replicas": 3}}

TRANSITION_CASES: tuple[Case, ...] = (
    *_limit_cases(),
    # 0 is no target at all, so it is the loosest.
    Case(_raised("dailyTarget"), _target(1_000), _target(0), FLAT_ACTIVE, False),
    Case(_raised("dailyTarget"), _target(0), _target(1_000_000_000), FLAT_ACTIVE, True),
    Case(MODE, _mode("Simulation"), _mode("Paper"), FLAT_ACTIVE, True),
    Case(MODE, _mode("Simulation"), _mode("Paper"), SILENT, True),
    Case(MODE, _mode("Simulation"), _mode("Paper"), HOLDING, False),
    Case(MODE, _mode("Paper"), _mode("Simulation"), ("Halted", 1), False),
    Case(MODE, {}, _mode("Simulation"), HOLDING, True),
    Case(SERVER, {}, _EXTERNAL, FLAT_HALTED, True),
    Case(SERVER, {}, _EXTERNAL, FLAT_ACTIVE, False),
    Case(SERVER, {}, _EXTERNAL, ("Halted", 1), False),
    Case(SERVER, _EXTERNAL, {}, SILENT, False),
    Case(SERVER, _EXTERNAL, {}, FLAT_HALTED, True),
    # Another way to the same servers; that it is the same journal is seen by its identity.
    Case(SERVER, _EXTERNAL, _MOVED, HOLDING, True),
)


def status_of(trading: tuple[str, int]) -> dict[str, Any]:
    """A status that says so, as the operator would write it."""
    state, positions = trading
    return {"observedGeneration": 1, "trading": {"state": state, "since": NOW, "positions": positions, "dayProfitAt": NOW}}
