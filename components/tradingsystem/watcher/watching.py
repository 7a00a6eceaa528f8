"""When entries must go because nobody watches over them, and which orders those are.

Exists so that a dead or frozen execution leaves no order at the broker that may still open a position. It refuses to touch legs, exits and orders of
others, and an entry that has filled in part: its protection lives only once it has filled completely, and nobody is there to give it another.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tradingsystem.domain.control import Beat
from tradingsystem.domain.orders import BrokerOrder, Side
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.messages.identifiers import is_our_entry

SILENCE_UNDER_HALT_FILE_SECONDS = 1.0  # four heartbeats: then a person's file is not answered by execution
_WORKING = frozenset({"ready", "draining"})  # phases in which execution cancels by itself


class WatcherStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What the watcher says of itself. ``acting`` says why it cancels, empty while it only watches; ``problem`` why it cannot."""

    acting: str
    halt_file: str  # its text, empty when there is none
    silent_seconds: float  # machine time since execution's last heartbeat
    entries_open: int  # unfilled entries of ours at the broker when last asked
    half_filled: int  # entries that were left alone, since they have filled in part
    cancelled: int  # cancels asked for since the watcher began
    problem: str


class Watch:
    """How long execution has been silent. All times are machine time, ns."""

    def __init__(self, silence_seconds: float, began_ns: int) -> None:
        self._silence_seconds = silence_seconds
        self._heard_ns = began_ns

    def hear(self, beat: Beat, monotonic_ns: int) -> None:
        """Take execution's heartbeat over; one that is still starting looks after nothing yet."""
        if beat.phase in _WORKING:
            self._heard_ns = monotonic_ns

    def silent_seconds(self, monotonic_ns: int) -> float:
        """Since its last heartbeat, or since we began."""
        return (monotonic_ns - self._heard_ns) / NS_PER_SECOND

    def why(self, monotonic_ns: int, halt_file: str | None) -> str:
        """Why entries are to be cancelled now; empty while execution does that itself."""
        silent = self.silent_seconds(monotonic_ns)
        if halt_file is not None and silent >= SILENCE_UNDER_HALT_FILE_SECONDS:
            return f"the file HALT is there ({halt_file}) and execution has been silent for {silent:.1f} s"
        return f"execution has been silent for {silent:.1f} s" if silent >= self._silence_seconds else ""


def unfilled_entries(system: str, orders: Iterable[BrokerOrder]) -> list[BrokerOrder]:
    """Open entries of this system, by its own ids, of which nothing has filled."""
    return [order for order in _open_entries(system, orders) if not order.filled_quantity]


def half_filled_entries(system: str, orders: Iterable[BrokerOrder]) -> list[BrokerOrder]:
    """Open entries of this system that have filled in part."""
    return [order for order in _open_entries(system, orders) if order.filled_quantity]


def _open_entries(system: str, orders: Iterable[BrokerOrder]) -> list[BrokerOrder]:
    return [
        order
        for order in orders
        if order.side is Side.BUY
        and order.parent_order_id is None
        and not order.state.terminal
        and is_our_entry(system, order.client_order_id)
    ]
