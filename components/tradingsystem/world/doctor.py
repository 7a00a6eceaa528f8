"""Asks everything that a system needs before it may start, one small question each, and says what to do about every no. It trades and changes nothing.

Keys are named and never shown. The broker is asked by alpaca-py, since this is the cold path; data vendors by one request per thing that is entitled.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from requests.adapters import HTTPAdapter
from requests.exceptions import RequestException

from tradingsystem.domain import calendar
from tradingsystem.domain.errors import InvalidInput, NotAuthorized, TradingSystemError
from tradingsystem.domain.time import NS_PER_SECOND, from_datetime, new_york_date
from tradingsystem.messages.permissions import PERSON
from tradingsystem.process import external_server
from tradingsystem.process.connecting import connected
from tradingsystem.process.nats_server import PortTaken, program, refuse_taken
from tradingsystem.process.private_files import read_password
from tradingsystem.process.secrets import Secrets
from tradingsystem.process.venues import Venues
from tradingsystem.spec import Mode, Plan, SecretNeed, TradingSystem
from tradingsystem.spec.sources import Channel, Source, SourceType, channels_of

with warnings.catch_warnings():  # its stream module, which nothing here uses, imports what websockets has deprecated
    warnings.simplefilter("ignore", DeprecationWarning)
    from alpaca.common.exceptions import APIError
    from alpaca.trading.client import TradingClient
    from alpaca.trading.requests import GetCalendarRequest

ASK_SECONDS = 10.0
SKEW_SECONDS_MAX = 1.0
DATA_AGE_SECONDS_MAX = 60.0
CALENDAR_DAYS = 30
NEW_YORK = ZoneInfo("America/New_York")


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer. ``remedy`` is empty exactly when all is well."""

    what: str
    says: str
    remedy: str = ""

    @property
    def ok(self) -> bool:
        return not self.remedy


def examine(system: TradingSystem, planned: Plan, secrets: Secrets, venues: Venues) -> Iterator[Finding]:
    """Every check that this resource needs, as it is made; the network is asked only outside Simulation. ``venues``: where they answer."""
    if planned.messaging.external:
        yield from _external_server(planned, secrets)
    else:
        yield _server()
    yield _ports(planned)
    if planned.mode is Mode.SIMULATION:
        yield Finding("keys", "none are needed: every venue is simulated")
        return
    keys = list(_keys(planned.secrets(), secrets))
    yield from keys
    if all(key.ok for key in keys if "alpaca" in key.what.lower()):
        yield from _broker(system, secrets, venues)
    for source in system.spec.sources:
        yield from _source(source, secrets, venues)


def _server() -> Finding:
    try:
        return Finding("message server", program())
    except InvalidInput as error:
        return Finding("message server", "not found", str(error))


def _external_server(planned: Plan, secrets: Secrets) -> Iterator[Finding]:
    """A server that a person runs: its passwords, and whether it lets the person's user in."""
    keys = list(_keys(external_server.needs(planned), secrets))
    yield from keys
    server = external_server.address(planned, secrets.folder)
    if not all(key.ok for key in keys):
        return

    async def asked() -> None:
        password = read_password(external_server.password_file(planned, secrets.folder, PERSON))
        async with connected(server, planned.system, PERSON, password, timeout_seconds=ASK_SECONDS):
            return

    try:
        asyncio.run(asked())
    except TradingSystemError as error:
        yield Finding("message server", str(error), "see docs/operations/message-server.md")
    else:
        yield Finding("message server", f"{server.url} answers")


def _ports(planned: Plan) -> Finding:
    ports = {f"{workload.name} {port.name}": port.number for workload in planned.workloads for port in workload.ports}
    try:
        refuse_taken(ports)
    except PortTaken as error:
        return Finding("ports", "taken (by this system, if it runs already)", str(error))
    return Finding("ports", f"{min(ports.values())} to {max(ports.values())} on 127.0.0.1 are free")


