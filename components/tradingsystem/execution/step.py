"""``step(state, entry)``: one entry of the inbox goes in, the state moves on, actions come out. The same entries give the same bytes, for ever.

Exists so that every decision can be made again from a recording. It refuses to know what time it is, who listens and whether an action succeeds: that
is told by later entries.
"""

from __future__ import annotations

from datetime import date

from tradingsystem.domain.control import CommandAnswer, CommandKind
from tradingsystem.domain.orders import BrokerOrder, Fill, OrderIntent, OrderState, OrderUpdate, Purpose, Side
from tradingsystem.domain.time import NS_PER_MINUTE, new_york_date
from tradingsystem.domain.trading import LatchKind, TradingState
from tradingsystem.execution import answers, entries, flatten, halting, limits, protection, reconciliation, splits
from tradingsystem.execution.actions import Action, Alert, Answer, AskSession, ClearLatch, Lookup, SetLatch, TakeSnapshot
from tradingsystem.execution.book import Learned
from tradingsystem.execution.exposure import limits_of
from tradingsystem.execution.inbox import (
    AgeJudged,
    AnswerReceived,
    CommandReceived,
    ConnectionChanged,
    HaltFileSeen,
    InboxEntry,
    MarksReceived,
    Outcome,
    PeersHeard,
    Request,
    SessionReceived,
    SignalReceived,
    SnapshotReceived,
    SpecReceived,
    SplitsReceived,
    Started,
    Stopping,
    TimerTicked,
    UpdateReceived,
)
from tradingsystem.execution.latches import cleared_by, latch
from tradingsystem.execution.orders import Role
from tradingsystem.execution.positions import Position, fee_of
from tradingsystem.execution.state import Day, Silence, State, fresh, own_session
from tradingsystem.execution.statistics import Statistics
from tradingsystem.risk.rules import skew_problem
from tradingsystem.spec.resource import Mode

ASK_SESSION_SECONDS = 5.0
SNAPSHOT_LOST_SECONDS = 20.0
FORBIDDEN = "forbidden"
KEPT_ORDERS_NS = 24 * 60 * NS_PER_MINUTE


def begin(started: Started) -> State:
    """The state before a journal's first entry; the entry itself is stepped like any other."""
    return fresh(started.settings)


def step(state: State, entry: InboxEntry) -> list[Action]:
    """Apply one entry, then do whatever has come due because of it."""
    state.now_ns = max(state.now_ns, entry.received_at_ns)
    match entry:
        case SignalReceived():
            state.signal_seq = max(state.signal_seq, entry.seq)
            return entries.on_signal(state, entry.signal, entry.mark)
        case MarksReceived():
            state.clock_at_ns = state.now_ns
            state.marks.update((mark.symbol, mark) for mark in entry.marks)
            return limits.due(state) + _sweep(state)
        case TimerTicked():
            state.clock_at_ns = state.now_ns
            return _tick(state) + _sweep(state)
        case UpdateReceived():
            return _updated(state, entry.update) + _sweep(state)
        case AnswerReceived():
            return _answered(state, entry) + _sweep(state)
        case SnapshotReceived():
            return _snapshot(state, entry) + _sweep(state)
        case PeersHeard():
            return _peers(state, entry)
        case AgeJudged():
            return _aged(state, entry) + _sweep(state)
        case ConnectionChanged():
            return _connection(state, entry.connected)
        case SessionReceived():
            return _session(state, entry)
        case SplitsReceived():
            return splits.told(state, entry) + _sweep(state)
        case CommandReceived():
            return _command(state, entry) + _sweep(state)
        case SpecReceived():
            return _spec(state, entry) + _sweep(state)
        case HaltFileSeen():
            return halting.by_file(state, entry.reason) + _sweep(state)
        case Stopping():
            state.stopping = True
            return _sweep(state)
        case Started():
            return _started(state, entry)


def _sweep(state: State) -> list[Action]:
    """What has come due, covering first."""
    return protection.due(state) + entries.due(state) + splits.due(state) + flatten.due(state) + halting.due(state)


