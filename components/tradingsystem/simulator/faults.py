"""Scenario switches: what the simulated venues do wrong, decided by a seed, so that a client's recovery can be proved and repeated.

A `Scenario` says which faults exist; `Faults` counts, draws and answers "what happens to this frame / request". It knows nothing of sockets
(`connection.py` carries stream verdicts out, `rest_faults.py` those of HTTP) and it never touches the ledger: a fault changes what a client sees,
never what is true at the broker. Market behaviour (how bracket legs move, fees, latency) is `ExchangeSettings`, not a fault.
"""

from __future__ import annotations

import enum
import random
from collections import Counter, deque
from typing import Annotated

import msgspec

REPLAY_FRAMES = 64


class StreamFaultKind(enum.StrEnum):
    DUPLICATE = "Duplicate"  # the frame is sent `count` more times
    REORDER = "Reorder"  # the frame leaves after the next one
    DROP = "Drop"
    DELAY = "Delay"  # the frame alone is late by `delay_ms`; later ones overtake it
    REWRITE = "Rewrite"  # JSON only: `path` (dotted) gets `value`, a text or a number, or is removed when `remove`
    RAW = "Raw"  # `value`, `count` times over, is sent instead of the frame: garbage, unknown events, frames of any size
    TRUNCATE = "Truncate"  # only the first half of the frame is sent
    CLOSE = "Close"  # close with `code` instead of sending
    RESET = "Reset"  # TCP reset instead of sending
    HALF_OPEN = "HalfOpen"  # mute from here on: neither reads nor writes, the TCP connection stays
    REPLAY = "Replay"  # when a client is live again, the last `count` frames of the endpoint come once more
    REFUSE_HANDSHAKE = "RefuseHandshake"  # HTTP `code` instead of 101
    REFUSE_AUTH = "RefuseAuth"
    PING_FIRST = "PingFirst"  # a protocol ping before the first frame
    MUTE_ANSWERS = "MuteAnswers"  # control answers (auth, listening, subscription) never come


class RestFaultKind(enum.StrEnum):
    STATUS = "Status"  # `status` in the venue's own error form; the request is not handled
    BARE_STATUS = "BareStatus"  # `status` with neither body nor venue headers; not handled
    HTML = "Html"  # `status` with a proxy's HTML body; not handled
    SLOW = "Slow"  # handled after `delay_ms`
    SLOW_ANSWER = "SlowAnswer"  # handled at once, answered after `delay_ms`: a fill can overtake the answer
    ANSWER_LOST = "AnswerLost"  # handled, then answered with `status` (504 after the order was accepted)
    CUT = "Cut"  # TCP reset, not handled
    CUT_AFTER = "CutAfter"  # handled, then TCP reset
    EMPTY_RESULTS = "EmptyResults"  # handled; the keys `results` and `data` are taken out of a JSON object


class ConnectionLimit(enum.StrEnum):
    EVICT_OLD = "EvictOld"
    REFUSE_NEW = "RefuseNew"
    SILENT_NEW = "SilentNew"  # the newcomer is accepted and never gets data
    UNLIMITED = "Unlimited"


