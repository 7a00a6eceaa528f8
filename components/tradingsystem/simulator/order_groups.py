"""Orders that live together: entries with legs (bracket, OTO), OCO pairs, and the chain that replacing makes. Pure.

A bracket's legs start only after the entry has filled completely; then the take-profit holds the shares and the stop waits without any. Whatever ends
one leg ends the other. An entry canceled after a partial fill leaves a position without protection, as at the real broker: nothing here repairs that.
It neither matches nor schedules; `exchange.py` does.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol

from tradingsystem.simulator.ledger import Ledger, Leg, Order, OrderClass, OrderType, Side, Status
from tradingsystem.simulator.order_request import OrderRequest, ReplaceRequest

_HAS_ENTRY = (OrderClass.BRACKET, OrderClass.OTO)


class Emit(Protocol):
    def __call__(self, event: str, order: Order, at_ns: int, *, sibling: bool = False) -> None: ...


class Groups:
    """The group rules of one ledger; `emit` receives every event they cause."""

    def __init__(self, ledger: Ledger, emit: Emit) -> None:
        self._ledger = ledger
        self._emit = emit

    def create(self, request: OrderRequest, at_ns: int) -> Order:
        """Enter an accepted request and its legs into the ledger. Leg ids are the venue's choice."""
        ledger = self._ledger
        oco = request.order_class is OrderClass.OCO
        order = Order(
            id=ledger.new_id(),
            client_order_id=request.client_order_id or ledger.new_id(),
            symbol=request.symbol,
            side=request.side,
            type=request.type,
            time_in_force=request.time_in_force,
            order_class=request.order_class,
            quantity=request.quantity,
            notional=request.notional,
            limit_price=request.take_profit_limit if oco else request.limit_price,
            stop_price=request.stop_price,
            extended_hours=request.extended_hours,
            leg=Leg.TAKE_PROFIT if oco else Leg.NONE,
            created_ns=at_ns,
            updated_ns=at_ns,
        )
        ledger.add(order)
        exit_side = request.side if oco else (Side.SELL if request.side is Side.BUY else Side.BUY)
        legs: list[Order] = []
        if request.take_profit_limit is not None and not oco:
            legs.append(self._leg(order, exit_side, Leg.TAKE_PROFIT, request))
        if request.stop_loss_stop is not None:
            legs.append(self._leg(order, exit_side, Leg.STOP_LOSS, request))
        order.leg_ids = tuple(leg.id for leg in legs)
        return order

    def _leg(self, parent: Order, side: Side, leg: Leg, request: OrderRequest) -> Order:
        target = leg is Leg.TAKE_PROFIT
        stop_type = OrderType.STOP if request.stop_loss_limit is None else OrderType.STOP_LIMIT
        order = Order(
            id=self._ledger.new_id(),
            client_order_id=self._ledger.new_id(),
            symbol=parent.symbol,
            side=side,
            type=OrderType.LIMIT if target else stop_type,
            time_in_force=parent.time_in_force,
            order_class=parent.order_class,
            quantity=parent.quantity,
            limit_price=request.take_profit_limit if target else request.stop_loss_limit,
            stop_price=None if target else request.stop_loss_stop,
            leg=leg,
            parent_id=parent.id,
            status=Status.HELD,
            waiting=True,
            created_ns=parent.created_ns,
            updated_ns=parent.created_ns,
        )
        self._ledger.add(order)
        return order

    def activate_legs(self, entry: Order, at_ns: int) -> list[Order]:
        """Start the legs of a filled entry; returns those the venue works now. A leg whose shares are gone is rejected with its sibling."""
        legs = [leg for leg in self._ledger.legs(entry) if not leg.terminal]
        if not legs:
            return []
        first = legs[0]
        held = self._ledger.held_for_orders(first.symbol)
        position = self._ledger.position(first.symbol).quantity
        owned = position if first.side is Side.SELL else -position
        if first.remaining > owned - held:
            for leg in legs:
                self._end(leg, Status.REJECTED, "rejected", at_ns)
            return []
        first.waiting = False
        first.active = True
        if first.status is Status.HELD:
            first.status = Status.NEW
        first.updated_ns = at_ns
        self._emit("new", first, at_ns)
        for leg in legs[1:]:
            leg.active = True
        return legs

    def on_fill(self, order: Order, at_ns: int) -> bool:
        """Keep a group in step after an execution; True when the order's own legs are due to start."""
        if order.leg is Leg.NONE:
            return order.status is Status.FILLED and order.order_class in _HAS_ENTRY
        for sibling in self.siblings(order):
            if order.status is Status.FILLED:
                self._end(sibling, Status.CANCELED, "canceled", at_ns, sibling=True)
            elif sibling.quantity is not None:
                sibling.quantity = sibling.filled + order.remaining
                sibling.updated_ns = at_ns
        return False

    def siblings(self, order: Order) -> list[Order]:
        """The open other legs of an exit order."""
        if order.leg is Leg.NONE:
            return []
        parent = self._ledger.orders.get(order.parent_id)
        members = self._ledger.legs(order) if parent is None else self._ledger.legs(parent)
        if parent is not None and order.order_class is OrderClass.OCO:
            members = [self._ledger.latest(parent)]
        return [member for member in members if member.id != order.id and not member.terminal]

    def cancel(self, order: Order, at_ns: int) -> None:
        """Cancel an order and with it its group; of an unconfirmed replace both orders go."""
        old = self._ledger.orders.get(order.replaces)
        if old is not None and old.status is Status.PENDING_REPLACE:
            self._end(order, Status.CANCELED, "canceled", at_ns)
            order = old
        others = self.siblings(order)
        if order.leg is Leg.NONE:
            others = [leg for leg in self._ledger.legs(order) if not leg.terminal]
        self._end(order, Status.CANCELED, "canceled", at_ns)
        for other in others:
            self._end(other, Status.CANCELED, "canceled", at_ns, sibling=True)

    def trigger(self, order: Order, mode: str, at_ns: int) -> Order:
        """A stop has been elected: it takes the shares from its sibling. Returns the order that trades now."""
        order.triggered = True
        siblings = self.siblings(order)
        for sibling in siblings:
            if mode == "ReplaceTakeProfit":
                sibling.replaced_by = order.id
                order.replaces = order.replaces or sibling.id
                self._end(sibling, Status.REPLACED, "replaced", at_ns, sibling=True)
            else:
                self._end(sibling, Status.CANCELED, "canceled", at_ns, sibling=True)
        if siblings and mode == "ReplaceStopLoss":
            order = self._renamed(order, at_ns)
        elif order.waiting:
            order.waiting = False
            order.status = Status.NEW
            order.updated_ns = at_ns
            self._emit("new", order, at_ns)
        return order

    def successor(self, order: Order, request: ReplaceRequest, at_ns: int) -> Order:
        """The order that a replace request makes; it waits for `confirm_replace`.

        Its quantity is what is asked for the whole chain less what the old order has filled, so a chain never trades more than asked.
        """
        total = request.quantity if request.quantity is not None else order.quantity
        assert total is not None
        new = self._copy(order, request.client_order_id or self._ledger.new_id(), at_ns)
        new.quantity = total - order.filled
        new.time_in_force = request.time_in_force or order.time_in_force
        new.limit_price = request.limit_price if request.limit_price is not None else order.limit_price
        new.stop_price = request.stop_price if request.stop_price is not None else order.stop_price
        self._ledger.add(new)
        return new

    def confirm_replace(self, order: Order, new: Order, asked: Decimal | None, at_ns: int) -> Order | None:
        """Swap the successor in, or reject it when the old order has ended or has filled too much; returns the successor when it lives.

        `asked` is the quantity given for the whole chain, None when the request left it as it was.
        """
        total = asked if asked is not None else order.quantity
        if new.terminal or order.terminal or total is None or total <= order.filled:
            if not order.terminal:
                order.status = Status.HELD if order.waiting else Status.PARTIALLY_FILLED if order.filled else Status.NEW
            self._emit("order_replace_rejected", order, at_ns)
            if not new.terminal:
                self._end(new, Status.REJECTED, "rejected", at_ns)
            return None
        new.quantity = total - order.filled
        new.waiting = order.waiting
        new.active = order.active
        new.leg_ids = order.leg_ids
        for leg in self._ledger.legs(order):
            leg.parent_id = new.id
        order.replaced_by = new.id
        self._end(order, Status.REPLACED, "replaced", at_ns)
        new.status = Status.HELD if new.waiting else Status.NEW
        new.updated_ns = at_ns
        if not new.waiting:
            self._emit("new", new, at_ns)
        return new

    def _copy(self, order: Order, client_order_id: str, at_ns: int) -> Order:
        return Order(
            id=self._ledger.new_id(),
            client_order_id=client_order_id,
            symbol=order.symbol,
            side=order.side,
            type=order.type,
            time_in_force=order.time_in_force,
            order_class=order.order_class,
            quantity=order.remaining,
            created_ns=at_ns,
            updated_ns=at_ns,
            limit_price=order.limit_price,
            stop_price=order.stop_price,
            extended_hours=order.extended_hours,
            leg=order.leg,
            parent_id=order.parent_id,
            waiting=order.waiting,
            replaces=order.id,
        )

    def _renamed(self, order: Order, at_ns: int) -> Order:
        new = self._copy(order, self._ledger.new_id(), at_ns)
        new.waiting = False
        new.triggered = new.active = True
        self._ledger.add(new)
        order.replaced_by = new.id
        self._end(order, Status.REPLACED, "replaced", at_ns)
        new.status = Status.NEW
        self._emit("new", new, at_ns)
        return new

    def _end(self, order: Order, status: Status, event: str, at_ns: int, *, sibling: bool = False) -> None:
        self._ledger.end(order, status, at_ns)
        self._emit(event, order, at_ns, sibling=sibling)
