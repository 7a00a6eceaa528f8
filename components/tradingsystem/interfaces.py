"""What the services ask of the world, on one page. A Protocol stands here only where two implementations ship, and both pass ``tests/promises``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

from tradingsystem.domain.calendar import Session
from tradingsystem.domain.control import SymbolFact
from tradingsystem.domain.orders import Account, Approved, BrokerOrder, BrokerPosition, OrderUpdate
from tradingsystem.domain.rows import F32, Rows
from tradingsystem.domain.splits import Split


class Clock(Protocol):
    """Two times: the market's, which may be scaled or replayed, and the machine's, which may not."""

    def now(self) -> int:
        """Market time, ns since the epoch: expiry, staleness, bars, calendar. Never goes back."""

    def monotonic(self) -> int:
        """Machine time, ns from an arbitrary start: deadlines of I/O, leases, heartbeats, backoff."""

    @property
    def speed(self) -> float:
        """How fast market time runs against the machine's; 1 outside simulations."""

    async def sleep_until(self, market_ns: int) -> None:
        """Return once ``now()`` has reached ``market_ns``."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as received."""

    subject: str
    payload: bytes
    answer: Callable[[bytes], None] | None = None  # present when the sender waits for an answer


class Subscription(Protocol):
    """A live subscription."""

    async def close(self) -> None:
        """Stop hearing. Idempotent."""


class Bus(Protocol):
    """Heard or lost. Order is kept per publisher and subject; a slow subscriber loses its oldest messages, counted, never anybody else's."""

    def publish(self, subject: str, payload: bytes) -> None:
        """Hand over; never blocks. While disconnected the message is dropped and counted."""

    async def subscribe(self, subject: str, handler: Callable[[Delivery], None], *, pending_max: int = 4096) -> Subscription:
        """Call ``handler`` in order for each message on ``subject`` (wildcards as NATS has them), from before this returns."""

    async def request(self, subject: str, payload: bytes, timeout_seconds: float) -> bytes:
        """Ask and wait for one answer. Raises ``TryAgain`` when none comes in time."""

    async def flush(self) -> None:
        """Return when what was published has reached the server."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One journal entry; ``seq`` is its place in the one sequence."""

    seq: int
    subject: str
    payload: bytes


class Journal(Protocol):
    """Kept: one sequence, fsynced before an awaited append returns."""

    async def append(self, subject: str, payload: bytes, *, create: bool = False, fence_seq: int | None = None) -> int:
        """Durable when it returns its seq. ``create``: refused with ``RequestRefused`` if the subject exists. ``fence_seq``: refused unless the
        system's fence record still has that seq (0: unless there is none). Raises ``TryAgain`` while the journal cannot be reached: nothing is
        buffered. Raises ``OutcomeUnknown`` when it was sent and no answer came: with ``create``, append again, a refusal means that it is there."""

    def append_later(self, subject: str, payload: bytes, *, fence_seq: int | None = None) -> None:
        """In order, not awaited. Raises ``TryAgain`` when more than the bounded number is under way, and what an earlier one met for good: a
        ``fence_seq`` that is no longer the fence record's ends all of them."""

    async def flush(self) -> None:
        """Return when every ``append_later`` is durable. Raises what the first failed one met."""

    def read(self, subject: str, from_seq: int = 1) -> AsyncIterator[Entry]:
        """What is there now, from ``from_seq``, in order, then end."""

    async def follow(self, subject: str, from_seq: int, handler: Callable[[Entry], None]) -> Subscription:
        """What is there from ``from_seq`` and everything after, in order, without gap or repeat, also across reconnects."""

    async def last_seq(self) -> int:
        """The seq of the newest entry, 0 when empty."""

    async def identity(self) -> str:
        """The store's identity: another one than yesterday's means that the store was wiped."""


class Lease(Protocol):
    """One value that vanishes ``life_seconds`` after it was last written, and is written only by who knows its revision."""

    @property
    def life_seconds(self) -> float:
        """Machine seconds that a value lasts; never less."""

    async def read(self) -> tuple[bytes, int] | None:
        """The value and its revision, None when there is none. Raises ``TryAgain``."""

    async def write(self, value: bytes, revision: int) -> int:
        """The new revision. ``revision`` is the one that it must still have, 0: there is none. Raises ``RequestRefused`` when it has another,
        ``TryAgain`` or ``OutcomeUnknown``: read, then judge. An empty value says that nobody holds it."""


