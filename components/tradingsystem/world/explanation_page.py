"""An explanation as lines for a screen, newest first: what became of the order, then gate, size, signal, cut, batches. It shows and computes nothing."""

from __future__ import annotations

import textwrap

import msgspec

from tradingsystem.domain.orders import OrderIntent
from tradingsystem.domain.time import new_york_clock, new_york_date, to_iso
from tradingsystem.world.decisions import Bracket, Decision, Event, OrderSeen, SizingSeen
from tradingsystem.world.explain import Explanation
from tradingsystem.world.gate_figures import Answer

Line = tuple[str, str]
"""Text and style."""

INDENT = "  "
BATCHES_SHOWN = 4
CONDITIONS = frozenset(
    {
        "numbers",
        "trading-state",
        "services-disagree",
        "not-connected",
        "not-reconciled",
        "account-blocked",
        "symbol-frozen",
        "long-only",
        "bracket-complete",
        "model-simulated",
        "probe",
        "halted",
        "sells-only",
    }
)
"""Rules without a limit that is a number: named when they pass, shown in full when they refuse."""


def lines_of(one: Explanation, width: int = 120) -> list[Line]:
    """The whole page; nothing is wider than ``width`` but ids that cannot be broken."""
    parts = [
        _head(one),
        _orders(one),
        _events(one),
        _gate(one, width),
        _sizing(one.decision.sizing if one.decision is not None else None),
        _signal(one),
        _cut(one),
        _features(one, width),
    ]
    return [line for part in parts for line in part]


def _head(one: Explanation) -> list[Line]:
    at_ns = one.signal.at_ns if one.signal is not None else one.events[0].at_ns if one.events else 0
    mode = one.mode.value if one.mode is not None else "mode unknown"
    kind = ", PROBE" if one.signal is not None and one.signal.probe else ""
    day = f", {new_york_date(at_ns)} New York" if at_ns else ""
    what = one.order or (one.signal.id if one.signal is not None else one.asked)
    return [(f"{one.symbol}  {what}", "bold"), (f"system {one.system}, {mode}{kind}{day}; {one.run}", "dim")]


def _title(text: str) -> Line:
    return text.upper(), "bold cyan"


# --- orders and what the broker told ------------------------------------------------------------------------------------------------------


def _orders(one: Explanation) -> list[Line]:
    if not one.orders:
        return []
    lines = [_title("orders")]
    for order in one.orders:
        lines.append((INDENT + _order(order), "bold" if order.id == one.order else ""))
        if order.refusal:
            lines.append((f"{INDENT * 2}the broker refused: {order.refusal}", "red"))
    if one.opened_by is not None:
        lines.append((f"{INDENT}sells from the position that {one.opened_by} opened; signal and cut are that one's", ""))
    return lines


def _order(order: OrderSeen) -> str:
    role = order.role.value if order.role is not None else "Intent"
    state = order.state.value if order.state is not None else "in the journal only"
    filled = f"{order.filled} at {order.average_price:.4f}" if order.average_price is not None else "nothing"
    return f"{role:<7}{order.side.value.lower():<5}{order.quantity:>6} {_price(order):<26} {state:<16} filled {filled:<18} {order.id}"


def _price(order: OrderSeen) -> str:
    found = [f"{name} {price}" for name, price in (("limit", order.limit_price), ("stop", order.stop_price)) if price is not None]
    return ", ".join(found) or "market"


def _events(one: Explanation) -> list[Line]:
    if not one.events:
        return []
    names = _short_names(one)
    return [_title("what happened"), *((INDENT + _event(event, names), _event_style(event)) for event in one.events)]


def _short_names(one: Explanation) -> dict[str, str]:
    """Of each order: its role, with a number where there are several."""
    counts: dict[str, int] = {}
    names: dict[str, str] = {}
    for order in one.orders:
        role = order.role.value.lower() if order.role is not None else "intent"
        counts[role] = counts.get(role, 0) + 1
        names[order.id] = f"{role} {counts[role]}"
    return {name: text if counts[text.split()[0]] > 1 else text.split()[0] for name, text in names.items()}


def _event(event: Event, names: dict[str, str]) -> str:
    told = [event.word]
    if event.quantity is not None and event.price is not None:
        told.append(f"{event.quantity} at {event.price}, execution {event.execution_id}")
    elif event.state is not None:
        told.append(f"is {event.state.value}")
    if event.took_us is not None:
        told.append(f"after {event.took_us / 1e3:.1f} ms")
    told += [text for text in (event.code, event.reason) if text]
    return f"{clock(event.at_ns)}  {names.get(event.order, event.order):<9} {event.what:<7} {', '.join(told)}  (journal {event.seq})"