def _tick(state: State) -> list[Action]:
    state.book.tidy()
    actions = limits.due(state) + answers.due(state) + flatten.schedule(state)
    today = new_york_date(state.now_ns)
    if state.day.day != today and (not state.day.asked_at_ns or state.now_ns - state.day.asked_at_ns >= state.wait_ns(ASK_SESSION_SECONDS)):
        state.day.asked_at_ns = state.now_ns
        actions.append(AskSession(today))
    state.day.entries = [made for made in state.day.entries if state.now_ns - made[0] < 10 * NS_PER_MINUTE]
    return actions + _take_snapshot(state)


def _take_snapshot(state: State) -> list[Action]:
    if state.now_ns < state.snapshot_due_ns:
        return []
    if state.snapshot_asked_ns and state.now_ns - state.snapshot_asked_ns < state.wait_ns(SNAPSHOT_LOST_SECONDS):
        return []
    state.snapshot_asked_ns = state.now_ns
    full = not state.reconciled or bool(state.suspicions) or bool(state.book.parked)
    return [TakeSnapshot("check" if state.reconciled else "start", state.now_ns - KEPT_ORDERS_NS if full else None)]


# --- the broker's word ---------------------------------------------------------------------------------------------------------------------


def _updated(state: State, update: OrderUpdate) -> list[Action]:
    learned = state.book.update(update, state.now_ns)
    reconciliation.sold_by_another(state, update, learned)
    return _heard(state, learned, update.order) + reconciliation.taken_back(state, update)


def _heard(state: State, learned: Learned, order: BrokerOrder) -> list[Action]:
    """Book what an order told us: fills into positions, contradictions to the broker."""
    _count_found(state)
    for fill in learned.fills:
        _book(state, fill)
    actions: list[Action] = []
    for key, told in learned.illegal:
        record = state.book.orders[key]
        actions += [Alert("illegal-move", f"{key} is {record.state.value}, told {told}"), *answers.ask(state, record)]
    if learned.unknown:
        actions.append(Lookup(order.client_order_id, order.order_id))
    return actions


def _count_found(state: State) -> None:
    """Entries of ours that only the broker still knew, after a lost journal, were sent all the same: limits on how often go on counting."""
    for key in state.book.found:
        record = state.book.orders[key]
        if record.role is Role.ENTRY:
            state.day.entries.append((record.created_at_ns, record.symbol))
    state.book.found.clear()


def _book(state: State, fill: Fill) -> None:
    record = state.book.orders[fill.client_order_id]
    if record.role is Role.EXTERNAL:
        return
    position = state.positions.setdefault(fill.symbol, Position(symbol=fill.symbol))
    fee = fee_of(record, fill)
    realised, closed = position.apply(fill, fee)
    state.realised += realised
    state.fees += fee
    state.day.realised += realised
    state.day.fees += fee
    state.statistics.filled += record.state is OrderState.FILLED
    if record.role is Role.ENTRY:
        cause = record.intent.cause if record.intent is not None else record.key
        state.day.opened[cause] = None
        state.statistics.entries_filled += record.filled == fill.quantity
    if fill.side is Side.BUY:
        entries.spent(state, fill.quantity, fill.price)
    else:
        reconciliation.sold(state, fill.symbol)
    if closed is not None:
        state.statistics.close(closed)
        splits.forget(state, closed.symbol)


def _answered(state: State, answer: AnswerReceived) -> list[Action]:
    record = state.book.orders.get(answer.client_order_id)
    if answer.request is Request.SUBMIT and answer.took_us:
        state.statistics.submit_us.add(answer.took_us)
    if answer.order is not None:
        receipt = answer.request is not Request.LOOKUP
        actions = _heard(state, state.book.learn(answer.order, state.now_ns, receipt=receipt, asked_at_ns=answer.asked_at_ns), answer.order)
        return actions if receipt or record is not None else _adopt(state)
    if record is None:
        return []
    if answer.request is Request.LOOKUP:
        return answers.on_not_found(state, record) if answer.outcome is Outcome.NOT_FOUND else []
    if answer.request is Request.CANCEL:
        return answers.on_cancel(state, record, answer)
    if answer.code == FORBIDDEN:
        state.snapshot_due_ns = state.now_ns  # perhaps the account takes no orders at all: ask now, not in half a minute
    return answers.on_write(state, record, answer)


