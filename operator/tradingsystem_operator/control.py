"""The operator's side of one system's message server: hears states and heartbeats, applies live settings, commands execution. As the user who may not trade.

nats-py's read loop can die while it believes to be connected, so this connection hears itself: a heartbeat through the server, and a new client after three
misses. Nothing is buffered: what cannot leave now fails now. The journal owns the generation of settings; an append names the entry it follows, so of two
operators that meet, one is refused.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import random
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from tradingsystem.adapters.nats_client import EncryptedWhereAsked, discarded, ended
from tradingsystem.domain.control import Beat, Command, CommandAnswer, ModelsState, SpecApplied
from tradingsystem.domain.errors import RequestRefused, TryAgain
from tradingsystem.domain.trading import TradingStatus
from tradingsystem.messages.codec import Malformed, decode, encode
from tradingsystem.messages.live_settings import next_generation, read_entry, settings_entry
from tradingsystem.messages.permissions import PERSON
from tradingsystem.messages.subjects import Subjects, journal_stream
from tradingsystem.spec.messaging import is_encrypted
from tradingsystem.telemetry import operator_metrics as metrics
from tradingsystem_operator.encryption import told, trusted
from tradingsystem_operator.facts import HEARD_SECONDS, ControlFact, in_session
from tradingsystem_operator.status import PROFIT_SECONDS

log = structlog.get_logger()

ECHO_SECONDS = 2.0
MISSES_MAX = 3
BACKOFF_SECONDS = (0.5, 15.0)
ANSWER_SECONDS = 5.0
NO_MESSAGE, NO_STREAM = 10037, 10059
WRONG_LAST = frozenset({10071, 10164})


class _Sources(msgspec.Struct, frozen=True):
    """Of ingestion's status, what is needed here."""

    sources: dict[str, str]


@dataclass(frozen=True, slots=True)
class Link:
    """How a message server is reached, and as whom. ``authorities``: who signs its certificate, in PEM; empty: whom this machine trusts. ``external``: a
    person runs it."""

    urls: tuple[str, ...]
    login: str
    password: str = field(repr=False)
    authorities: str = ""
    external: bool = False


