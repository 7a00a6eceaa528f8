"""Every rule of the gate, by its code: what it stops, what it lets pass, and that NaN never passes."""

from __future__ import annotations

import ast
import math
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradingsystem.domain import calendar
from tradingsystem.domain.orders import Approved, OrderClass, OrderIntent, OrderRefusal, OrderType, Purpose, Side
from tradingsystem.domain.time import NS_PER_MINUTE, NS_PER_SECOND
from tradingsystem.domain.trading import Mark, TradingState
from tradingsystem.risk import gate
from tradingsystem.risk.question import Exposure, Limits, Market, SystemState
from tradingsystem.risk.rules import BOTH_RULES, ENTRY_RULES, EXIT_RULES
from tradingsystem.spec.execution import EntryWindow
from tradingsystem.spec.resource import Mode
from tradingsystem.spec.risk import Risk

SESSION = calendar.session(date(2026, 3, 2))
NOW = SESSION.open_ns + 60 * NS_PER_MINUTE
PARTS = ("intent", "exposure", "limits", "market", "state")


def passing() -> dict[str, Any]:
    """An entry that every rule lets pass."""
    mark = Mark("AAA", NOW, 99.98, 100.00, 100.00, lower_band=90.0, upper_band=110.0)
    return {
        "intent": OrderIntent(
            client_order_id="t-AAA-e1",
            symbol="AAA",
            side=Side.BUY,
            quantity=20,
            purpose=Purpose.ENTRY,
            order_class=OrderClass.BRACKET,
            order_type=OrderType.LIMIT,
            limit_price=Decimal("100.00"),
            target_price=Decimal("100.50"),
            stop_loss_price=Decimal("99.50"),
            decided_at_ns=NOW,
            cause="signal-1",
        ),
        "exposure": Exposure(buying_power=Decimal(50_000)),
        "limits": Limits(risk=Risk(), window=EntryWindow(), mode=Mode.PAPER),
        "market": Market(
            now_ns=NOW,
            mark=mark,
            session=SESSION,
            clock_at_ns=NOW,
            signal_at_ns=NOW - NS_PER_SECOND,
            signal_expires_ns=NOW + NS_PER_MINUTE,
            average_volume=2e6,
        ),
        "state": SystemState(trading=TradingState.ACTIVE, reconciled=True, connected=True),
    }


def changed(**parts: dict[str, Any]) -> dict[str, Any]:
    base = passing()
    return {name: msgspec.structs.replace(base[name], **parts.get(name, {})) for name in PARTS}


def leaving(**parts: dict[str, Any]) -> dict[str, Any]:
    """The same as an exit of 20 of 20 held shares."""
    exit_parts = {
        "side": Side.SELL,
        "purpose": Purpose.FLATTEN,
        "order_class": OrderClass.SIMPLE,
        "target_price": None,
        "stop_loss_price": None,
    }
    base = changed(intent=exit_parts, exposure={"held": 20})
    return {name: msgspec.structs.replace(base[name], **parts.get(name, {})) for name in PARTS}


def mark(**more: Any) -> dict[str, Any]:
    return {"market": {"mark": msgspec.structs.replace(passing()["market"].mark, **more)}}