def _adopt(state: State) -> list[Action]:
    """An order that nothing explains even after asking: the next snapshot, with every parent's legs, says whose it is."""
    state.snapshot_due_ns = state.now_ns
    return []


def _snapshot(state: State, snapshot: SnapshotReceived) -> list[Action]:
    state.snapshot_asked_ns = 0
    if snapshot.failed or snapshot.account is None:
        state.snapshot_due_ns = state.now_ns + state.wait_ns(reconciliation.AGAIN_SECONDS)
        return [Alert("snapshot-failed", snapshot.failed)]
    actions = reconciliation.told(state, snapshot)
    state.clock_skew_ns = snapshot.clock_skew_ns
    if problem := skew_problem(state.clock_skew_ns, limits_of(state)):
        actions.append(Alert("clock-skewed", problem))
    ordered = sorted(snapshot.orders, key=lambda order: (order.replaces is not None, order.submitted_at_ns))
    for order in ordered:
        learned = state.book.learn(order, state.now_ns, asked_at_ns=snapshot.asked_at_ns, adopt=True)
        actions += _heard(state, learned, order)
    actions += reconciliation.look_up(state, reconciliation.missing(state, snapshot))
    return actions + reconciliation.compare(state, snapshot) + halting.told(state, snapshot)


def _connection(state: State, connected: bool) -> list[Action]:
    """Events may have been lost: nothing opens until the account has been compared."""
    state.connected = connected
    state.reconciled = state.heard = False
    state.snapshot_due_ns = state.now_ns
    state.snapshot_asked_ns = 0
    return _take_snapshot(state)


def _session(state: State, entry: SessionReceived) -> list[Action]:
    if entry.failed:
        return [Alert("calendar-failed", entry.failed)]
    if state.day.day is None:
        state.day.day = entry.day  # what was told before the session was, after a lost journal, counts
    elif state.day.day != entry.day:
        _new_day(state, entry.day)
    ours = own_session(entry.day)
    state.day.session = entry.session
    state.day.doubted = ours != entry.session
    carried = splits.carried(state, entry.day)
    for symbol in carried:
        state.flattening.setdefault(symbol, "carried")
    actions = splits.ask(state, carried)
    if state.day.doubted:
        actions.append(Alert("calendar", f"{entry.day}: {ours} by our calendar, {entry.session} by the broker"))
    return actions


def _new_day(state: State, day: date) -> None:
    state.day = Day(day=day, armed_at=state.unrealised(), asked_at_ns=state.day.asked_at_ns)
    state.statistics = Statistics()
    state.flattening.clear()
    state.book.prune(state.now_ns - KEPT_ORDERS_NS)


# --- people and processes ------------------------------------------------------------------------------------------------------------------


def _command(state: State, entry: CommandReceived) -> list[Action]:
    command = entry.command
    before = state.trading()[0]
    actions: list[Action] = []
    match command.kind:
        case CommandKind.HALT | CommandKind.REDUCE:
            wanted = TradingState.HALTED if command.kind is CommandKind.HALT else TradingState.REDUCING
            made = latch(LatchKind.HALT, wanted, command.reason or "no reason given", command.name or "unnamed", state.now_ns)
            state.latches[made.id] = made
            actions = [SetLatch(made)]
            answer = CommandAnswer(id=command.id, accepted=True, reason=f"{wanted.value} by latch {made.id}")
        case CommandKind.RESUME | CommandKind.CLEAR_LATCH:
            locked = halting.locked(state)
            if locked:
                state.snapshot_due_ns = state.now_ns  # the switch may have been lifted a moment ago
            cleared, answer = cleared_by(command, state.latches, state.now_ns, locked)
            for one in cleared:
                limits.rearm(state, state.latches.pop(one.id).kind)
            actions = [ClearLatch(one) for one in cleared]
        case CommandKind.FLATTEN:
            symbols = flatten.begin(state, "flatten")
            answer = CommandAnswer(id=command.id, accepted=True, reason=f"closing {', '.join(symbols) or 'nothing: flat already'}")
    if state.trading()[0] is not before:
        state.since_ns = state.now_ns
    return [*actions, Answer(answer)]


