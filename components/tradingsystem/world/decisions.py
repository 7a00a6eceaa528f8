"""What a journal says of orders, with each decision's questions asked again on the state that decided.

One pass over the journal: execution's ``step`` gets its inbox entry by entry, and right before a signal is applied, sizing and the gate's rules are
asked on the state as it stands. It refuses to be a second decider: what was decided is what ``step`` answered.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

import msgspec

from tradingsystem.domain.orders import Approved, OrderIntent, OrderRefusal, OrderState, Side
from tradingsystem.domain.signals import Cut, Signal
from tradingsystem.domain.trading import Mark
from tradingsystem.execution import entries
from tradingsystem.execution.actions import Action, Cancel, Lookup, Refused, Replace, Resubmit, Submit
from tradingsystem.execution.exposure import exposure_for, limits_of, system_state, with_sibling
from tradingsystem.execution.inbox import AnswerReceived, InboxEntry, SignalReceived, Started, UpdateReceived
from tradingsystem.execution.orders import OrderRecord, Role
from tradingsystem.execution.prices import decimal, up
from tradingsystem.execution.state import State
from tradingsystem.execution.step import begin, step
from tradingsystem.messages.codec import Malformed, decode
from tradingsystem.recorder.segments import Record
from tradingsystem.risk.question import Market, Question
from tradingsystem.sizing import Bet, NotSized, Sized, equity_to_size_with, kelly_fraction, size, vix_scale
from tradingsystem.spec.resource import Mode
from tradingsystem.spec.sizing import Sizing, SizingMethod
from tradingsystem.world.gate_figures import Answer, answers_to


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that an order's life had, in the order of the journal: asked by us, answered, or told by the broker."""

    seq: int
    at_ns: int
    order: str
    what: str  # asked, answer, event
    word: str
    state: OrderState | None = None
    quantity: int | None = None
    price: Decimal | None = None
    execution_id: str | None = None
    took_us: int | None = None
    code: str = ""
    reason: str = ""


class OrderSeen(msgspec.Struct, frozen=True, kw_only=True):
    """An order as the recording leaves it. ``state`` is None when only its intent was recorded; ``intent`` is None for a leg."""

    id: str
    symbol: str
    side: Side
    quantity: int
    role: Role | None
    state: OrderState | None
    filled: int
    average_price: Decimal | None
    limit_price: Decimal | None
    stop_price: Decimal | None
    refusal: str
    intent_seq: int | None
    intent: OrderIntent | None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The gate's yes, and which inbox entry led to it. ``held`` and ``opened_by`` are of the position right after it."""

    seq: int
    at_ns: int
    entry: str
    approved: Approved
    held: int
    opened_by: str | None


class SizingSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What sizing was given and what it answered; ``refused`` is its code and reason."""

    method: SizingMethod
    bet: Bet
    equity: Decimal
    account_equity: Decimal
    own_capital: Decimal  # initial capital and own realised profit
    kelly: Decimal | None  # the full Kelly fraction
    vix_scale: float
    settings: Sizing
    sized: Sized | None
    refused: NotSized | None


class Bracket(msgspec.Struct, frozen=True, kw_only=True):
    """One bracket as it was asked for, and each rule's answer."""

    intent: OrderIntent
    answers: tuple[Answer, ...]


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What execution made of a signal. ``refusal`` is what it said; without one the brackets were approved."""

    seq: int
    at_ns: int
    mark: Mark
    told: Mark | None  # the symbol's mark that came with the signal, None when there was none
    sizing: SizingSeen | None
    brackets: tuple[Bracket, ...]
    refusal: OrderRefusal | None


@dataclass(slots=True)
class Recorded:
    """Everything about orders that one journal holds, by id."""

    system: str = ""
    mode: Mode | None = None
    signals: dict[str, Signal] = field(default_factory=dict)
    cuts: dict[tuple[int, int], Cut] = field(default_factory=dict)
    intents: dict[str, OrderIntent] = field(default_factory=dict)
    intent_seqs: dict[str, int] = field(default_factory=dict)
    records: dict[str, OrderRecord] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    decisions: dict[str, Decision] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)  # client order id that never became an order, to its signal
    events: dict[str, list[Event]] = field(default_factory=dict)

    def names(self) -> list[str]:
        """Every id that can be asked for, once: orders, refused orders, signals."""
        return list(dict.fromkeys([*self.records, *self.intents, *self.refused, *self.signals]))

    def symbols(self) -> list[str]:
        """Symbols with an order or a signal."""
        found = [record.symbol for record in self.records.values()] + [signal.symbol for signal in self.signals.values()]
        return list(dict.fromkeys(found))

    def newest_of(self, symbol: str) -> str | None:
        """A symbol's newest decided order, else its newest signal."""
        intents = [intent for intent in self.intents.values() if intent.symbol == symbol]
        if intents:
            return max(intents, key=lambda intent: intent.decided_at_ns).client_order_id
        signals = [signal for signal in self.signals.values() if signal.symbol == symbol]
        return max(signals, key=lambda signal: signal.at_ns).id if signals else None

    def group_of(self, name: str) -> list[str]:
        """An order's group: itself first, then legs, parent and successors in the order in which they became known."""
        record = self.records.get(name)
        if record is None:
            return [name]
        return list(dict.fromkeys([record.group, *(key for key, other in self.records.items() if other.group == record.group)]))

    def cut_of(self, signal: Signal) -> Cut | None:
        """The cut that a signal was judged in."""
        return self.cuts.get((signal.epoch, signal.last_seq))

    def seen(self, name: str) -> OrderSeen:
        """One order as the recording leaves it."""
        record, intent = self.records.get(name), self.intents.get(name)
        if record is None:
            assert intent is not None, name
            record = OrderRecord(
                key=name,
                symbol=intent.symbol,
                side=intent.side,
                quantity=intent.quantity,
                role=Role.ENTRY,
                group=name,
                state=OrderState.INTENDED,
                limit_price=intent.limit_price,
                stop_price=intent.stop_price,
            )
        known = name in self.records
        return OrderSeen(
            id=name,
            symbol=record.symbol,
            side=record.side,
            quantity=record.quantity,
            role=record.role if known else None,
            state=record.state if known else None,
            filled=record.filled,
            average_price=record.value / record.filled if record.filled else None,
            limit_price=record.limit_price,
            stop_price=record.stop_price,
            refusal=record.refusal,
            intent_seq=self.intent_seqs.get(name),
            intent=intent,
        )


