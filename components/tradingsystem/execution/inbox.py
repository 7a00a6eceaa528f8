"""The one ordered input of execution: whatever can change a decision is an entry here, journaled in the order in which it was applied.

Exists so that decisions are a function of a recording. It refuses input without the market time at which it arrived: nothing in the pure part asks a
clock.
"""

from __future__ import annotations

import enum
from datetime import date

import msgspec

from tradingsystem.domain.calendar import Session
from tradingsystem.domain.control import Command, CommandKind
from tradingsystem.domain.orders import Account, BrokerOrder, BrokerPosition, OrderIntent, OrderUpdate
from tradingsystem.domain.signals import Signal
from tradingsystem.domain.splits import Split
from tradingsystem.domain.trading import Latch, LatchCleared, Mark, TradingState
from tradingsystem.execution.ages import Heard
from tradingsystem.messages.codec import decode, read_json
from tradingsystem.spec.slices import ExecutionSlice, LiveSettings


class _Entry(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    received_at_ns: int


class Started(_Entry, frozen=True, kw_only=True):
    """A process took over. What the journal held and the recorded inbox did not explain comes with it, so that a replay crosses the restart."""

    settings: ExecutionSlice
    speed: float
    store: str  # the journal's identity
    wiped: bool = False  # this place has known another journal: what it held is lost
    peers: tuple[str, ...] = ()  # services that must be heard and agree before anything opens
    intents: tuple[OrderIntent, ...] = ()  # durable, but unknown to the state that the inbox gave
    latches: tuple[Latch, ...] = ()
    cleared: tuple[LatchCleared, ...] = ()


class PlainCommand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command as a person types it."""

    kind: CommandKind
    name: str = ""
    reason: str = ""
    latch_id: str | None = None


def read_command(payload: bytes, at_ns: int) -> Command:
    """A command in any form: our own, a JSON object, or the word HALT with a reason behind it. Raises ``Malformed``."""
    text = bytes(payload).strip()
    if text[:4].upper() == b"HALT":
        reason = text[4:].decode("utf-8", "replace").strip(" :\n")
        return Command(id=f"plain-{at_ns}", kind=CommandKind.HALT, name="", reason=reason)
    if not text.startswith(b"{"):
        return decode(payload, Command)
    plain = read_json(text, PlainCommand)
    return Command(id=f"plain-{at_ns}", kind=plain.kind, name=plain.name, reason=plain.reason, latch_id=plain.latch_id)


class Stopping(_Entry, frozen=True, kw_only=True):
    """The process is to end: nothing opens any more, open entries are cancelled, protection stays."""


class SignalReceived(_Entry, frozen=True, kw_only=True):
    """A wish to buy, with the symbol's newest mark and its place in the journal."""

    signal: Signal
    mark: Mark | None
    seq: int = 0


class MarksReceived(_Entry, frozen=True, kw_only=True):
    """Marks of symbols that are held or have open orders; all others are left out, so that the journal stays small."""

    marks: tuple[Mark, ...]


class UpdateReceived(_Entry, frozen=True, kw_only=True):
    """One event of the broker's update stream."""

    update: OrderUpdate


class Request(enum.Enum):
    """What the broker was asked."""

    SUBMIT = "Submit"
    REPLACE = "Replace"
    CANCEL = "Cancel"
    LOOKUP = "Lookup"


class Outcome(enum.Enum):
    """What is known of a request. UNKNOWN: it may have been carried out. NOT_SENT: it surely was not."""

    DONE = "Done"
    REFUSED = "Refused"
    UNKNOWN = "Unknown"
    NOT_SENT = "NotSent"
    NOT_FOUND = "NotFound"


class AnswerReceived(_Entry, frozen=True, kw_only=True):
    """A REST answer, or that none came. A receipt, never a result."""

    request: Request
    client_order_id: str
    asked_at_ns: int
    outcome: Outcome
    order_id: str | None = None
    order: BrokerOrder | None = None
    code: str = ""
    reason: str = ""
    took_us: int = 0  # machine time from decision to answer


class TimerTicked(_Entry, frozen=True, kw_only=True):
    """Time has passed."""


class CommandReceived(_Entry, frozen=True, kw_only=True):
    """A person's command; answered whatever happens."""

    command: Command


class HaltFileSeen(_Entry, frozen=True, kw_only=True):
    """A person's HALT file is there, with this text."""

    reason: str


class SpecReceived(_Entry, frozen=True, kw_only=True):
    """Live settings of one generation."""

    generation: int
    live: LiveSettings


class PeersHeard(_Entry, frozen=True, kw_only=True):
    """Whether the services were heard and agree has changed; ``problem`` says why nothing may open, empty when all is well."""

    problem: str


class AgeJudged(_Entry, frozen=True, kw_only=True):
    """Something that must be heard has been silent for too long, and what that forces; Active: it is heard again."""

    heard: Heard
    state: TradingState
    reason: str


class ConnectionChanged(_Entry, frozen=True, kw_only=True):
    """The update stream began or ceased to be received."""

    connected: bool


class SnapshotReceived(_Entry, frozen=True, kw_only=True):
    """The broker's word on orders, positions and account, asked at one moment. ``failed`` says why there is none."""

    asked_at_ns: int
    orders: tuple[BrokerOrder, ...] = ()
    positions: tuple[BrokerPosition, ...] = ()
    account: Account | None = None
    clock_skew_ns: int = 0  # our clock less the broker's, the least that is proven
    failed: str = ""


class SessionReceived(_Entry, frozen=True, kw_only=True):
    """The broker's word on one day's session; None when closed, ``failed`` when it could not be asked."""

    day: date
    session: Session | None
    failed: str = ""


class SplitsReceived(_Entry, frozen=True, kw_only=True):
    """The broker's word on splits that were announced; ``failed`` says why there is none."""

    splits: tuple[Split, ...] = ()
    failed: str = ""


InboxEntry = (
    Started
    | SignalReceived
    | MarksReceived
    | UpdateReceived
    | AnswerReceived
    | TimerTicked
    | CommandReceived
    | HaltFileSeen
    | SpecReceived
    | PeersHeard
    | AgeJudged
    | ConnectionChanged
    | SnapshotReceived
    | SessionReceived
    | SplitsReceived
    | Stopping
)