def _peers(state: State, entry: PeersHeard) -> list[Action]:
    """The Knight gate: parts of two systems open nothing; what is held is still protected and closed."""
    before, state.peers_problem = state.peers_problem, entry.problem
    return [Alert("services-disagree", entry.problem)] if entry.problem and not before else []


def _aged(state: State, entry: AgeJudged) -> list[Action]:
    """Nobody tells us any more what we must know to open: less and less is done, until it is told again."""
    before, name = state.trading()[0], entry.heard.value
    state.silences.pop(name, None)
    if entry.state is not TradingState.ACTIVE:
        state.silences[name] = Silence(entry.state, entry.reason)
    if state.trading()[0] is not before:
        state.since_ns = state.now_ns
    return [Alert(f"{name.lower()}-unheard", entry.reason)] if name in state.silences else []


def _spec(state: State, entry: SpecReceived) -> list[Action]:
    if entry.generation <= state.generation:
        return []
    state.generation, state.live = entry.generation, entry.live
    return []


def _started(state: State, entry: Started) -> list[Action]:
    """A process took over: what was in flight is UNKNOWN, nothing opens before the broker has been heard and compared."""
    actions: list[Action] = []
    for one in entry.latches:
        state.latches[one.id] = one
    for cleared in entry.cleared:
        state.latches.pop(cleared.id, None)
    if entry.wiped or (entry.store != state.store and entry.settings.mode is not Mode.SIMULATION):
        known = entry.wiped or state.store
        reason = "the journal is a new one: nothing is known of earlier orders" if known else "first start: a person resumes"
        made = latch(LatchKind.NEW_STORE, TradingState.HALTED, reason, "execution", state.now_ns)
        state.latches[made.id] = made
        actions.append(SetLatch(made))
    # A person changed the file since the last start: it goes before what was applied then. A slice whose live settings are the journal's is no such file.
    edited = entry.settings.live != state.settings.live and not entry.settings.live_from_journal
    state.settings, state.speed, state.store = entry.settings, entry.speed, entry.store
    state.peers_problem = f"not heard yet: {', '.join(entry.peers)}" if entry.peers else ""
    state.silences.clear()
    state.splits.waiting = False  # what was asked is not answered to this life
    if state.generation == 0 or edited:
        state.live = entry.settings.live
    state.connected = state.reconciled = state.heard = state.stopping = False
    state.snapshot_asked_ns = state.snapshot_due_ns = 0
    state.clock_at_ns = state.day.asked_at_ns = state.now_ns
    actions.append(AskSession(new_york_date(state.now_ns)))
    state.since_ns = state.since_ns or state.now_ns
    for intent in entry.intents:
        _recover(state, intent)
    for record in state.book.open():
        if record.state in {OrderState.INTENDED, OrderState.SUBMITTED}:
            record.advance(OrderState.UNKNOWN, state.now_ns)
        if record.state is OrderState.UNKNOWN:
            actions += answers.ask(state, record)
    return actions


def _recover(state: State, intent: OrderIntent) -> None:
    """An intent that is durable but whose inbox entry was lost: it may have been sent."""
    if intent.client_order_id in state.book.orders:
        return
    replaced = state.book.by_order_id(intent.replaces_order_id) if intent.replaces_order_id is not None else None
    state.book.intend(intent, replaced.group if replaced is not None else None, replaced.key if replaced is not None else None)
    if intent.purpose is Purpose.ENTRY:
        state.day.entries.append((intent.decided_at_ns, intent.symbol))