def read_recorded(journal: Iterable[Record]) -> Recorded:
    """One pass over a journal, in its sequence. Raises ``Malformed`` naming the entry that this build cannot read."""
    reader = _Reader()
    for record in journal:
        try:
            reader.take(record)
        except Malformed as error:
            raise Malformed(f"journal entry {record.seq} ({record.subject}): {error}") from error
    return reader.found


class _Reader:
    """Takes journal entries over, one by one."""

    def __init__(self) -> None:
        self.found = Recorded()
        self._state: State | None = None

    def take(self, record: Record) -> None:
        """One entry; subjects are ``journal.<system>.<kind>``."""
        found = self.found
        _, found.system, kind, *_ = record.subject.split(".")
        match kind:
            case "cut":
                cuts: list[Cut] = decode(record.payload, list[Cut])
                for cut in cuts:
                    found.cuts[cut.epoch, cut.last_seq] = cut
            case "signal":
                signal: Signal = decode(record.payload, Signal)
                found.signals[signal.id] = signal
            case "intent":
                intent: OrderIntent = decode(record.payload, OrderIntent)
                found.intents[intent.client_order_id] = intent
                found.intent_seqs[intent.client_order_id] = record.seq
            case "inbox":
                self._enter(record.seq, decode(record.payload, InboxEntry))

    def _enter(self, seq: int, entry: InboxEntry) -> None:
        """Nothing is stepped before the first ``Started``, as after a lost journal."""
        if self._state is None and isinstance(entry, Started):
            self._state = begin(entry)
            self.found.mode = entry.settings.mode
        state = self._state
        if state is None:
            return
        before: Decision | None = None
        if isinstance(entry, SignalReceived):
            state.now_ns = max(state.now_ns, entry.received_at_ns)  # as ``step`` does first
            before = asked_again(state, entry, seq)
        actions = step(state, entry)
        self._note(seq, state, entry)
        for action in actions:
            self._act(seq, state, entry, action)
        if isinstance(entry, SignalReceived) and before is not None:
            refusal = next((action.refusal for action in actions if isinstance(action, Refused)), None)
            self._decided(entry.signal, msgspec.structs.replace(before, refusal=refusal))
        if len(state.book.orders) != len(self.found.records):
            self.found.records.update(state.book.orders)

    def _decided(self, signal: Signal, decision: Decision) -> None:
        found = self.found
        found.signals.setdefault(signal.id, signal)
        if decision.refusal is not None and decision.refusal.code == "decided-before":
            found.decisions.setdefault(signal.id, decision)  # the same signal once more: the first decision is the one
            return
        found.decisions[signal.id] = decision
        if decision.refusal is not None:
            asked = [bracket.intent.client_order_id for bracket in decision.brackets]
            for name in (decision.refusal.client_order_id, *asked):
                found.refused[name] = signal.id

    def _note(self, seq: int, state: State, entry: InboxEntry) -> None:
        if isinstance(entry, AnswerReceived):
            self._event(
                Event(
                    seq=seq,
                    at_ns=entry.received_at_ns,
                    order=entry.client_order_id,
                    what="answer",
                    word=f"{entry.request.value} {entry.outcome.value}",
                    state=entry.order.state if entry.order is not None else None,
                    took_us=entry.took_us or None,
                    code=entry.code,
                    reason=entry.reason,
                )
            )
        elif isinstance(entry, UpdateReceived):
            update = entry.update
            self._event(
                Event(
                    seq=seq,
                    at_ns=update.at_ns,
                    order=state.book.keys.get(update.order.order_id, update.order.client_order_id),
                    what="event",
                    word=update.event,
                    state=update.order.state,
                    quantity=update.quantity,
                    price=update.price,
                    execution_id=update.execution_id,
                )
            )

    def _act(self, seq: int, state: State, entry: InboxEntry, action: Action) -> None:
        """What was asked for, and the approvals with the state right after them."""
        match action:
            case Submit(approved) | Resubmit(approved) | Replace(_, approved, _):
                intent = approved.intent
                position = state.positions.get(intent.symbol)
                self.found.intents.setdefault(intent.client_order_id, intent)
                verdict = Verdict(
                    seq=seq,
                    at_ns=approved.approved_at_ns,
                    entry=type(entry).__name__,
                    approved=approved,
                    held=state.held(intent.symbol),
                    opened_by=position.epoch if position is not None and position.quantity else None,
                )
                self.found.verdicts.setdefault(intent.client_order_id, verdict)
                self._asked(seq, state, intent.client_order_id, type(action).__name__.lower())
            case Cancel(_, client_order_id):
                self._asked(seq, state, client_order_id, "cancel")
            case Lookup(client_order_id, _):
                self._asked(seq, state, client_order_id, "lookup")

    def _asked(self, seq: int, state: State, order: str, word: str) -> None:
        self._event(Event(seq=seq, at_ns=state.now_ns, order=order, what="asked", word=word))

    def _event(self, event: Event) -> None:
        self.found.events.setdefault(event.order, []).append(event)