class Tape(Protocol):
    """The tape's short memory, for a filter that starts in mid-day: subscribe first, then read this, then drop what was seen twice."""

    def recent(self) -> AsyncIterator[bytes]:
        """The batches still held, encoded as they were published, oldest first; ends at the newest there was when it was called."""


@dataclass(frozen=True, slots=True)
class SourceEvent:
    """A change of a source's health; data goes to the sink."""

    healthy: bool
    reason: str


class SourceSink(Protocol):
    """Where a source delivers; ingestion implements it."""

    def rows(self, source: str, rows: Rows, received_ns: int) -> None:
        """Rows in arrival order, symbols already indices of the table."""

    def malformed(self, source: str, reason: str, count: int) -> None:
        """What could not be read, by reason."""

    def health(self, source: str, event: SourceEvent) -> None:
        """Connected, lost, stale, refused."""

    def frame(self, source: str, payload: bytes, received_ns: int) -> None:
        """The raw frame, for the recorder."""


class Source(Protocol):
    """A live feed. It connects, authenticates, subscribes, reconnects for ever with backoff and jitter, and judges its health by data received."""

    name: str

    async def run(self, symbols: Sequence[str], sink: SourceSink) -> None:
        """Deliver until cancelled. Raises ``NotAuthorized`` when the key is refused, nothing else."""

    def want(self, detailed: frozenset[str]) -> None:
        """The symbols that deserve trades and quotes now; the rest gets second bars. Takes effect in the background."""


class History(Protocol):
    """Reference data and the past, by request."""

    async def symbols(self) -> tuple[SymbolFact, ...]:
        """All active US stocks and funds with what is known before the open; averages are NaN until ``daily`` fills them."""

    async def daily(self, sessions: Sequence[Session]) -> dict[str, tuple[tuple[float, float, float, float], ...]]:
        """By symbol: (high, low, close, volume) of each of the sessions in which it traded, oldest first."""

    async def minutes(self, symbol: str, from_ns: int, to_ns: int) -> Rows:
        """Minute bars as backfill rows, symbol 0."""

    async def session(self, day: date) -> Session | None:
        """The venue's word on that day's session; None when closed."""


class Broker(Protocol):
    """The broker. A write that may have been carried out raises ``OutcomeUnknown``, a refused one ``RequestRefused``, one that surely did not leave
    ``TryAgain``."""

    @property
    def clock_skew_ns(self) -> int:
        """The least difference of the clocks that the broker's answers prove, ours less its; 0 when they may agree."""

    async def submit(self, order: Approved) -> BrokerOrder:
        """Send exactly the approved intent; the answer is a receipt, not a result."""

    async def replace(self, order_id: str, approved: Approved) -> BrokerOrder:
        """Move an order's limit price or quantity to the approved intent's; the answer is the successor."""

    async def cancel(self, order_id: str) -> None:
        """Ask for a cancel; the terminal event comes by the stream."""

    async def order_by_client_id(self, client_order_id: str) -> BrokerOrder | None:
        """The order with our id, None when the broker does not know it."""

    async def order(self, order_id: str) -> BrokerOrder | None:
        """One order with its legs."""

    async def orders(self, *, open_only: bool, after_ns: int = 0) -> tuple[BrokerOrder, ...]:
        """Orders with their legs, newest last; pages are followed."""

    async def positions(self) -> tuple[BrokerPosition, ...]:
        """All holdings."""

    async def account(self) -> Account:
        """The account now."""

    async def session(self, day: date) -> Session | None:
        """The broker's word on that day's session; None when closed."""

    async def splits(self, symbols: Sequence[str], first: date, last: date) -> tuple[Split, ...]:
        """Splits of these symbols that are announced for the days from ``first`` to ``last``, both included; what was not announced in time is missing."""

    async def suspend(self, suspended: bool) -> None:
        """The broker's own kill switch."""

    async def updates(self, handler: Callable[[OrderUpdate], None], connected: Callable[[bool], None]) -> None:
        """Deliver the update stream until cancelled, reconnecting for ever; ``connected`` tells of each change, after listening was confirmed."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Per row: the members' probabilities F32[n, members] and the calibrated blend F32[n]. ``fallback``: whoever should have answered did not, and the same
    bundle was run elsewhere."""

    members: F32
    blend: F32
    fallback: bool = False


