"""What forces the trading state down, until a person clears it by its id with name and reason.

Exists so that a stop survives restarts and says who, when and why. A latch is never cleared by a better price, a new day or a changed manifest.
"""

from __future__ import annotations

from typing import NamedTuple

from tradingsystem.domain.control import Command, CommandAnswer, CommandKind
from tradingsystem.domain.trading import Latch, LatchCleared, LatchKind, TradingState

_DEPTH = {TradingState.ACTIVE: 0, TradingState.REDUCING: 1, TradingState.HALTED: 2}


class About(NamedTuple):
    """What a kind of latch forces, what sets it, and what lets it go."""

    forces: TradingState
    when: str
    cleared: str


_BY_ID = "`clear`, by id"
ABOUT: dict[LatchKind, About] = {
    LatchKind.HALT: About(
        TradingState.HALTED,
        "a person halts (by command, manifest, message, file), the broker's own switch is on, or a counter outside the strategy sees more than was decided; "
        "a person's `reduce` forces Reducing",
        "`resume`; not while the HALT file is there or the broker's switch is on",
    ),
    LatchKind.DAILY_LOSS: About(
        TradingState.HALTED, "the day's loss, realised and marked, reaches `risk.dailyLossMax`", f"{_BY_ID}; counts anew from there"
    ),
    LatchKind.DRAWDOWN: About(
        TradingState.HALTED, "equity is `risk.drawdownMaxPercent` below its peak", f"{_BY_ID}; the peak is today's equity from there"
    ),
    LatchKind.REPEATED_EXECUTION: About(
        TradingState.HALTED,
        "more than six entry orders of one symbol in ten minutes, or 200 exits that have not closed one position",
        _BY_ID,
    ),
    LatchKind.REFUSALS: About(TradingState.HALTED, "the broker has refused twenty orders within a minute", _BY_ID),
    LatchKind.RECONCILIATION: About(
        TradingState.HALTED,
        "a second symbol differs from the broker's word, or the first one before the account was ever found equal",
        _BY_ID,
    ),
    LatchKind.CARRIED: About(TradingState.REDUCING, "something held could not be sold before the close", _BY_ID),
    LatchKind.NEW_STORE: About(
        TradingState.HALTED, "the journal is another one than this place has known, or Paper or Live start for the first time", "`resume`"
    ),
    LatchKind.ACCOUNT: About(
        TradingState.HALTED, "the keys lead to another account than was declared, or another system trades on a dedicated one", _BY_ID
    ),
}

RESUMED_KINDS = frozenset({LatchKind.HALT, LatchKind.NEW_STORE})  # what Resume clears; all others are cleared one by one, by id


def deepest(states: list[TradingState]) -> TradingState:
    """The most restrictive; Active of none."""
    return max(states, key=_DEPTH.__getitem__, default=TradingState.ACTIVE)


def state_of(wish: TradingState, latches: dict[str, Latch]) -> tuple[TradingState, str]:
    """The state in force and why: the wish can only lower it further."""
    if not latches:
        return wish, _wished(wish)
    state = deepest([wish, *(latch.state for latch in latches.values())])
    speaking = [latch for latch in latches.values() if latch.state is state]
    if speaking:
        return state, f"latch {speaking[0].id}: {speaking[0].reason}"
    return state, _wished(state)


def _wished(state: TradingState) -> str:
    return "the manifest's trading.state" if state is not TradingState.ACTIVE else "nothing speaks against it"


def latch(kind: LatchKind, state: TradingState, reason: str, set_by: str, at_ns: int) -> Latch:
    """A new latch; its id is its kind and moment."""
    return Latch(id=f"{kind.value}-{at_ns}", kind=kind, state=state, reason=reason, set_by=set_by, set_at_ns=at_ns)


def cleared_by(
    command: Command, latches: dict[str, Latch], at_ns: int, locked: dict[str, str] | None = None
) -> tuple[list[LatchCleared], CommandAnswer]:
    """What a Resume or ClearLatch clears, and the answer to it. ``locked``: latches that nobody can clear now, by id, and why."""
    locked = locked or {}
    if not command.name.strip() or not command.reason.strip():
        return [], _no(command, "a latch is cleared with a name and a reason")
    if command.kind is CommandKind.CLEAR_LATCH:
        if command.latch_id not in latches:
            return [], _no(command, f"no latch {command.latch_id!r}; there are: {', '.join(latches) or 'none'}")
        if command.latch_id in locked:
            return [], _no(command, locked[command.latch_id])
        chosen = [latches[command.latch_id]]
    else:
        chosen = [latch for latch in latches.values() if latch.kind in RESUMED_KINDS and latch.id not in locked]
    cleared = [LatchCleared(id=latch.id, name=command.name, reason=command.reason, cleared_at_ns=at_ns) for latch in chosen]
    left = [latch.id for latch in latches.values() if latch not in chosen]
    if left and command.kind is CommandKind.RESUME:
        why = "; ".join(dict.fromkeys(locked[one] for one in left if one in locked))
        return cleared, _no(command, why or f"still latched, clear by id: {', '.join(left)}")
    return cleared, CommandAnswer(
        id=command.id, accepted=True, reason=f"cleared {', '.join(latch.id for latch in chosen) or 'nothing, none was set'}"
    )


def _no(command: Command, reason: str) -> CommandAnswer:
    return CommandAnswer(id=command.id, accepted=False, reason=reason)