def _event_style(event: Event) -> str:
    if event.quantity is not None:
        return "green"
    return "red" if event.code or event.reason else ""


# --- the gate -------------------------------------------------------------------------------------------------------------------------------


def _gate(one: Explanation, width: int) -> list[Line]:
    decision = one.decision
    wanted = [bracket for bracket in decision.brackets if _shown(one, bracket)] if decision is not None else []
    lines: list[Line] = []
    for verdict in one.verdicts:
        if verdict.approved.intent.client_order_id not in {bracket.intent.client_order_id for bracket in wanted}:
            lines.append(
                (f"{INDENT}approved at {clock(verdict.at_ns)} on {verdict.entry} (journal {verdict.seq}), {verdict.held} held:", "green")
            )
            lines.append((INDENT * 2 + _intent(verdict.approved.intent), ""))
    if decision is not None:
        lines += _decided(decision, wanted, width)
    return [_title("gate"), *lines] if lines else []


def _shown(one: Explanation, bracket: Bracket) -> bool:
    """The brackets of the asked order's group; all of them where a signal was asked for or came to nothing."""
    ids = {order.id for order in one.orders}
    refused = one.decision is not None and one.decision.refusal is not None
    return refused or not ids or bracket.intent.client_order_id in ids


def _decided(decision: Decision, wanted: list[Bracket], width: int) -> list[Line]:
    lines: list[Line] = []
    when = f"at {clock(decision.at_ns)} (journal {decision.seq})"
    refusal = decision.refusal
    if refusal is not None:
        lines.append((f"{INDENT}refused {when} by {refusal.code}: {refusal.reason}", "bold red"))
    for bracket in wanted:
        passed = sum(1 for answer in bracket.answers if answer.asked and answer.refused is None)
        by = next((answer for answer in bracket.answers if answer.refused is not None), None)
        if by is not None:
            lines.append((f"{INDENT}rule {by.code}: {by.holds}", "red"))
            lines.append((f"{INDENT}value {by.value}, limit {by.limit}", "red"))
            lines.append(
                (f"{INDENT}{passed} rules passed before, {len(bracket.answers) - passed - 1} not asked; the order would have been", "")
            )
        elif refusal is not None:
            lines.append((f"{INDENT}{passed} rules passed for, taken back with its sibling:", ""))
        else:
            lines.append((f"{INDENT}approved {when}, {passed} rules passed:", "green"))
        lines.append((INDENT * 2 + _intent(bracket.intent), ""))
        if bracket is wanted[0]:
            lines += _answers(bracket.answers, width)
    return lines


def _answers(answers: tuple[Answer, ...], width: int) -> list[Line]:
    """What passed: figures with their limits, then the rules that have none, by code."""
    passed = [answer for answer in answers if answer.asked and answer.refused is None]
    figures = [f"{answer.code} {answer.value} ({answer.limit})" for answer in passed if answer.code not in CONDITIONS]
    conditions = [answer.code for answer in passed if answer.code in CONDITIONS]
    texts = ["; ".join(figures), f"and {', '.join(conditions)}" if conditions else ""]
    return [(line, "dim") for text in texts for line in _wrapped(text, width)]


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=INDENT * 2, subsequent_indent=INDENT * 2, break_long_words=False, break_on_hyphens=False
    )


def _intent(intent: OrderIntent) -> str:
    prices = (
        ("limit", intent.limit_price),
        ("at stop", intent.stop_price),
        ("target", intent.target_price),
        ("stop loss", intent.stop_loss_price),
    )
    told = ", ".join(f"{name} {price}" for name, price in prices if price is not None)
    return f"{intent.purpose.value} {intent.side.value.lower()} {intent.quantity} {intent.order_class.value}, {told or 'market'}; {intent.client_order_id}"


# --- size, signal, cut ----------------------------------------------------------------------------------------------------------------------