class Inference(Protocol):
    """Runs one bundle's fused graph."""

    runtime: str
    version: int

    async def infer(self, features: F32) -> Scores:
        """Scores of features F32[n, 50]. Raises ``TryAgain`` on a passed deadline."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What one loaded version answered to its own golden vectors. ``worst_difference``: largest absolute difference from what was signed, over members
    and blend; ``latency_us``: median of repeated inferences of the golden rows as the caller sees them, machine time, after a warm-up."""

    worst_difference: float
    latency_us: float


@dataclass(frozen=True, slots=True)
class Running:
    """How loaded versions are run: ``backend`` by name, empty in process. ``lacking``: why versions are not run by TensorRT where they should be, by version;
    ``wanted``: those of them for which building an engine would help."""

    backend: str = ""
    lacking: Mapping[int, str] = field(default_factory=dict)
    wanted: tuple[int, ...] = ()


class ModelServer(Protocol):
    """Where versions are loaded before one of them is asked for. Which one is asked is never decided here: rollback moves a pointer."""

    async def load(self, versions: tuple[int, ...]) -> None:
        """Afterwards exactly these versions are loaded; one that is loaded already is not touched. Raises ``ModelRefused`` for the first that cannot
        be loaded: then what was loaded before is loaded still. Raises ``TryAgain`` while the server cannot be reached."""

    async def probe(self, version: int) -> Probe:
        """Run the version's golden vectors through the server. Raises ``ModelRefused`` with ``NOT_FINITE`` for an answer that is no probability, with
        ``NOT_LOADED`` when it is not loaded; ``TryAgain`` while the server cannot be reached."""


class ModelStore(Protocol):
    """Where versions are kept, whole or not at all. What a version holds is not looked at here: who reads it verifies it."""

    async def versions(self) -> tuple[int, ...]:
        """The numbers present, lowest first. Raises ``TryAgain`` while the store cannot be reached."""

    async def get(self, version: int) -> Mapping[str, bytes]:
        """Its files by name, exactly as they were put. Raises ``ModelRefused`` (``VERSION_NOT_FOUND``; ``CORRUPT`` when they are not what was put any
        more) or ``TryAgain``."""

    async def put(self, version: int, contents: Mapping[str, bytes]) -> None:
        """Visible to all, and whole, when it returns. Put again with the same files it changes nothing, so who was interrupted begins again. Raises
        ``RequestRefused`` with ``exists`` when the number was given to other files, ``full`` when there is no room, ``invalid`` for files that no version
        has; ``TryAgain``."""

    async def remove(self, version: int) -> bool:
        """Gone at once and whole; False when it was not there. Raises ``TryAgain``."""


class EngineStore(Protocol):
    """Where compiled engines are kept by name, which is made from their key; whole or not at all. Who loads one verifies it."""

    async def names(self) -> tuple[str, ...]:
        """Those present, sorted. Raises ``TryAgain`` while the store cannot be reached."""

    async def get(self, name: str) -> Mapping[str, bytes] | None:
        """Its files by name as they were put, None when it is not there. Raises ``ModelRefused`` (``ENGINE_MISMATCH``) when they are not what was put any
        more, where the store can tell, or ``TryAgain``."""

    async def put(self, name: str, contents: Mapping[str, bytes]) -> None:
        """Visible to all, and whole, when it returns; put again with the same files it changes nothing. A name that was removed may be given again. Raises
        ``RequestRefused`` with ``exists`` when other files lie there, ``full``, ``invalid`` for a name or files that no engine has; ``TryAgain``."""

    async def remove(self, name: str) -> bool:
        """Gone at once and whole; False when it was not there. Raises ``TryAgain``."""


class Cache(Protocol):
    """Values that may vanish."""

    async def get(self, key: str) -> bytes | None:
        """The value, None when absent or expired."""

    async def put(self, key: str, value: bytes, ttl_seconds: int) -> None:
        """Keep for at most that long."""
