"""What the account has lost and gained, watched at every mark: a limit that is reached latches, and only a person re-arms it."""

from __future__ import annotations

from tradingsystem.domain.trading import LatchKind, TradingState
from tradingsystem.execution.actions import Action, SetLatch
from tradingsystem.execution.latches import latch
from tradingsystem.execution.state import State


def due(state: State) -> list[Action]:
    """Latches for the day's loss and the drawdown. Equity's peak is kept as it rises."""
    unrealised = state.unrealised()
    state.peak_equity = max(state.peak_equity, state.equity(unrealised))
    drawdown = state.drawdown_percent(unrealised)
    state.statistics.drawdown_max_percent = max(state.statistics.drawdown_max_percent, drawdown)
    risk = state.live.risk
    actions: list[Action] = []
    loss = state.day.armed_at - state.day_profit(unrealised)
    if loss >= risk.daily_loss_max:
        actions += _set(state, LatchKind.DAILY_LOSS, f"the day has lost {loss:.2f}, the limit is {risk.daily_loss_max}")
    if drawdown >= risk.drawdown_max_percent:
        actions += _set(state, LatchKind.DRAWDOWN, f"equity is {drawdown:.2f} % below its peak, the limit is {risk.drawdown_max_percent} %")
    return actions


def rearm(state: State, kind: LatchKind) -> None:
    """A person cleared the latch: the limit counts from here on, else it would latch again at once."""
    if kind is LatchKind.DAILY_LOSS:
        state.day.armed_at = state.day_profit()
    elif kind is LatchKind.DRAWDOWN:
        state.peak_equity = state.equity()
    elif kind is LatchKind.REFUSALS:
        state.refused_ns.clear()
    elif kind is LatchKind.RECONCILIATION:
        state.frozen.clear()  # what the broker lacks stays unsold: the next comparison says whether it still does
        state.snapshot_due_ns = state.now_ns


def _set(state: State, kind: LatchKind, reason: str) -> list[Action]:
    if any(one.kind is kind for one in state.latches.values()):
        return []
    made = latch(kind, TradingState.HALTED, reason, "execution", state.now_ns)
    state.latches[made.id] = made
    return [SetLatch(made)]
