"""Small recordings made by hand: what a run would have left on disk, message by message."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from tradingsystem.domain.control import Beat, SymbolFact, SymbolTable
from tradingsystem.domain.orders import BrokerOrder, OrderClass, OrderIntent, OrderState, OrderType, OrderUpdate, Purpose, Side
from tradingsystem.domain.rows import RowKind, Rows, empty
from tradingsystem.domain.signals import Cut, CutOutcome, Regime, Signal
from tradingsystem.domain.splits import Rebased
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.domain.trading import Mark, TradingState, TradingStatus
from tradingsystem.execution.inbox import AnswerReceived, MarksReceived, Outcome, Request, Started, UpdateReceived
from tradingsystem.messages.batch import Batch, encode_batch
from tradingsystem.messages.codec import encode
from tradingsystem.recorder.segments import Record, SegmentWriter
from tradingsystem.spec import load
from tradingsystem.spec.slices import slice_of

OPEN_NS = 1_772_461_800 * NS_PER_SECOND  # 2026-03-02 09:30 in New York
SYSTEM = "paper"


def at(seconds: float) -> int:
    """Market time, seconds after the open."""
    return OPEN_NS + int(seconds * NS_PER_SECOND)


def cut(seconds: float, regime: Regime = Regime.BULL, **more: Any) -> Cut:
    """A full cut that asked the model."""
    number = int(seconds * 10)
    plain: dict[str, Any] = {"full": True, "model": 1, "runtime": "onnxruntime", "outcome": CutOutcome.OK, "candidates": 3, "signals": 0}
    return Cut(**(plain | {"epoch": 1, "first_seq": number, "last_seq": number, "sealed_at_ns": at(seconds), "regime": regime} | more))


def signal(seconds: float, symbol: str = "ABC", *, probe: bool = False) -> Signal:
    """A wish to buy."""
    return Signal(
        id=f"{SYSTEM}.1.{int(seconds)}.{symbol}",
        system=SYSTEM,
        epoch=1,
        last_seq=int(seconds),
        symbol=symbol,
        at_ns=at(seconds),
        expires_at_ns=at(seconds + 300),
        p=0.7,
        p_low=0.65,
        confidence=0.9,
        bid=9.99,
        ask=10.0,
        vix=15.0,
        regime=Regime.BULL,
        model=1,
        members=(0.7, 0.6, 0.8),
        simulated_model=True,
        average_volume=1e6,
        probe=probe,
    )


def intent(name: str, side: Side = Side.BUY, purpose: Purpose = Purpose.ENTRY, symbol: str = "ABC") -> OrderIntent:
    """A durable decision."""
    return OrderIntent(
        client_order_id=name,
        symbol=symbol,
        side=side,
        quantity=10,
        purpose=purpose,
        order_class=OrderClass.BRACKET if purpose is Purpose.ENTRY else OrderClass.SIMPLE,
        order_type=OrderType.LIMIT,
        limit_price=Decimal("10.00"),
        decided_at_ns=at(1),
        cause="test",
    )


def fill(
    execution: str, name: str, side: Side, quantity: int, price: str, seconds: float, kind: OrderType = OrderType.LIMIT, symbol: str = "ABC"
) -> UpdateReceived:
    """One execution as the update stream brought it."""
    order = BrokerOrder(
        order_id=f"o-{name}",
        client_order_id=name,
        symbol=symbol,
        side=side,
        quantity=10,
        filled_quantity=quantity,
        filled_average_price=Decimal(price),
        state=OrderState.FILLED,
        raw_status="filled",
        order_class=OrderClass.BRACKET,
        order_type=kind,
    )
    update = OrderUpdate(event="fill", at_ns=at(seconds), order=order, execution_id=execution, price=Decimal(price), quantity=quantity)
    return UpdateReceived(received_at_ns=at(seconds), update=update)


def answer(name: str, took_us: int, outcome: Outcome = Outcome.DONE, request: Request = Request.SUBMIT, code: str = "") -> AnswerReceived:
    """What came of a request."""
    return AnswerReceived(
        received_at_ns=at(2), request=request, client_order_id=name, asked_at_ns=at(1), outcome=outcome, took_us=took_us, code=code
    )


def started(**simulation: Any) -> Started:
    """The beginning of execution, with the settings of a simulated system."""
    system = load(
        f"{{apiVersion: tradingsystem.dev/v1alpha1, kind: TradingSystem, metadata: {{name: {SYSTEM}}}, spec: {{simulation: {simulation or '{}'}}}}}"
    )
    settings = slice_of("execution", system)
    return Started(received_at_ns=at(0), settings=settings, speed=60.0, store="s")  # type: ignore[arg-type]


def status(seconds: float, **more: Any) -> TradingStatus:
    """Execution's word on itself; a quiet one unless told otherwise."""
    plain: dict[str, Any] = {
        "state": TradingState.ACTIVE,
        "since_ns": at(0),
        "why": "",
        "latches": (),
        "positions": (),
        "day_realised": Decimal(0),
        "day_unrealised": Decimal(0),
        "day_fees": Decimal(0),
        "equity": Decimal(50_000),
        "drawdown_percent": 0.0,
        "signals_seen": 0,
        "orders_sent": 0,
        "orders_filled": 0,
        "orders_refused": {},
        "unknown_orders": 0,
        "unprotected_shares": 0,
        "reconciled": True,
    }
    return TradingStatus(at_ns=at(seconds), **(plain | more))


