"""What execution says of itself: the one message that operator, CLI and monitor read."""

from __future__ import annotations

from decimal import Decimal

from tradingsystem.domain.orders import OrderState
from tradingsystem.domain.trading import LatchKind, PositionView, TradingState, TradingStatus
from tradingsystem.execution.positions import bid_of
from tradingsystem.execution.protection import cover_of
from tradingsystem.execution.state import State
from tradingsystem.telemetry import metrics

CENT = Decimal("0.01")


def status_of(state: State) -> TradingStatus:
    """The state as it is published. Money in account currency, to the cent."""
    trading, why = state.trading()
    held = {symbol: position for symbol, position in state.positions.items() if position.quantity}
    covers = {symbol: cover_of(state, symbol) for symbol in held}
    unrealised = state.unrealised()
    return TradingStatus(
        at_ns=state.now_ns,
        state=trading,
        since_ns=state.since_ns,
        why=why,
        latches=tuple(state.latches.values()),
        positions=tuple(
            PositionView(
                symbol=symbol,
                quantity=position.quantity,
                average_price=position.average_price.quantize(Decimal("0.0001")),
                mark=bid_of(state.marks.get(symbol)),
                unrealised=state.unrealised_of(symbol, position).quantize(CENT),
                protected_quantity=covers[symbol].stopped,
            )
            for symbol, position in held.items()
        ),
        day_realised=state.day.realised.quantize(CENT),
        day_unrealised=unrealised.quantize(CENT),
        day_fees=state.day.fees.quantize(CENT),
        equity=state.equity(unrealised).quantize(CENT),
        drawdown_percent=state.drawdown_percent(unrealised),
        signals_seen=state.statistics.signals,
        orders_sent=state.statistics.sent,
        orders_filled=state.statistics.filled,
        orders_refused=dict(state.statistics.refused),
        unknown_orders=sum(1 for record in state.book.open() if record.state is OrderState.UNKNOWN),
        unprotected_shares=sum(cover.unprotected for cover in covers.values()),
        reconciled=state.reconciled,
        halt_confirmed=state.halting is None or state.halting.confirmed,
        statistics=state.statistics.numbers(),
    )


_latches = {kind: metrics.latches.labels(kind=kind.value) for kind in LatchKind}
_realised, _unrealised = (metrics.day_profit.labels(kind=kind) for kind in ("realised", "unrealised"))


def publish_metrics(status: TradingStatus, gross: Decimal) -> None:
    """The same numbers as metrics, and the gross exposure that the gate counts, dollars."""
    metrics.gross_exposure.set(float(gross))
    metrics.unknown_orders.set(status.unknown_orders)
    metrics.open_positions.set(len(status.positions))
    metrics.unprotected_shares.set(status.unprotected_shares)
    metrics.equity.set(float(status.equity))
    metrics.drawdown.set(status.drawdown_percent)
    _realised.set(float(status.day_realised - status.day_fees))
    _unrealised.set(float(status.day_unrealised))
    metrics.choose(metrics.trading_state, "state", tuple(state.value for state in TradingState), status.state.value)
    for kind, gauge in _latches.items():
        gauge.set(sum(1 for latch in status.latches if latch.kind is kind))
