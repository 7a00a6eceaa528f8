"""One message of each kind that crosses a process, with every field set to something a mistake would change."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

from tradingsystem.bundles.promotion import Alarmed, Event
from tradingsystem.bundles.refusal import Refusal
from tradingsystem.domain.calendar import Session, session
from tradingsystem.domain.control import (
    Beat,
    ClockTick,
    Command,
    CommandAnswer,
    CommandKind,
    ModelAct,
    ModelCommand,
    ModelsAssigned,
    ModelsState,
    SessionOpened,
    SourceState,
    SpecApplied,
    SpecSwitched,
    SymbolFact,
    SymbolTable,
    TapeNote,
    WeightsUpdated,
)
from tradingsystem.domain.orders import BrokerOrder, OrderClass, OrderIntent, OrderState, OrderType, OrderUpdate, Purpose, Side
from tradingsystem.domain.outcomes import Agreement, FeatureSample, FilterModels, Outcome, Role
from tradingsystem.domain.seals import Seal
from tradingsystem.domain.signals import Cut, CutOutcome, Regime, Signal
from tradingsystem.domain.splits import Rebased, Split
from tradingsystem.domain.trading import Latch, LatchCleared, LatchKind, Mark, TradingState

AT_NS = 1_772_462_400_123_456_789
DAY: Session = session(datetime.date(2026, 3, 2))

INTENT = OrderIntent(
    client_order_id="momentum-1-AAPL",
    symbol="BRK.B",
    side=Side.BUY,
    quantity=17,
    purpose=Purpose.ENTRY,
    order_class=OrderClass.BRACKET,
    order_type=OrderType.LIMIT,
    limit_price=Decimal("123.45"),
    target_price=Decimal("124.07"),
    stop_loss_price=Decimal("122.83"),
    decided_at_ns=AT_NS,
    cause="momentum.1.2.BRK.B",
)

ORDER = BrokerOrder(
    order_id="61e69015-8549-4bfd-b9c3-01e75843f47d",
    client_order_id=INTENT.client_order_id,
    symbol="BRK.B",
    side=Side.BUY,
    quantity=17,
    filled_quantity=5,
    filled_average_price=Decimal("123.4449"),
    state=OrderState.PARTIALLY_FILLED,
    raw_status="partially_filled",
    order_class=OrderClass.BRACKET,
    order_type=OrderType.LIMIT,
    limit_price=Decimal("123.45"),
    submitted_at_ns=AT_NS,
    updated_at_ns=AT_NS + 1,
)

AGREEMENT = Agreement(
    model=4,
    role=Role.SHADOW,
    since_ns=AT_NS,
    open_seconds=61,
    cuts=62,
    dropped=2,
    late=1,
    rows=18_600,
    rows_not_finite=3,
    decisions=40,
    decisions_changed=5,
    rank_correlation=0.93,
    difference_mean=-0.004,
    latency_p50_us=61.5,
    latency_p99_us=None,
)

SAMPLES: dict[str, tuple[Any, Any]] = {
    "beat": (Beat("filter", "7-abc", "0.1.0+abc", 1, "f00d", 3, "ready", AT_NS, {"rows": 1.5}), Beat),
    "broker_order": (ORDER, BrokerOrder),
    "clock_tick": (ClockTick(AT_NS, 60.0, running=True, finished=False), ClockTick),
    "command": (Command(id="c1", kind=CommandKind.CLEAR_LATCH, name="ada", reason="checked", latch_id="l1"), Command),
    "command_answer": (CommandAnswer(id="c1", accepted=False, reason="no such latch"), CommandAnswer),
    "cuts": ([Cut(AT_NS, 1, 64, AT_NS, True, 3, "onnxruntime", CutOutcome.OK, Regime.BULL, 12, 1, 9, 4, 10, CutOutcome.LATE)], list[Cut]),
    "filter_models": (
        FilterModels(
            serving=3,
            canary=5,
            canary_percent=10,
            shadow=4,
            refused={"6": "gone"},
            expired=(3,),
            agreements=(AGREEMENT,),
            outcomes=7,
            outcomes_open=8,
            outcomes_dropped=9,
        ),
        FilterModels,
    ),
    "intent": (INTENT, OrderIntent),
    "latch": (
        Latch(id="l1", kind=LatchKind.DAILY_LOSS, state=TradingState.REDUCING, reason="-501", set_by="execution", set_at_ns=AT_NS),
        Latch,
    ),
    "rebased": (
        Rebased(
            symbol="NVDA",
            splits=(Split(symbol="NVDA", ex_date=datetime.date(2026, 3, 3), old_rate=Decimal(1), new_rate=Decimal(10)),),
            at_ns=AT_NS,
            quantity_before=40,
            quantity=400,
            average_price_before=Decimal("1000.25"),
            average_price=Decimal("100.025"),
        ),
        Rebased,
    ),
    "latch_cleared": (LatchCleared(id="l1", name="ada", reason="checked", cleared_at_ns=AT_NS), LatchCleared),
    "marks": ([Mark("BRK.B", AT_NS, 123.44, 123.46, 123.45, 110.0, None, True)], list[Mark]),
    "weights_updated": (
        WeightsUpdated(
            model=3,
            update=7,
            weights=(0.5, 0.3, 0.2),
            slope=1.2,
            intercept=-0.1,
            variance_slope=0.01,
            variance_intercept=0.02,
            covariance=0.003,
            rows=500,
            reason="learned",
        ),
        TapeNote,
    ),
    "model_command": (
        ModelCommand(id="9", act=ModelAct.PROMOTE, name="ada", reason="drill", version=4),
        ModelCommand,
    ),
    "promotion": (Alarmed(at_ns=AT_NS, version=4, refusal=Refusal.LIVE_LOSS, detail="evidence 40 to 1"), Event),
    "models_state": (
        ModelsState(
            serving=3,
            pinned=4,
            generation=7,
            refused={"4": "its signature does not match"},
            previous=2,
            trial=5,
            phase="Shadow",
            phase_since_ns=AT_NS,
            phase_open_seconds=600,
            phase_open_seconds_needed=3_600,
            trial_by="ada: drill",
            rolled_back=4,
            rolled_back_because="LiveLoss",
            rolled_back_to=3,
            rolled_back_at_ns=AT_NS + 1,
            drifted={"3": "stability index: spread 4.90"},
            command="9",
            kept=(2, 3, 5),
        ),
        ModelsState,
    ),
    "models_assigned": (ModelsAssigned(4, canary=5, canary_percent=10, shadow=6), TapeNote),
    "order_update": (
        OrderUpdate(event="partial_fill", at_ns=AT_NS, order=ORDER, execution_id="e1", price=Decimal("123.44"), quantity=5),
        OrderUpdate,
    ),
    "feature_sample": (
        FeatureSample(session_open_ns=AT_NS, elapsed=0.25, symbols=("BRK.B",), values=bytes(range(200))),
        FeatureSample,
    ),
    "outcomes": (
        [Outcome(model=4, role=Role.CANARY, symbol="BRK.B", at_ns=AT_NS, closed_ns=AT_NS + 5, p=0.61, members=(0.5, 0.6, 0.7), label=1)],
        list[Outcome],
    ),
    "seal": (Seal(store="a1", first_seq=2, last_seq=3, digest=b"\x01" * 32, marks=b"\x02" * 8), Seal),
    "session_opened": (SessionOpened(DAY, (0.1, 1.0)), TapeNote),
    "signal": (
        Signal(
            "s",
            "momentum",
            AT_NS,
            2,
            "BRK.B",
            AT_NS,
            AT_NS + 300,
            0.6,
            0.55,
            0.9,
            1.0,
            1.1,
            None,
            1.5e6,
            Regime.BEAR,
            3,
            (0.5, 0.6, 0.7),
            True,
        ),
        Signal,
    ),
    "source_state": (SourceState("polygon", False, "silent"), TapeNote),
    "spec_applied": (SpecApplied(generation=2, spec=b"{}"), SpecApplied),
    "spec_switched": (SpecSwitched(2, b"{}"), TapeNote),
    "symbol_table": (SymbolTable((SymbolFact("BRK.B", "CS", "XNYS", 400.5, 1e6, 0.02),)), TapeNote),
}
