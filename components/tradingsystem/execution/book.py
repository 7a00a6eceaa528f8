"""All orders of ours, by our id and the broker's, with the executions that were counted.

Exists so that one fill is one fill however often, however late and by whichever way it is told. It refuses to guess whose an order is: what cannot be
traced to an id of ours, a parent or a predecessor is parked and asked for.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import msgspec

from tradingsystem.domain.orders import TERMINAL, BrokerOrder, Fill, OrderIntent, OrderState, OrderType, OrderUpdate, Side
from tradingsystem.execution.orders import EXITS, Move, OrderRecord, Role, role_of, role_of_intent
from tradingsystem.messages.identifiers import is_ours

PARKED_MAX = 256


class Learned(msgspec.Struct):
    """What a told order or event changed."""

    fills: list[Fill] = []
    illegal: list[tuple[str, str]] = []  # (key, what was told)
    moved: bool = False
    unknown: bool = False  # nobody here knows the order


class Book(msgspec.Struct):
    """Orders in the order in which they were decided or discovered."""

    system: str
    orders: dict[str, OrderRecord] = {}
    keys: dict[str, str] = {}  # broker's order id to key
    executions: dict[str, str] = {}  # execution id to key
    symbols: dict[str, list[str]] = {}  # symbol to keys, those of past groups left out
    past: dict[str, dict[str, list[str]]] = {}  # symbol to groups that were over when last tidied, with their keys
    live: dict[str, None] = {}  # keys of orders that were not over when last tidied; none of which something is expected is missing
    parked: list[OrderUpdate] = []  # events of orders that are not known yet
    found: list[str] = []  # keys of orders that the broker knew and we did not; emptied by who counts them
    illegal: int = 0
    repeated: int = 0

    def intend(self, intent: OrderIntent, group: str | None = None, replaces: str | None = None) -> OrderRecord:
        """Enter a decided order. An id that is there already is a broken promise of its maker."""
        assert intent.client_order_id not in self.orders, intent.client_order_id
        predecessor = self.orders.get(replaces or "")
        record = OrderRecord(
            key=intent.client_order_id,
            symbol=intent.symbol,
            side=intent.side,
            quantity=intent.quantity,
            role=predecessor.role if predecessor is not None else role_of_intent(intent),
            group=group or intent.client_order_id,
            state=OrderState.INTENDED,
            intent=intent,
            limit_price=intent.target_price if intent.order_type is OrderType.LIMIT and intent.limit_price is None else intent.limit_price,
            stop_price=intent.stop_price,
            replaces=replaces,
            created_at_ns=intent.decided_at_ns,
            changed_at_ns=intent.decided_at_ns,
        )
        self._enter(record)
        return record

    def _enter(self, record: OrderRecord) -> None:
        self._call_back(record.symbol, record.group)
        self.orders[record.key] = record
        self.symbols.setdefault(record.symbol, []).append(record.key)
        self.live[record.key] = None

    def forget(self, key: str) -> None:
        """Take back an order that was never decided after all; only in the step that entered it."""
        record = self.orders.pop(key)
        assert record.order_id is None, key
        self.symbols[record.symbol].remove(key)
        del self.live[key]

    def find(self, order: BrokerOrder) -> OrderRecord | None:
        """The record of a told order, by its broker's id or by its client order id."""
        return self.orders.get(self.keys.get(order.order_id, order.client_order_id))

    def by_order_id(self, order_id: str) -> OrderRecord | None:
        return self.orders.get(self.keys.get(order_id, ""))

    def of(self, symbol: str) -> Iterator[OrderRecord]:
        """All records of one symbol, those of past groups first."""
        past = (self.orders[key] for keys in self.past.get(symbol, {}).values() for key in keys)
        return itertools.chain(past, self.current(symbol))

    def current(self, symbol: str) -> Iterator[OrderRecord]:
        """The records of one symbol in whose groups something may still happen, and of groups that are over since the book was last tidied."""
        return map(self.orders.__getitem__, self.symbols.get(symbol, ()))

    def open(self, symbol: str | None = None) -> list[OrderRecord]:
        """Orders that have not ended, UNKNOWN included."""
        records = self.current(symbol) if symbol is not None else map(self.orders.__getitem__, self.live)
        return [record for record in records if record.state not in TERMINAL]

    def unfinished(self) -> list[OrderRecord]:
        """Orders that somebody may have to ask for: all that are not over, and those that are since the book was last tidied."""
        return [self.orders[key] for key in self.live]

    def unsettled(self) -> list[OrderRecord]:
        """Orders that may still change what is held: open ones, and ended ones that the broker has told filled by more than was counted."""
        return [record for record in (self.orders[key] for key in self.live) if record.open or record.uncounted]

    def tidy(self) -> None:
        """Set aside what is over; asked for now and then, so that what is not stays quick to list."""
        for record in [self.orders[key] for key in self.live]:
            if self._over(record):
                del self.live[record.key]
                self._set_aside(record)

    def _over(self, record: OrderRecord) -> bool:
        """Whether nothing is expected of an order any more: over, or replaced by one that is known here, with every share counted."""
        return record.over or (record.state is OrderState.REPLACED and not record.uncounted and not self.orphaned(record))

    def _set_aside(self, record: OrderRecord) -> None:
        """Call a group past when it has an exit and none of its orders is expected to change; one without may still show its legs."""
        group = [other for other in self.current(record.symbol) if other.group == record.group]
        if any(other.role in EXITS for other in group) and not any(other.key in self.live for other in group):
            keys = [other.key for other in group]
            self.past.setdefault(record.symbol, {})[record.group] = keys
            self.symbols[record.symbol] = [key for key in self.symbols[record.symbol] if key not in keys]

    def _call_back(self, symbol: str, group: str) -> None:
        """A past group is not over after all: its orders stand where they stood."""
        keys = self.past.get(symbol, {}).pop(group, None)
        if keys is not None:
            current = {*keys, *self.symbols[symbol]}
            self.symbols[symbol] = [key for key in self.orders if key in current]

    def orphaned(self, record: OrderRecord) -> bool:
        """Whether an order was replaced by one that nobody here knows yet: its shares are with that one."""
        if record.state is not OrderState.REPLACED or not record.left:
            return False
        by_id = record.replaced_by is not None and record.replaced_by in self.keys
        return not by_id and not any(other.replaces == record.key for other in self.of(record.symbol))

    def update(self, update: OrderUpdate, at_ns: int) -> Learned:
        """Apply one event of the stream."""
        record = self._recognise(update.order, at_ns, adopt=False)
        if record is None:
            if len(self.parked) < PARKED_MAX and update not in self.parked:
                self.parked.append(update)
            return Learned(unknown=True)
        learned = Learned()
        self._advance(record, update.order, at_ns, learned)
        if update.execution_id is not None and update.quantity is not None and update.price is not None:
            if update.execution_id in self.executions:
                self.repeated += 1
            else:
                self.executions[update.execution_id] = record.key
                fill = record.execute(update.execution_id, update.quantity, update.price, at_ns)
                if fill is not None:
                    learned.fills.append(fill)
                    record.changed_at_ns = at_ns
        return learned

    def learn(self, order: BrokerOrder, at_ns: int, *, receipt: bool = False, asked_at_ns: int = 0, adopt: bool = False) -> Learned:
        """Apply a told order with its legs. A receipt is the answer to a write; else it was asked for at ``asked_at_ns``: such a word closes gaps and
        settles. ``adopt``: enter it even if nobody here knows it."""
        learned = Learned()
        self._learn(order, at_ns, learned, receipt, asked_at_ns, adopt)
        self._unpark(at_ns, learned)
        return learned

    def _learn(
        self,
        order: BrokerOrder,
        at_ns: int,
        learned: Learned,
        receipt: bool,
        asked_at_ns: int,
        adopt: bool,
        parent: OrderRecord | None = None,
    ) -> None:
        record = self._recognise(order, at_ns, adopt=adopt, parent=parent)
        if record is None:
            learned.unknown = True
            return
        newer = not receipt and asked_at_ns >= record.changed_at_ns
        self._advance(record, order, at_ns, learned, receipt=receipt, forced=newer)
        if not receipt and (fill := record.close_gap(order.filled_average_price, at_ns)) is not None:
            self.executions[fill.execution_id] = record.key
            record.changed_at_ns = at_ns
            learned.fills.append(fill)
        for leg in order.legs:
            self._learn(leg, at_ns, learned, receipt, asked_at_ns, adopt, record)

    def _advance(
        self, record: OrderRecord, order: BrokerOrder, at_ns: int, learned: Learned, *, receipt: bool = False, forced: bool = False
    ) -> None:
        record.told_filled = max(record.told_filled, order.filled_quantity)
        record.replaced_by = order.replaced_by or record.replaced_by
        if not receipt or record.state in {OrderState.INTENDED, OrderState.UNKNOWN}:
            record.quantity = order.quantity or record.quantity
            record.limit_price = order.limit_price if order.limit_price is not None else record.limit_price
            record.stop_price = order.stop_price if order.stop_price is not None else record.stop_price
        move = record.advance(order.state, at_ns, receipt=receipt, forced=forced)
        learned.moved = learned.moved or move is Move.MOVED
        if not self._over(record):
            self.live[record.key] = None
            self._call_back(record.symbol, record.group)
        if move is Move.ILLEGAL:
            self.illegal += 1
            learned.illegal.append((record.key, order.raw_status))

    def _recognise(self, order: BrokerOrder, at_ns: int, *, adopt: bool, parent: OrderRecord | None = None) -> OrderRecord | None:
        record = self.find(order)
        if record is None:
            predecessor = self.by_order_id(order.replaces) if order.replaces is not None else None
            parent = parent or (self.by_order_id(order.parent_order_id) if order.parent_order_id is not None else None)
            if predecessor is not None:
                record = self._discover(order, predecessor.role, predecessor.group, at_ns)
                record.replaces = predecessor.key
            elif parent is not None:
                record = self._discover(order, role_of(order) if order.side is Side.BUY else _leg_role(order), parent.group, at_ns)
            elif is_ours(self.system, order.client_order_id):
                record = self._discover(order, role_of(order), order.client_order_id, at_ns)
            elif adopt:
                record = self._discover(order, Role.EXTERNAL, order.client_order_id, at_ns)
            else:
                return None
        if record.order_id is None:
            record.order_id = order.order_id
            self._inherit(record, order)
        self.keys[order.order_id] = record.key
        return record

    def _inherit(self, record: OrderRecord, order: BrokerOrder) -> None:
        """A successor that repeats its predecessor's quantity goes on counting its fills; one that has only the rest starts anew."""
        predecessor = self.orders.get(record.replaces or "")
        if (
            predecessor is not None
            and predecessor.filled
            and order.quantity == predecessor.quantity
            and order.filled_quantity >= predecessor.filled
        ):
            record.inherited = predecessor.filled

    def _discover(self, order: BrokerOrder, role: Role, group: str, at_ns: int) -> OrderRecord:
        record = OrderRecord(
            key=order.client_order_id,
            symbol=order.symbol,
            side=order.side,
            quantity=order.quantity,
            role=role,
            group=group,
            state=OrderState.INTENDED,
            limit_price=order.limit_price,
            stop_price=order.stop_price,
            created_at_ns=order.submitted_at_ns or at_ns,
            changed_at_ns=0,
        )
        self._enter(record)
        self.found.append(record.key)
        return record

    def _unpark(self, at_ns: int, learned: Learned) -> None:
        waiting, self.parked = self.parked, []
        for update in waiting:
            later = self.update(update, at_ns)
            learned.fills += later.fills
            learned.illegal += later.illegal

    def prune(self, before_ns: int) -> None:
        """Drop orders that ended before a moment with their executions."""
        kept = {key: record for key, record in self.orders.items() if record.open or record.changed_at_ns >= before_ns}
        self.orders = kept
        self.symbols = {symbol: [key for key in keys if key in kept] for symbol, keys in self.symbols.items()}
        groups = {symbol: {name: [key for key in keys if key in kept] for name, keys in past.items()} for symbol, past in self.past.items()}
        self.past = {symbol: {name: keys for name, keys in past.items() if keys} for symbol, past in groups.items()}
        self.live = {key: None for key in self.live if key in kept}
        self.keys = {order_id: key for order_id, key in self.keys.items() if key in kept}
        self.executions = {execution: key for execution, key in self.executions.items() if key in kept}


def _leg_role(order: BrokerOrder) -> Role:
    return Role.STOP if order.order_type in {OrderType.STOP, OrderType.STOP_LIMIT} else Role.TARGET