class ControlChannel:
    """One system. ``wake`` is called when something was said that a round should look at."""

    def __init__(self, system: str, link: Link, wake: Callable[[], None]) -> None:
        self._system, self._link, self._wake = system, link, wake
        self._urls = itertools.cycle(link.urls)
        self._subjects = Subjects(system)
        self._client: Client | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._problem = "not connected yet"
        self._down_since = time.monotonic()
        self._echo_token, self._echo_heard = secrets.token_bytes(8), 0.0
        self._trading: TradingStatus | None = None
        self._trading_at = self._told_at = 0.0
        self._told: object = None
        self._beats: dict[str, Beat] = {}
        self._beats_at: dict[str, float] = {}
        self._models: ModelsState | None = None
        self._sources: dict[str, str] | None = None
        self._journaled: SpecApplied | None = None  # the newest entry, as far as this connection knows
        self._audible: frozenset[str] = frozenset()

    def start(self) -> None:
        """Connect, and stay connected until ``close``."""
        metrics.channels.labels(connected="false").inc()
        self._keeper = asyncio.create_task(self._keep(), name=f"control {self._system}")

    async def close(self) -> None:
        """Leave. Idempotent."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            self._down("left")
            await ended(keeper)
            metrics.channels.labels(connected="false").dec()

    @property
    def connected(self) -> bool:
        """Whether anything can be asked now."""
        return self._client is not None

    def fact(self, settings: bytes, live_hash: str) -> ControlFact:
        """What is known now. ``settings``: what should be in force, ``live_hash`` its hash."""
        now = time.monotonic()
        beat = self._beats.get("execution")
        known = self._journaled
        acknowledged = known is not None and known.spec == settings and beat is not None and beat.live_generation >= known.generation
        return ControlFact(
            connected=self.connected,
            problem="" if self.connected else self._problem,
            unreachable_seconds=0.0 if self.connected else now - self._down_since,
            trading=self._trading,
            trading_age=now - self._trading_at,
            beats=dict(self._beats),
            beat_ages={name: now - heard for name, heard in self._beats_at.items()},
            models=self._models,
            sources=self._sources,
            acknowledged=acknowledged,
            live_hash=live_hash if acknowledged else "",
        )

    # --- acting ------------------------------------------------------------------------------------------------------

    async def put_in_force(self, read_settings: Callable[[], Awaitable[bytes | None]]) -> int:
        """Journal the settings unless they are the newest already; the generation that was written, 0 when there was nothing to write.

        ``read_settings`` is asked after the journal was: settings that are read later than the entry they replace cannot be older than it. Raises
        ``TryAgain`` when somebody else was faster, or nothing answers.
        """
        seq, newest = await self._newest_entry()
        settings = await read_settings()
        if settings is None or newest.spec == settings:
            self._journaled = newest
            return 0
        beat = self._beats.get("execution")
        generation = next_generation(beat.live_generation if beat is not None else 0, [newest.generation])
        await self._append(settings_entry(generation, settings), seq)
        self._journaled = SpecApplied(generation=generation, spec=settings)
        log.info("settings_journaled", of=self._system, generation=generation)
        return generation

    async def say_it_stands(self) -> None:
        """Tell execution that the resource was read from the API server just now. Lost like any word on a bus: the next round says it again."""
        if (client := self._client) is not None:
            with contextlib.suppress(nats.errors.Error, OSError):
                await client.publish(self._subjects.resource, b"")

    def is_in_force(self, settings: bytes) -> bool:
        """Whether these settings are the newest entry, and nobody has applied others since."""
        known, beat = self._journaled, self._beats.get("execution")
        return known is not None and known.spec == settings and (beat is None or beat.live_generation <= known.generation)

    async def command(self, command: Command) -> CommandAnswer:
        """Execution's answer. Raises ``TryAgain`` when there is none: then nobody knows whether it was heard, and the same command may be sent again."""
        raw = await self._ask(self._subjects.command, encode(command))
        try:
            answer: CommandAnswer = decode(raw, CommandAnswer)
        except Malformed as error:
            raise TryAgain(f"execution answered what cannot be read: {error}") from error
        return answer

    async def _newest_entry(self) -> tuple[int, SpecApplied]:
        """Sequence and content of the newest settings in the journal; 0 and nothing when there are none."""
        subject = f"$JS.API.STREAM.MSG.GET.{journal_stream(self._system)}"
        answer = json.loads(await self._ask(subject, json.dumps({"last_by_subj": self._subjects.journal_spec}).encode()))
        if error := answer.get("error"):
            if error.get("err_code") == NO_MESSAGE:
                return 0, SpecApplied(generation=0, spec=b"")
            what = "the journal's stream is not there yet" if error.get("err_code") == NO_STREAM else error.get("description", "")
            raise TryAgain(f"the journal of {self._system}: {what}")
        message = answer["message"]
        return int(message["seq"]), read_entry(base64.b64decode(message.get("data", "")))

    async def _append(self, payload: bytes, after_seq: int) -> None:
        headers = {"Nats-Expected-Last-Subject-Sequence": str(after_seq)}
        answer = json.loads(await self._ask(self._subjects.journal_spec, payload, headers))
        if error := answer.get("error"):
            if error.get("err_code") in WRONG_LAST:
                raise TryAgain(f"somebody else applied settings to {self._system} in the same moment")
            raise RequestRefused(str(error.get("err_code")), f"the journal of {self._system}: {error.get('description')}")

    async def _ask(self, subject: str, payload: bytes, headers: dict[str, str] | None = None) -> bytes:
        client = self._client
        if client is None:
            raise TryAgain(f"the message server of {self._system} is not reached: {self._problem}")
        try:
            answer = await client.request(subject, payload, timeout=ANSWER_SECONDS, headers=headers)
        except nats.errors.NoRespondersError as error:
            raise TryAgain(f"nobody answers on {subject}") from error
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise TryAgain(f"no answer on {subject} within {ANSWER_SECONDS:g} s") from error
        return bytes(answer.data)

    # --- the connection ----------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        shortest, longest = BACKOFF_SECONDS
        pause = shortest
        while True:
            client = EncryptedWhereAsked()
            try:
                await self._connect(client)
                pause = shortest
                self._up(client)
                self._down(await self._listen_to_itself(client))
            except nats.errors.NoServersError:  # nobody listens there, as was said already
                self._down(self._problem)
            except (nats.errors.Error, OSError, TimeoutError) as error:
                self._down(told(error))
            finally:
                self._client = None
                await discarded(client)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(longest, pause * 2)

    async def _connect(self, client: Client) -> None:
        await client.connect(
            next(self._urls),
            tls=trusted(self._link.authorities) if is_encrypted(self._link.urls[0]) else None,
            name=f"{self._system}/{PERSON}/operator",
            user=self._link.login,
            password=self._link.password,
            inbox_prefix=f"_INBOX_{PERSON}",
            allow_reconnect=False,
            max_reconnect_attempts=1,  # else an address where nobody listens is asked for ever, and never the next one
            reconnect_time_wait=0,
            pending_size=0,
            connect_timeout=5,
            ping_interval=10,
            max_outstanding_pings=2,
            error_cb=self._on_error,
        )
        await client.subscribe(self._subjects.echo(PERSON), cb=self._on_echo)
        await client.subscribe(self._subjects.state("*"), cb=self._on_state)
        await client.subscribe(self._subjects.beat("*"), cb=self._on_beat)
        await client.flush(5)

    def _up(self, client: Client) -> None:
        self._client, self._problem, self._journaled = client, "", None
        metrics.channels.labels(connected="true").inc()
        metrics.channels.labels(connected="false").dec()
        log.info("control_channel_up", of=self._system)
        self._wake()

    def _down(self, problem: str) -> None:
        self._problem = problem
        if self._client is None:  # it was not up: nothing has changed
            return
        self._down_since = time.monotonic()
        metrics.channels.labels(connected="true").dec()
        metrics.channels.labels(connected="false").inc()
        log.warning("control_channel_down", of=self._system, reason=problem)
        self._client = None
        self._wake()

    async def _listen_to_itself(self, client: Client) -> str:
        """Return why the client is of no use any more. Heartbeats are counted, not seconds: a loop that was busy has not listened."""
        misses = 0
        while client.is_connected:
            sent = time.monotonic()
            await client.publish(self._subjects.echo(PERSON), self._echo_token)
            await asyncio.sleep(ECHO_SECONDS)
            misses = 0 if self._echo_heard >= sent else misses + 1
            if misses >= MISSES_MAX:
                return "it does not hear itself any more"
            self._notice_silence()
        return "the connection was closed"

    def _notice_silence(self) -> None:
        now = time.monotonic()
        ages = {"": now - self._trading_at} | {name: now - heard for name, heard in self._beats_at.items()}
        audible = frozenset(name for name, age in ages.items() if age <= HEARD_SECONDS)
        if audible != self._audible:
            self._audible = audible
            self._wake()

    async def _on_error(self, error: Exception) -> None:
        if isinstance(error, (nats.errors.Error, OSError)):
            said = told(error)
            if said != self._problem:  # a server that is away says the same every few seconds
                self._problem = said
                log.warning("control_channel_error", of=self._system, reason=said)
            return
        asyncio.get_running_loop().call_exception_handler({"message": "a handler of the control channel failed", "exception": error})

    async def _on_echo(self, message: Msg) -> None:
        if message.data == self._echo_token:
            self._echo_heard = time.monotonic()

    # --- hearing -----------------------------------------------------------------------------------------------------

    async def _on_state(self, message: Msg) -> None:
        service = message.subject.rpartition(".")[2]
        try:
            if service == "execution":
                self._hear_trading(decode(message.data, TradingStatus))
            elif service == "ingestion":
                said: _Sources = decode(message.data, _Sources)
                self._sources = self._wake_on_change(self._sources, said.sources)
            elif service == "models":
                self._models = self._wake_on_change(self._models, _standing(decode(message.data, ModelsState)))
        except Malformed as error:
            log.error("state_unreadable", of=self._system, by=service, reason=str(error))

    async def _on_beat(self, message: Msg) -> None:
        try:
            beat: Beat = decode(message.data, Beat)
        except Malformed as error:
            log.error("beat_unreadable", of=self._system, reason=str(error))
            return
        before = self._beats.get(beat.service)
        self._beats[beat.service], self._beats_at[beat.service] = beat, time.monotonic()
        said, known = (_heart_of(each) if each is not None else None for each in (beat, before))
        self._wake_on_change(known, said)

    def _hear_trading(self, status: TradingStatus) -> None:
        self._trading, self._trading_at = status, time.monotonic()
        told = _telling(status)
        profit_due = self._trading_at - self._told_at >= PROFIT_SECONDS
        if told != self._told or profit_due:
            self._told, self._told_at = told, self._trading_at
            self._wake()

    def _wake_on_change(self, before: Any, after: Any) -> Any:
        if before != after:
            self._wake()
        return after


def _heart_of(beat: Beat) -> tuple[object, ...]:
    """Of a heartbeat, what a round looks at."""
    return beat.instance, beat.boot_hash, beat.live_generation, beat.phase


def _standing(said: ModelsState) -> ModelsState:
    """Of models' word, what stands still while nothing happens: how long a trial has run is told by metrics and the command line."""
    return msgspec.structs.replace(said, phase_open_seconds=0, generation=0)


def _telling(status: TradingStatus) -> tuple[object, ...]:
    """Of execution's status, what is worth a round at once; the day's profit is not."""
    return status.state, status.why, status.latches, len(status.positions), status.halt_confirmed, in_session(status)
