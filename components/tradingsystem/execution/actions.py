"""What execution decides to do, as values: the service carries them out, a replay compares their bytes.

An action holds everything its carrying out needs, so that nothing is looked up later in a state that has moved on.
"""

from __future__ import annotations

from datetime import date

import msgspec

from tradingsystem.domain.control import CommandAnswer
from tradingsystem.domain.orders import Approved, OrderRefusal
from tradingsystem.domain.splits import Rebased
from tradingsystem.domain.trading import Latch, LatchCleared


class _Action(msgspec.Struct, frozen=True, tag=True):
    pass


class Submit(_Action, frozen=True):
    """Make the intent durable, then post the order."""

    approved: Approved


class Resubmit(_Action, frozen=True):
    """Post an UNKNOWN exit again under its own id; its intent is durable already."""

    approved: Approved


class Replace(_Action, frozen=True):
    """Make the intent durable, unless it is ``journaled`` already, then move the broker's order to it."""

    order_id: str
    approved: Approved
    journaled: bool = False


class Cancel(_Action, frozen=True):
    """Ask for a cancel; what becomes of it comes by the stream."""

    order_id: str
    client_order_id: str


class Lookup(_Action, frozen=True):
    """Ask the broker for one order, by its id when known, else by ours."""

    client_order_id: str
    order_id: str | None


class TakeSnapshot(_Action, frozen=True):
    """Ask for orders, positions and account; ``closed_after_ns`` also brings closed orders since then."""

    reason: str
    closed_after_ns: int | None


class AskSession(_Action, frozen=True):
    """Ask the broker for a day's session."""

    day: date


class AskSplits(_Action, frozen=True):
    """Ask the broker which splits of these symbols were announced for the days from ``first`` to ``last``, both included."""

    symbols: tuple[str, ...]
    first: date
    last: date


class Rebase(_Action, frozen=True):
    """Make durable, for whoever reads the journal, that a position is counted in shares after a split; it is from the decision on."""

    rebased: Rebased


class SetLatch(_Action, frozen=True):
    """Make a latch durable; it holds from the decision on."""

    latch: Latch


class ClearLatch(_Action, frozen=True):
    """Make a clearing durable."""

    cleared: LatchCleared


class Answer(_Action, frozen=True):
    """Answer a person's command."""

    answer: CommandAnswer


class Refused(_Action, frozen=True):
    """A signal came to nothing, and why."""

    refusal: OrderRefusal


class Alert(_Action, frozen=True):
    """Something a person should see: an illegal move, an uncovered position, a broker that disagrees."""

    code: str
    reason: str


class Covered(_Action, frozen=True):
    """A position's last bare share has its stop, so long after it was filled."""

    symbol: str
    took_ns: int


Action = (
    Submit
    | Resubmit
    | Replace
    | Cancel
    | Lookup
    | TakeSnapshot
    | AskSession
    | AskSplits
    | Rebase
    | SetLatch
    | ClearLatch
    | Answer
    | Refused
    | Alert
    | Covered
)