def _sizing(seen: SizingSeen | None) -> list[Line]:
    if seen is None:
        return []
    bet, settings = seen.bet, seen.settings
    lines = [_title(f"size: {seen.method.value}")]
    lines.append(
        (
            f"{INDENT}p_low {bet.p_low:.4f}, target {bet.target_basis_points} bp, stop {bet.stop_basis_points} bp, price {bet.price}; "
            f"equity {seen.equity:,.2f} = least of own {seen.own_capital:,.2f} and account {seen.account_equity:,.2f}",
            "",
        )
    )
    how = "" if seen.kelly is None else f"full Kelly {seen.kelly:.4f} x {settings.kelly_fraction_percent} % x "
    scale = f"VIX scale {seen.vix_scale:.2f}" if settings.vix_scaling else "no VIX scaling"
    if seen.sized is not None:
        took = f" = {seen.sized.fraction:.2%} of equity, at most {settings.position_notional_max:,}"
        lines.append((f"{INDENT}{how}{scale}{took}: {seen.sized.quantity} shares for {seen.sized.notional:,.2f}", ""))
    if seen.refused is not None:
        lines.append((f"{INDENT}{how}{scale}: no trade, {seen.refused.code}: {seen.refused.reason}", "red"))
    return lines


def _signal(one: Explanation) -> list[Line]:
    signal = one.signal
    if signal is None:
        return []
    members = "none: a scheduled probe" if signal.probe else ", ".join(f"{vote:.3f}" for vote in signal.members)
    vix = "unknown" if signal.vix is None else f"{signal.vix:.2f}"
    lines = [
        _title("signal"),
        (f"{INDENT}{signal.id}, from {clock(signal.at_ns)} to {clock(signal.expires_at_ns)}", ""),
        (f"{INDENT}p {signal.p:.4f}, p_low {signal.p_low:.4f}, confidence {signal.confidence:.3f}; members {members}", ""),
        (f"{INDENT}bid {signal.bid} / ask {signal.ask}, regime {signal.regime.value}, VIX {vix}", ""),
    ]
    if one.mark is not None:
        bands = f", bands {one.mark.lower_band} to {one.mark.upper_band}" if one.mark.lower_band is not None else ""
        lines.append((f"{INDENT}judged on bid {one.mark.bid} / ask {one.mark.ask} of {clock(one.mark.at_ns)}{bands}", ""))
    return lines


def _cut(one: Explanation) -> list[Line]:
    cut = one.cut
    if cut is None:
        return [_title("cut"), (f"{INDENT}not in the recording", "yellow")] if one.signal is not None else []
    sweep = "whole universe" if cut.full else "what was touched"
    lines = [
        _title("cut"),
        (f"{INDENT}epoch {cut.epoch}, batches {cut.first_seq} to {cut.last_seq}, sealed {to_iso(cut.sealed_at_ns)}; swept {sweep}", ""),
        (f"{INDENT}model {cut.model} on {cut.runtime}: {cut.outcome.value}, {cut.candidates} candidates, {cut.signals} signals", ""),
    ]
    if cut.weights:
        lines.append((f"{INDENT}its members blended with the weights of update {cut.weights}, learned live", ""))
    if cut.canary and one.signal is not None:
        decided = "it decided here" if one.signal.model == cut.canary else "this symbol is not among them"
        lines.append((f"{INDENT}canary {cut.canary} for {cut.canary_percent} % of the symbols: {cut.canary_outcome.value}; {decided}", ""))
    lines += [
        (f"{INDENT}batch {batch.seq}: {batch.rows} rows, sealed {clock(batch.sealed_at_ns)}{', after a gap' if batch.gap else ''}", "")
        for batch in one.batches[-BATCHES_SHOWN:]
    ]
    if len(one.batches) > BATCHES_SHOWN:
        lines.append((f"{INDENT}and {len(one.batches) - BATCHES_SHOWN} batches before", "dim"))
    if not one.batches:
        lines.append((f"{INDENT}its batches are not in the recording", "yellow"))
    return lines


def _features(one: Explanation, width: int) -> list[Line]:
    if one.features is None:
        return []
    column = 34
    cells = [f"{name:<22}{'neutral' if value is None else f'{value:.5g}':>10}" for name, value in one.features.items()]
    across = max((width - len(INDENT)) // column, 1)
    deep = -(-len(cells) // across)
    rows = ["".join(f"{cell:<{column}}" for cell in cells[place::deep]).rstrip() for place in range(deep)]
    return [_title("features at that cut"), *((INDENT + row, "") for row in rows)]


def clock(at_ns: int) -> str:
    """HH:MM:SS.mmm in New York."""
    return f"{new_york_clock(at_ns)}.{at_ns % 1_000_000_000 // 1_000_000:03d}"


def document(one: Explanation) -> bytes:
    """All of it as JSON, for machines; times in ns since the epoch, money as strings, numbers that are not finite as null."""
    return msgspec.json.format(msgspec.json.encode(one), indent=2)