def _keys(needs: Iterable[SecretNeed], secrets: Secrets) -> Iterator[Finding]:
    for need in needs:
        for key in need.keys:
            name = f"key {need.name}/{key.name}"
            try:
                secrets.value(need.name, key.name, key.environment)
            except NotAuthorized as error:
                place = secrets.folder / need.name / key.name
                variable = f", or set the environment variable {key.environment}" if key.environment else ""
                yield Finding(name, str(error).partition(": ")[2], f"write it into {place}, readable by you alone{variable}")
            else:
                yield Finding(name, "present")


# --- the broker ------------------------------------------------------------------------------------------------------


class _WithTimeout(HTTPAdapter):
    """alpaca-py gives its requests no time-out; a doctor who waits for ever helps nobody."""

    def send(self, *arguments: Any, **options: Any) -> Any:
        return super().send(*arguments, **(options | {"timeout": ASK_SECONDS}))


def _client(system: TradingSystem, secrets: Secrets, venues: Venues) -> TradingClient:
    name = system.spec.execution.broker.secret_ref.name
    key = secrets.value(name, "apiKey", "ALPACA_API_KEY")
    secret = secrets.value(name, "apiSecret", "ALPACA_API_SECRET")
    client = TradingClient(key, secret, paper=system.spec.mode is not Mode.LIVE, url_override=venues.alpaca_trading)
    for scheme in ("https://", "http://"):
        client._session.mount(scheme, _WithTimeout())
    return client


def _broker(system: TradingSystem, secrets: Secrets, venues: Venues) -> Iterator[Finding]:
    client = _client(system, secrets, venues)
    for what, ask in (("account", _account), ("clock", _clock), ("calendar", _calendar)):
        try:
            yield ask(system, client)
        except APIError as error:
            status = error.status_code
            remedy = (
                "paper and live keys are different; check the key pair"
                if status in (401, 403)
                else "see the broker's status page, try again"
            )
            yield Finding(f"broker {what}", f"refused with HTTP {status}", remedy)
        except RequestException as error:
            yield Finding(f"broker {what}", f"not reached: {type(error).__name__}", f"check the network and {venues.alpaca_trading}")


def _account(system: TradingSystem, client: TradingClient) -> Finding:
    account: Any = client.get_account()
    wanted = system.spec.execution.broker.account_number
    says = f"{account.account_number}, {account.status.value}, equity {account.equity}"
    if wanted and wanted != account.account_number:
        return Finding(
            "broker account", says, f"the resource names {wanted}; use that account's keys, or correct execution.broker.accountNumber"
        )
    blocked = [name for name in ("trading_blocked", "account_blocked", "trade_suspended_by_user") if getattr(account, name)]
    if blocked:
        return Finding("broker account", f"{says}, {', '.join(blocked)}", "lift the block in the broker's own console")
    if float(account.equity or 0) < system.spec.execution.initial_capital:
        return Finding(
            "broker account", says, f"equity is below execution.initialCapital {system.spec.execution.initial_capital}; lower it or fund it"
        )
    return Finding("broker account", says)


def _clock(_: TradingSystem, client: TradingClient) -> Finding:
    before = time.time()
    clock: Any = client.get_clock()
    middle = 0.5 * (before + time.time())
    skew = middle - clock.timestamp.timestamp()
    says = f"this machine is {skew:+.2f} s from the broker's clock"
    return Finding("clock", says, "" if abs(skew) <= SKEW_SECONDS_MAX else "synchronise this machine's time (chrony, systemd-timesyncd)")


def _calendar(_: TradingSystem, client: TradingClient) -> Finding:
    first = datetime.now(NEW_YORK).date()
    last = first + timedelta(days=CALENDAR_DAYS)
    told: Any = client.get_calendar(GetCalendarRequest(start=first, end=last))
    theirs = {day.date: (_ns(day.open), _ns(day.close)) for day in told}
    differing = []
    for day in (first + timedelta(days=number) for number in range(CALENDAR_DAYS + 1)):
        if _ours(day) != theirs.get(day):
            differing.append(str(day))
    says = f"{len(theirs)} sessions from {first} to {last}"
    if differing:
        return Finding(
            "calendar", f"{says}; differs on {', '.join(differing)}", "update this package: its table of the exchange's days is older"
        )
    return Finding("calendar", f"{says}, as the broker's")


