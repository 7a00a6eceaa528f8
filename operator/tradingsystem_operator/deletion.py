"""The end of a system in order: halted first, then flat or covered, then let go. What to do next is a function of what execution says and of time. Pure.

It never waits for ever: a resource that cannot be deleted is worse than one that says what it left behind. Positions are sold only while the market is
open; outside of it the stops stay at the broker, and the event names what is held.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from tradingsystem.domain.trading import TradingState, TradingStatus
from tradingsystem_operator.facts import in_session

FINALIZER = "operator.tradingsystem.dev/ordered-deletion"

UNHEARD_SECONDS = 60.0
"""How long execution may be silent before the system is let go without its word."""
HALT_SECONDS = 60.0
"""How long the broker may take to confirm that no entry is open."""
FLATTEN_SECONDS = 300.0
"""How long selling may take, in session."""
LOOK_AGAIN_SECONDS = 1.0


class Act(enum.Enum):
    """What to do now."""

    HALT = "Halt"
    FLATTEN = "Flatten"
    WAIT = "Wait"
    LET_GO = "LetGo"


@dataclass(frozen=True, slots=True)
class Step:
    """The act, the reason of the event that tells it, and its text; ``warning`` when a person should look."""

    act: Act
    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is known of a system that is to go. ``seconds``: since deletion was asked for. ``ever_ran``: whether it has an execution at all.
    ``status``: execution's word, None while it is silent; ``flatten_sent``: whether selling was ordered."""

    seconds: float
    ever_ran: bool
    status: TradingStatus | None
    flatten_sent: bool


def next_step(asked: Asked) -> Step:
    """What to do now; the caller comes back after a second, or when execution speaks."""
    status = asked.status
    if not asked.ever_ran:
        return Step(Act.LET_GO, "DeletedBeforeItRan", "no execution was ever started: nothing is held and nothing is open")
    if status is None:
        return _unheard(asked)
    if status.state is not TradingState.HALTED:
        return Step(Act.HALT, "Halting", "halted by the operator, because the resource is deleted; no order opens from now on")
    if not status.halt_confirmed and asked.seconds < HALT_SECONDS:
        return Step(Act.WAIT, "Halting", "halted; the broker has not confirmed yet that no entry of ours is open")
    if not status.positions:
        return _flat(status)
    if not in_session(status):
        return Step(Act.LET_GO, "DeletedWithStops", f"the market is closed: {held(status)}; the stops stay at the broker", warning=True)
    if asked.seconds >= FLATTEN_SECONDS:
        text = (
            f"selling took longer than {FLATTEN_SECONDS:.0f} s: {held(status)}; what is protected keeps its stop at the broker: look there"
        )
        return Step(Act.LET_GO, "DeletedWithPositions", text, warning=True)
    if not asked.flatten_sent:
        return Step(Act.FLATTEN, "Flattening", f"selling at the market, because the resource is deleted: {held(status)}")
    return Step(Act.WAIT, "Flattening", f"being sold: {held(status)}")


def held(status: TradingStatus) -> str:
    """The positions in words: how many shares of what, how many of them under a stop."""
    parts = [f"{each.quantity} {each.symbol} ({each.protected_quantity} under a stop)" for each in status.positions]
    return "held " + ", ".join(parts)


def _unheard(asked: Asked) -> Step:
    if asked.seconds < UNHEARD_SECONDS:
        return Step(Act.WAIT, "DeletionWaits", f"execution says nothing; it is waited for, at most {UNHEARD_SECONDS:.0f} s")
    text = f"execution was silent for {UNHEARD_SECONDS:.0f} s: nobody here knows what is held or open; look at the broker, where stops stay"
    return Step(Act.LET_GO, "DeletedUnheard", text, warning=True)


def _flat(status: TradingStatus) -> Step:
    if status.halt_confirmed:
        return Step(Act.LET_GO, "DeletedFlat", "halted, nothing is held, and by the broker's word no entry is open")
    text = f"halted and flat, but within {HALT_SECONDS:.0f} s the broker did not confirm that no entry is open: look there"
    return Step(Act.LET_GO, "DeletedUnconfirmed", text, warning=True)