def asked_again(state: State, entry: SignalReceived, seq: int) -> Decision:
    """Sizing's and the gate's questions about a signal, on the state before it is applied; nothing of it is changed."""
    signal = entry.signal
    seen = entries.newest(signal, entry.mark)
    intents = entries.build(state, signal)
    market = Market(
        now_ns=state.now_ns,
        mark=seen,
        session=None if state.day.doubted else state.day.session,
        clock_at_ns=state.clock_at_ns,
        signal_at_ns=signal.at_ns,
        signal_expires_ns=signal.expires_at_ns,
        average_volume=signal.average_volume,
        simulated_model=signal.simulated_model,
    )
    brackets: list[Bracket] = []
    if not isinstance(intents, NotSized):
        exposure, limits, system = exposure_for(state, intents[0]), limits_of(state), system_state(state, signal.symbol)
        for intent in intents:
            answers = answers_to(Question(intent, exposure, limits, market, system))
            brackets.append(Bracket(intent=intent, answers=answers))
            if any(answer.refused is not None for answer in answers):
                break
            exposure = with_sibling(exposure, intent)
    sizing = _sizing(state, signal)
    return Decision(seq=seq, at_ns=state.now_ns, mark=seen, told=entry.mark, sizing=sizing, brackets=tuple(brackets), refusal=None)


def _sizing(state: State, signal: Signal) -> SizingSeen | None:
    """None where there was nothing to size with: no account, or no ask."""
    execution, settings = state.settings.execution, state.settings.sizing
    ask = decimal(signal.ask)
    if state.account is None or not ask.is_finite() or ask <= 0:
        return None
    bet = Bet(
        p_low=signal.p_low,
        target_basis_points=min(target.at_basis_points for target in execution.take_profits),
        stop_basis_points=execution.stop_loss_basis_points,
        price=up(ask),
        vix=signal.vix,
    )
    capital, realised = Decimal(execution.initial_capital), state.realised - state.fees
    equity = equity_to_size_with(capital, realised, state.account.equity)
    answer = size(settings, bet, equity)
    kelly = settings.method is SizingMethod.KELLY
    return SizingSeen(
        method=settings.method,
        bet=bet,
        equity=equity,
        account_equity=state.account.equity,
        own_capital=capital + realised,
        kelly=kelly_fraction(bet.p_low, Decimal(bet.target_basis_points) / bet.stop_basis_points) if kelly else None,
        vix_scale=vix_scale(bet.vix) if settings.vix_scaling else 1.0,
        settings=settings,
        sized=answer if isinstance(answer, Sized) else None,
        refused=answer if isinstance(answer, NotSized) else None,
    )
