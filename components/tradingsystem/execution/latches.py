"""What forces the trading state down, until a person clears it by its id with name and reason.

Exists so that a stop survives restarts and says who, when and why. A latch is never cleared by a better price, a new day or a changed manifest.
"""

from __future__ import annotations

from tradingsystem.domain.control import Command, CommandAnswer, CommandKind
from tradingsystem.domain.trading import Latch, LatchCleared, LatchKind, TradingState

_DEPTH = {TradingState.ACTIVE: 0, TradingState.REDUCING: 1, TradingState.HALTED: 2}
RESUMED_KINDS = frozenset({LatchKind.HALT, LatchKind.NEW_STORE})  # what Resume clears; all others are cleared one by one, by id


def deepest(states: list[TradingState]) -> TradingState:
    """The most restrictive; Active of none."""
    return max(states, key=_DEPTH.__getitem__, default=TradingState.ACTIVE)


def state_of(wish: TradingState, latches: dict[str, Latch]) -> tuple[TradingState, str]:
    """The state in force and why: the wish can only lower it further."""
    state = deepest([wish, *(latch.state for latch in latches.values())])
    speaking = [latch for latch in latches.values() if latch.state is state]
    if speaking:
        return state, f"latch {speaking[0].id}: {speaking[0].reason}"
    return state, "the manifest's trading.state" if state is not TradingState.ACTIVE else "nothing speaks against it"


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