REFUSED: list[tuple[str, dict[str, dict[str, Any]]]] = [
    ("numbers", {"intent": {"quantity": 0}}),
    ("numbers", {"intent": {"limit_price": Decimal("100.005")}}),
    ("numbers", {"intent": {"limit_price": Decimal("-1")}}),
    ("trading-state", {"state": {"trading": TradingState.REDUCING}}),
    ("trading-state", {"state": {"trading": TradingState.HALTED}}),
    ("services-disagree", {"state": {"services_problem": "filter runs another build"}}),
    ("not-connected", {"state": {"connected": False}}),
    ("not-reconciled", {"state": {"reconciled": False}}),
    ("account-blocked", {"state": {"account_blocked": True}}),
    ("symbol-frozen", {"state": {"frozen": True}}),
    ("long-only", {"intent": {"side": Side.SELL}}),
    ("bracket-complete", {"intent": {"stop_loss_price": None}}),
    ("bracket-complete", {"intent": {"stop_loss_price": Decimal("100.00")}}),
    ("bracket-complete", {"intent": {"limit_price": None}}),
    ("model-simulated", {"market": {"simulated_model": True}}),
    ("probe", {"intent": {"probe": True}}),
    ("signal-expired", {"market": {"signal_expires_ns": NOW}}),
    ("signal-expired", {"market": {"signal_at_ns": NOW + 1}}),
    ("session-closed", {"market": {"session": None}}),
    ("session-closed", {"market": {"session": calendar.session(date(2026, 3, 3))}}),
    ("entry-window", {"limits": {"window": EntryWindow(after_open_minutes=61)}}),
    ("entry-window", {"limits": {"window": EntryWindow(before_close_minutes=330)}}),
    ("clock-stale", {"market": {"clock_at_ns": NOW - 6 * NS_PER_SECOND}}),
    ("clock-skewed", {"state": {"clock_skew_ns": NS_PER_SECOND // 2 + 1}}),
    ("clock-skewed", {"state": {"clock_skew_ns": -NS_PER_SECOND // 2 - 1}}),
    ("data-stale", mark(at_ns=NOW - 6 * NS_PER_SECOND)),
    ("data-stale", {"market": {"mark": None}}),
    ("halted", mark(halted=True)),
    ("quote-unusable", mark(bid=100.02)),
    ("quote-unusable", mark(bid=math.nan)),
    ("quote-unusable", mark(ask=math.inf)),
    ("price-collar", mark(bid=99.50, ask=99.60)),
    ("limit-bands", mark(upper_band=99.99)),
    ("limit-bands", mark(upper_band=math.nan)),
    ("limit-bands", mark(lower_band=100.00)),
    ("order-notional", {"intent": {"quantity": 51}}),
    ("order-notional", {"exposure": {"sibling_notional": Decimal("3000.01")}}),
    ("order-notional", {"exposure": {"sibling_notional": Decimal("NaN")}}),
    ("order-quantity", {"limits": {"risk": Risk(order_quantity_max=19)}}),
    ("order-quantity", {"exposure": {"sibling_quantity": 981}}),
    ("volume-unknown", {"market": {"average_volume": None}}),
    ("volume-unknown", {"market": {"average_volume": math.nan}}),
    ("volume-unknown", {"market": {"average_volume": math.inf}}),
    ("volume-unknown", {"market": {"average_volume": 0.0}}),
    ("volume-unknown", {"market": {"average_volume": -2e6}}),
    ("daily-volume", {"market": {"average_volume": 1_999.0}}),
    ("daily-volume", {"limits": {"risk": Risk(daily_volume_share_max_basis_points=1)}, "market": {"average_volume": 199_999.0}}),
    ("daily-volume", {"exposure": {"sibling_quantity": 1}, "market": {"average_volume": 2_000.0}}),
    ("gross-exposure", {"exposure": {"gross_notional": Decimal("23000.01")}}),
    ("gross-exposure", {"exposure": {"gross_notional": Decimal("NaN")}}),
    ("gross-exposure", {"exposure": {"gross_notional": Decimal("Infinity")}}),
    ("buying-power", {"exposure": {"buying_power": Decimal("1999.99")}}),
    ("buying-power", {"exposure": {"buying_power": Decimal("NaN")}}),
    ("buying-power", {"exposure": {"unsettled_notional": Decimal("48000.01")}}),
    ("positions-open", {"exposure": {"symbols": frozenset("BCDEF")}}),
    ("positions-per-day", {"exposure": {"opened_today": frozenset(str(number) for number in range(20))}}),
    ("symbol-busy", {"exposure": {"other_open": 1}}),
    ("symbol-busy", {"exposure": {"held": 1}}),
    ("self-cross", {"exposure": {"foreign_sells": 1}}),
    ("order-rate", {"exposure": {"entries_last_minute": 60}}),
    ("repeated-execution", {"exposure": {"symbol_entries_in_window": 6}}),
    ("daily-loss", {"exposure": {"day_profit": Decimal(-500)}}),
    ("daily-loss", {"exposure": {"day_profit": Decimal("NaN")}}),
    ("drawdown", {"exposure": {"drawdown_percent": 5.0}}),
    ("drawdown", {"exposure": {"drawdown_percent": math.nan}}),
    ("target-reached", {"exposure": {"day_realised": Decimal(1_000)}}),
    ("target-reached", {"exposure": {"day_realised": Decimal("NaN")}}),
]


def test_the_example_passes() -> None:
    """Without an entry that passes, the refusals below would prove nothing."""
    assert isinstance(gate.check(**passing()), Approved)
    assert isinstance(gate.check(**leaving()), Approved)


@pytest.mark.parametrize(("code", "parts"), REFUSED, ids=[f"{code}-{number}" for number, (code, _) in enumerate(REFUSED)])
def test_each_rule_refuses(code: str, parts: dict[str, dict[str, Any]]) -> None:
    """One fact is changed, and exactly the rule that is about it speaks (invariants 6, 7)."""
    verdict = gate.check(**changed(**parts))
    assert isinstance(verdict, OrderRefusal)
    assert verdict.code == code
    assert verdict.reason


def test_every_entry_rule_has_a_refusal_here() -> None:
    """A rule that no test reaches is a rule that may never speak."""
    assert {rule.code for rule in ENTRY_RULES + BOTH_RULES} == {code for code, _ in REFUSED}


@pytest.mark.parametrize(
    "parts",
    [
        parts
        for code, parts in REFUSED
        if code not in {"numbers", "long-only", "bracket-complete"} and "held" not in parts.get("exposure", {})
    ],
)
def test_exits_are_blocked_by_no_entry_rule(parts: dict[str, dict[str, Any]]) -> None:
    """Loss, notional, count, rate, halt, stale data: nothing of it keeps a position from being closed (invariant 1)."""
    intent = {key: value for key, value in parts.get("intent", {}).items() if key != "quantity"}
    assert isinstance(gate.check(**leaving(**(parts | {"intent": intent}))), Approved)


@pytest.mark.parametrize(
    ("code", "parts"),
    [
        ("sells-what-is-held", {"intent": {"quantity": 21}}),
        ("sells-what-is-held", {"exposure": {"pending_exits": 1}}),
        ("sells-what-is-held", {"exposure": {"held": 0}}),
        ("sells-only", {"intent": {"side": Side.BUY}}),
        ("numbers", {"intent": {"limit_price": Decimal("NaN")}}),
    ],
)
def test_exits_sell_only_what_is_held(code: str, parts: dict[str, dict[str, Any]]) -> None:
    """An exit is at most what is held less pending exits, so nothing can go short (invariant 6)."""
    verdict = gate.check(**leaving(**parts))
    assert isinstance(verdict, OrderRefusal)
    assert verdict.code == code


def test_every_exit_rule_is_in_the_reduced_gate() -> None:
    """The reduced gate is these rules and no other."""
    assert [rule.code for rule in EXIT_RULES] == ["sells-only", "sells-what-is-held"]


def test_an_approval_is_for_exactly_one_order() -> None:
    """Any change of the order, and time, end an approval (invariant 1)."""
    approved = gate.check(**passing())
    assert isinstance(approved, Approved)
    assert gate.invalid(approved, NOW) is None
    other = msgspec.structs.replace(approved, intent=msgspec.structs.replace(approved.intent, quantity=21))
    assert "not the one" in (gate.invalid(other, NOW) or "")
    assert "expired" in (gate.invalid(approved, approved.expires_at_ns + 1) or "")


@given(
    day_profit=st.decimals(allow_nan=True),
    drawdown=st.floats(),
    power=st.decimals(allow_nan=True),
    gross=st.decimals(allow_nan=True),
    bid=st.floats(),
    ask=st.floats(),
    age=st.integers(),
)
def test_nothing_strange_is_approved(
    day_profit: Decimal, drawdown: float, power: Decimal, gross: Decimal, bid: float, ask: float, age: int
) -> None:
    """Whatever the numbers are, an approval means that each of them is finite and inside its limit (invariant 7)."""
    parts = changed(
        exposure={"day_profit": day_profit, "drawdown_percent": drawdown, "buying_power": power, "gross_notional": gross},
        **mark(bid=bid, ask=ask, at_ns=NOW - age),
    )
    if isinstance(gate.check(**parts), Approved):
        assert day_profit > -500
        assert drawdown < 5
        assert power >= 2_000
        assert gross + 2_000 <= 25_000
        assert 0 < bid <= ask < math.inf
        assert abs(age) <= 5 * NS_PER_SECOND


@given(
    quantity=st.integers(1, 2_000),
    siblings=st.integers(0, 2_000),
    gross=st.decimals(0, 60_000, places=2),
    quantity_max=st.integers(1, 2_000),
    gross_max=st.integers(1, 60_000),
)
def test_nothing_passes_a_limit_of_size(quantity: int, siblings: int, gross: Decimal, quantity_max: int, gross_max: int) -> None:
    """Shares and gross exposure are approved exactly up to their limits, whatever was approved before in the same decision."""
    limits = Risk(order_quantity_max=quantity_max, gross_notional_max=gross_max, order_notional_max=10**9)
    parts = changed(
        intent={"quantity": quantity},
        exposure={"sibling_quantity": siblings, "gross_notional": gross, "buying_power": Decimal(10**9)},
        limits={"risk": limits},
    )
    within = quantity + siblings <= quantity_max and quantity * 100 + gross <= gross_max
    assert isinstance(gate.check(**parts), Approved) == within


@given(
    quantity=st.integers(1, 1_000),
    siblings=st.integers(0, 500),
    average=st.one_of(st.none(), st.floats(), st.floats(1, 1e7)),
    share=st.integers(1, 10_000),
)
def test_nothing_passes_a_share_of_the_days_volume(quantity: int, siblings: int, average: float | None, share: int) -> None:
    """Shares are approved exactly up to their part of an ordinary day's; an average that is no number above zero approves none."""
    limits = Risk(order_quantity_max=10**6, gross_notional_max=10**9, order_notional_max=10**9, daily_volume_share_max_basis_points=share)
    parts = changed(
        intent={"quantity": quantity},
        exposure={"sibling_quantity": siblings, "buying_power": Decimal(10**9)},
        market={"average_volume": average},
        limits={"risk": limits},
    )
    known = average is not None and math.isfinite(average) and average > 0
    within = average is not None and known and (quantity + siblings) * 10_000 <= share * average
    assert isinstance(gate.check(**parts), Approved) == within


def test_ages_grow_with_the_speed_of_the_clock() -> None:
    """At 1,000 times real time a quote may be 10 s old, at real time 5 s; a speed that is not a number changes nothing."""
    old = mark(at_ns=NOW - 9 * NS_PER_SECOND)
    assert isinstance(gate.check(**changed(limits={"speed": 1_000.0}, **old)), Approved)
    assert isinstance(gate.check(**changed(limits={"speed": math.nan}, **old)), OrderRefusal)


def test_the_gate_alone_makes_approvals() -> None:
    """No other product module builds ``Approved`` (invariant 1)."""
    package = Path(gate.__file__).parents[1]
    makers = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Approved"
    ]
    assert makers == ["risk/gate.py"]


def test_the_table_names_every_rule() -> None:
    """The documentation's table is generated from the rules themselves."""
    table = gate.rules_table()
    for rule in BOTH_RULES + ENTRY_RULES + EXIT_RULES:
        assert f"| `{rule.code}` |" in table