def beat(service: str = "filter", **detail: float) -> Beat:
    """A heartbeat."""
    return Beat(
        service=service,
        instance="1-a",
        build="b",
        schema=1,
        boot_hash="h",
        live_generation=0,
        phase="ready",
        applied_ns=at(1),
        detail=detail,
    )


def quotes(first_second: int, prices: Sequence[float]) -> Batch:
    """One quote of the first symbol each second."""
    columns = {name: np.array(column) for name, column in empty(len(prices)).columns()}
    columns["kind"][:] = RowKind.QUOTE
    columns["at_ns"][:] = [at(first_second + place) for place in range(len(prices))]
    columns["v0"][:] = np.array(prices) - 0.01
    columns["v1"][:] = np.array(prices) + 0.01
    fact = SymbolFact(symbol="ABC", type="CS", exchange="XNYS", previous_close=10.0, average_volume=1e6, average_range=0.02)
    return Batch(
        epoch=1, seq=1, sealed_at_ns=at(first_second + len(prices)), gap=False, notes=(SymbolTable((fact,)),), rows=Rows(**columns)
    )


def traded_day() -> list[Any]:
    """Bought ten, sold at the target, all booked alike by everybody; +1.00 before fees."""
    return [
        started(),
        [cut(1, Regime.UNKNOWN), cut(60)],
        signal(61),
        intent("c-1"),
        answer("c-1", 9_000),
        fill("e1", "c-1", Side.BUY, 10, "10.00", 62),
        MarksReceived(received_at_ns=at(70), marks=(Mark(symbol="ABC", at_ns=at(70), bid=10.02, ask=10.04, last=10.03),)),
        fill("e2", "leg-1", Side.SELL, 10, "10.10", 600),
        [cut(900, Regime.NEUTRAL)],
        beat(funnel_type=90.0, funnel_spread=6.0, funnel_passed=4.0),
        status(0),
        status(900, day_realised=Decimal("1.00"), day_fees=Decimal("0.02"), equity=Decimal("50000.98"), orders_refused={"price-collar": 1}),
    ]


def broker(**more: Any) -> dict[str, Any]:
    """The simulator's summary of that day."""
    plain = {"positions": {}, "fills": 2, "realised_profit": "1.00", "fees": "0.02", "day_profit": "0.98", "consistent": True}
    return plain | more


def record(folder: Path, entries: Sequence[Any], tape: Sequence[Batch] = ()) -> Path:
    """Write a run's folder; every entry goes where a run would keep it. A tuple (subject, payload) is written as it is."""
    recording = folder / "recording"
    kinds: dict[str, list[Record]] = {"journal": [], "state": [], "tape": []}
    for number, entry in enumerate(entries, start=1):
        kind, subject, payload = _placed(entry)
        kinds[kind].append(Record(0, number, OPEN_NS, subject, payload))
    for batch in tape:
        kinds["tape"].append(Record(batch.epoch, batch.seq, batch.sealed_at_ns, f"tape.{SYSTEM}", encode_batch(batch)))
    for kind, records in kinds.items():
        writer = SegmentWriter(recording, kind)
        writer.write(records)
        writer.close()
    return folder


def _placed(entry: Any) -> tuple[str, str, bytes]:
    if isinstance(entry, tuple):
        return "journal", entry[0], entry[1]
    payload = encode(entry)
    if isinstance(entry, TradingStatus):
        return "state", f"state.{SYSTEM}.execution", payload
    if isinstance(entry, Beat):
        return "state", f"beat.{SYSTEM}.{entry.service}", payload
    kinds = {list: "cut", Signal: "signal", Rebased: "split", OrderIntent: f"intent.{getattr(entry, 'client_order_id', '')}"}
    return "journal", f"journal.{SYSTEM}.{kinds.get(type(entry), 'inbox')}", payload