Percent = Annotated[int, msgspec.Meta(ge=0, le=100)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class StreamFault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault of a WebSocket endpoint. `times` 0 means until the scenario changes; `match` must occur in the frame's bytes."""

    endpoint: str  # "/stream", "/stocks", "/indices", "/v2/sip", "/v2/iex", "/socket"; "" is every one
    kind: StreamFaultKind
    match: str = ""
    after: Count = 0  # matching frames let through first
    times: Count = 1
    probability_percent: Percent = 100
    count: Count = 1
    delay_ms: Count = 0
    code: int = 1011
    path: str = ""
    value: str | float = ""
    remove: bool = False


class RestFault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault of HTTP requests whose path begins with `path`. `times` 0 means until the scenario changes."""

    path: str
    kind: RestFaultKind
    method: str = ""  # "" is every method
    after: Count = 0
    times: Count = 1
    probability_percent: Percent = 100
    status: Annotated[int, msgspec.Meta(ge=400, le=599)] = 504
    delay_ms: Count = 0


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that may go wrong. The default has no fault and the venues' documented limits."""

    stream: tuple[StreamFault, ...] = ()
    rest: tuple[RestFault, ...] = ()
    connection_limit: ConnectionLimit = ConnectionLimit.EVICT_OLD
    send_buffer_bytes: Annotated[int, msgspec.Meta(ge=1024)] = 32 * 1024 * 1024  # a reader further behind is disconnected
    slow_consumer_silent: bool = False  # disconnect without a status frame
    silent_sibling_cancel: bool = False  # the bracket sibling's `canceled` never reaches the stream
    cancel_all_refused_every: Count = 0  # every n-th order of a cancel-all is refused inside the 207
    clock_skew_ms: int = 0  # the Date header of every answer is so far ahead of market time; below 0 behind it
    page_rows_max: Count = 0  # 0: the venue's own page size; else so few rows a page


class _Armed:
    """One fault with its counters."""

    __slots__ = ("fault", "seen", "used")

    def __init__(self, fault: StreamFault | RestFault) -> None:
        self.fault = fault
        self.seen = 0
        self.used = 0

    def fires(self, rng: random.Random) -> bool:
        self.seen += 1
        if self.seen <= self.fault.after or (self.fault.times and self.used >= self.fault.times):
            return False
        if self.fault.probability_percent < 100 and rng.randrange(100) >= self.fault.probability_percent:
            return False
        self.used += 1
        return True


_HANDSHAKE_KINDS = frozenset(
    {
        StreamFaultKind.REFUSE_HANDSHAKE,
        StreamFaultKind.REFUSE_AUTH,
        StreamFaultKind.PING_FIRST,
        StreamFaultKind.MUTE_ANSWERS,
        StreamFaultKind.REPLAY,
    }
)


class Faults:
    """The running scenario, shared by all wire servers of one simulator. Not thread-safe: one event loop uses it."""

    def __init__(self, scenario: Scenario | None = None, *, seed: int = 0) -> None:
        self._seed = seed
        self.fired: Counter[str] = Counter()
        self._history: dict[str, deque[tuple[bytes, bool]]] = {}
        self.set(scenario or Scenario())

    def set(self, scenario: Scenario) -> None:
        """Replace the scenario; all counters and the random sequence start again."""
        self.scenario = scenario
        self._rng = random.Random(self._seed)
        self._stream = [_Armed(fault) for fault in scenario.stream]
        self._rest = [_Armed(fault) for fault in scenario.rest]
        self._keep_history = any(fault.kind is StreamFaultKind.REPLAY for fault in scenario.stream)

    @property
    def quiet(self) -> bool:
        """True when no stream fault exists: senders may skip the question per frame."""
        return not self._stream

    def on_frame(self, endpoint: str, payload: bytes, *, text: bool) -> StreamFault | None:
        """The fault that hits this data frame, or None. Counts every frame that matches."""
        if self._keep_history:
            self._history.setdefault(endpoint, deque(maxlen=REPLAY_FRAMES)).append((payload, text))
        for armed in self._stream:
            fault = armed.fault
            assert isinstance(fault, StreamFault)
            if fault.kind in _HANDSHAKE_KINDS or not _reaches(fault, endpoint):
                continue
            if fault.match and fault.match.encode() not in payload:
                continue
            if armed.fires(self._rng):
                self.fired[f"{endpoint}:{fault.kind}"] += 1
                return fault
        return None

    def on_connection(self, endpoint: str, kind: StreamFaultKind) -> StreamFault | None:
        """The fault of this kind that hits a connection being set up (handshake, authentication, first frame, answers), or None."""
        for armed in self._stream:
            fault = armed.fault
            assert isinstance(fault, StreamFault)
            if fault.kind is kind and _reaches(fault, endpoint) and armed.fires(self._rng):
                self.fired[f"{endpoint}:{kind}"] += 1
                return fault
        return None

    def replay(self, endpoint: str) -> list[tuple[bytes, bool]]:
        """Frames to send again to a client that has just become live (empty without a `Replay` fault)."""
        history = self._history.get(endpoint)
        if not history:
            return []
        fault = self.on_connection(endpoint, StreamFaultKind.REPLAY)
        return list(history)[-fault.count :] if fault else []

    def on_request(self, method: str, path: str) -> RestFault | None:
        """The fault that hits this HTTP request, or None. Counts every request that matches."""
        for armed in self._rest:
            fault = armed.fault
            assert isinstance(fault, RestFault)
            if not path.startswith(fault.path) or fault.method not in ("", method):
                continue
            if armed.fires(self._rng):
                self.fired[f"{method} {fault.path}:{fault.kind}"] += 1
                return fault
        return None


def _reaches(fault: StreamFault, endpoint: str) -> bool:
    return fault.endpoint in ("", endpoint)


def rewrite(payload: bytes, fault: StreamFault) -> bytes:
    """The JSON frame with `fault.path` replaced or removed; a list in the way means "in each of its members". Not JSON: unchanged."""
    try:
        document = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return payload
    _rewrite_at(document, fault.path.split("."), fault)
    return msgspec.json.encode(document)


def _rewrite_at(node: object, path: list[str], fault: StreamFault) -> None:
    if isinstance(node, list):
        for member in node:
            _rewrite_at(member, path, fault)
    elif isinstance(node, dict) and path[0] in node:
        if len(path) > 1:
            _rewrite_at(node[path[0]], path[1:], fault)
        elif fault.remove:
            del node[path[0]]
        else:
            node[path[0]] = fault.value