def _ns(moment: datetime) -> int:
    """alpaca-py gives New York's wall clock without a zone."""
    return from_datetime(moment.replace(tzinfo=NEW_YORK))


def _ours(day: date) -> tuple[int, int] | None:
    if not calendar.is_session(day):
        return None
    session = calendar.session(day)
    return session.open_ns, session.close_ns


# --- data vendors ----------------------------------------------------------------------------------------------------


def _source(source: Source, secrets: Secrets, venues: Venues) -> Iterator[Finding]:
    if source.type is SourceType.POLYGON:
        key = _optional(secrets, source, "POLYGON_API_KEY")
        if key:
            yield from _polygon(source, lambda path: _get(venues.polygon_rest + path, key))
    elif source.type is SourceType.UNUSUAL_WHALES:
        key = _optional(secrets, source, "UNUSUAL_WHALES_API_KEY")
        if key:
            yield _entitled(f"{source.name} flow", lambda: _get(f"{venues.unusual_whales}/api/option-trades/flow-alerts?limit=1", key))[0]


def _optional(secrets: Secrets, source: Source, variable: str) -> str:
    """The key, empty when it is missing: that was said before."""
    try:
        return secrets.value(source.secret_ref.name, "apiKey", variable)
    except NotAuthorized:
        return ""


def _polygon(source: Source, get: Callable[[str], Any]) -> Iterator[Finding]:
    channels = channels_of(source)
    yield _entitled(f"{source.name} reference data", lambda: get("/v3/reference/tickers?limit=1"))[0]
    if Channel.QUOTES in channels:
        yield _entitled(f"{source.name} quotes", lambda: get("/v2/last/nbbo/SPY"))[0]
    if Channel.INDICES in channels:
        yield _entitled(f"{source.name} indices", lambda: get("/v3/snapshot/indices?ticker.any_of=I:VIX"))[0]
    if Channel.TRADES in channels:
        finding, body = _entitled(f"{source.name} trades", lambda: get("/v2/last/trade/SPY"))
        yield finding
        if body is not None:
            yield _age(source.name, body)


def _age(name: str, body: Any) -> Finding:
    at_ns = int(body.get("results", {}).get("t", 0)) if isinstance(body, dict) else 0
    now_ns = time.time_ns()
    age = (now_ns - at_ns) / NS_PER_SECOND
    what, day = f"{name} data age", new_york_date(now_ns)
    if not at_ns:
        return Finding(what, "the last trade has no time", "see the vendor's status page")
    if not (calendar.is_session(day) and calendar.session(day).contains(now_ns)):
        return Finding(
            what,
            f"the last trade of SPY is of {datetime.fromtimestamp(at_ns / NS_PER_SECOND, UTC):%Y-%m-%d %H:%M} UTC; the market is closed",
        )
    late = age > DATA_AGE_SECONDS_MAX
    return Finding(
        what,
        f"the last trade of SPY is {age:.0f} s old",
        "the plan may be a delayed one, or the feed is down; see the vendor" if late else "",
    )


def _entitled(what: str, ask: Callable[[], Any]) -> tuple[Finding, Any]:
    try:
        body = ask()
    except urllib.error.HTTPError as error:
        remedies = {
            401: "the vendor does not accept the key; check it",
            403: "the key's plan does not include it; choose another plan or drop the channel",
        }
        return Finding(what, f"refused with HTTP {error.code}", remedies.get(error.code, "see the vendor's status page, try again")), None
    except (OSError, ValueError) as error:
        return Finding(what, f"no usable answer: {type(error).__name__}", "check the network, try again"), None
    return Finding(what, "entitled"), body


def _get(url: str, key: str) -> Any:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}", "Accept": "application/json"})
    with urllib.request.urlopen(request, timeout=ASK_SECONDS) as answer:
        return json.load(answer)
