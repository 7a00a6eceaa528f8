"""Every relation between fields of the resource, in one list: ``RULES``.

A rule is written once as CEL for the API server and once as Python, because no evaluator is shared by both. ``self`` in CEL is what ``scope`` says.
The rules on market data stand in ``rules_data.py``, on money in ``rules_money.py``, on the message server in ``rules_messaging.py``; here are
those on mode and simulation, and ``LOCAL_RULES``, which
need a calendar or a time zone database and so cannot be said to an API server.
"""

import zoneinfo
from datetime import date

from tradingsystem.domain.calendar import OutsideCalendar, is_session
from tradingsystem.spec.resource import Mode, TradingSystemSpec
from tradingsystem.spec.risk import Risk
from tradingsystem.spec.rule import RESOURCE, SPEC, Document, Rule
from tradingsystem.spec.rules_data import FILTER_RULES, SOURCE_RULES, UNIVERSE_RULES
from tradingsystem.spec.rules_messaging import MESSAGING_RULES
from tradingsystem.spec.rules_money import EXECUTION_RULES, MONEY_RULES
from tradingsystem.spec.schedule import schedule_problem
from tradingsystem.spec.section import wire_name
from tradingsystem.spec.simulation import MarketSource, Signals

PAPER_SECRET = "alpaca"
"""The default secret, which Paper uses; Live must not."""

RISK_FIELDS = tuple(wire_name(name) for name in Risk.__struct_fields__)


def _spec(document: Document) -> TradingSystemSpec:
    return document.system.spec


def _name_fits(document: Document) -> bool:
    return len(document.system.metadata.name) <= 40


def _probe_only_in_simulation(document: Document) -> bool:
    spec = _spec(document)
    return spec.simulation.signals is Signals.MODEL or spec.mode is Mode.SIMULATION


def _recorded_market_has_data(document: Document) -> bool:
    simulation = _spec(document).simulation
    return simulation.source is not MarketSource.RECORDED or simulation.data != "" or simulation.data_claim_name != ""


def _data_only_when_recorded(document: Document) -> bool:
    simulation = _spec(document).simulation
    return simulation.source is MarketSource.RECORDED or simulation.data == ""


def _claim_only_when_recorded(document: Document) -> bool:
    simulation = _spec(document).simulation
    return simulation.source is MarketSource.RECORDED or simulation.data_claim_name == ""


def _data_stays_in_claim(document: Document) -> bool:
    simulation = _spec(document).simulation
    return simulation.data_claim_name == "" or not (simulation.data.startswith("/") or "/../" in f"/{simulation.data}/")


def _broker_has_secret(document: Document) -> bool:
    spec = _spec(document)
    return spec.mode is Mode.SIMULATION or spec.execution.broker.secret_ref.name != ""


def _live_names_account(document: Document) -> bool:
    spec = _spec(document)
    return spec.mode is not Mode.LIVE or spec.execution.broker.account_number != ""


def _live_has_own_secret(document: Document) -> bool:
    spec = _spec(document)
    name = spec.execution.broker.secret_ref.name
    return spec.mode is not Mode.LIVE or (name != PAPER_SECRET and all(source.secret_ref.name != name for source in spec.sources))


def _live_writes_every_limit(document: Document) -> bool:
    return _spec(document).mode is not Mode.LIVE or all(document.wrote(f"spec.risk.{field}") for field in RISK_FIELDS)


_EVERY_LIMIT = " && ".join(f"has(self.risk.{field})" for field in RISK_FIELDS)
_BROKER_SECRET = "self.execution.broker.secretRef.name"

MODE_RULES = (
    Rule(
        name="name-fits",
        scope=RESOURCE,
        fields=("metadata.name",),
        cel="self.metadata.name.size() <= 40",
        holds=_name_fits,
        reason="the name is too long to take the suffixes of its parts",
        remedy="use at most 40 characters",
    ),
    Rule(
        name="probe-only-in-simulation",
        scope=SPEC,
        fields=("spec.simulation.signals", "spec.mode"),
        cel="self.simulation.signals == 'Model' || self.mode == 'Simulation'",
        holds=_probe_only_in_simulation,
        reason="Probe buys on a seeded schedule and is refused outside Simulation",
        remedy="set signals to Model, or mode to Simulation",
    ),
    Rule(
        name="recorded-market-has-data",
        scope=SPEC,
        fields=("spec.simulation.data", "spec.simulation.source"),
        cel="self.simulation.source != 'Recorded' || self.simulation.data != '' || self.simulation.dataClaimName != ''",
        holds=_recorded_market_has_data,
        reason="source Recorded needs data",
        remedy="set dataClaimName to a volume claim that holds the days, or data to a folder of files or a recording",
    ),
    Rule(
        name="data-only-when-recorded",
        scope=SPEC,
        fields=("spec.simulation.data", "spec.simulation.source"),
        cel="self.simulation.source == 'Recorded' || self.simulation.data == ''",
        holds=_data_only_when_recorded,
        reason="data is read only when source is Recorded",
        remedy="set source to Recorded, or remove data",
    ),
    Rule(
        name="claim-only-when-recorded",
        scope=SPEC,
        fields=("spec.simulation.dataClaimName", "spec.simulation.source"),
        cel="self.simulation.source == 'Recorded' || self.simulation.dataClaimName == ''",
        holds=_claim_only_when_recorded,
        reason="dataClaimName is read only when source is Recorded",
        remedy="set source to Recorded, or remove dataClaimName",
    ),
    Rule(
        name="data-stays-in-claim",
        scope=SPEC,
        fields=("spec.simulation.data", "spec.simulation.dataClaimName"),
        cel=(
            "self.simulation.dataClaimName == '' || !(self.simulation.data.startsWith('/') || ('/' + self.simulation.data + '/').contains('/../'))"
        ),
        holds=_data_stays_in_claim,
        reason="with dataClaimName, data is a place in that volume",
        remedy="give a path without a leading / and without .., or leave it empty for the whole volume",
    ),
    Rule(
        name="broker-has-secret",
        scope=SPEC,
        fields=("spec.execution.broker.secretRef.name", "spec.mode"),
        cel=f"self.mode == 'Simulation' || {_BROKER_SECRET} != ''",
        holds=_broker_has_secret,
        reason="Paper and Live need the broker's keys",
        remedy="set execution.broker.secretRef.name",
    ),
    Rule(
        name="live-names-account",
        scope=SPEC,
        fields=("spec.execution.broker.accountNumber", "spec.mode"),
        cel="self.mode != 'Live' || self.execution.broker.accountNumber != ''",
        holds=_live_names_account,
        reason="Live needs the account number spelled out, so that keys of another account are refused",
        remedy="copy the account number from the broker's page",
    ),
    Rule(
        name="live-has-own-secret",
        scope=SPEC,
        fields=("spec.execution.broker.secretRef.name", "spec.mode"),
        cel=(f"self.mode != 'Live' || ({_BROKER_SECRET} != '{PAPER_SECRET}' && self.sources.all(s, s.secretRef.name != {_BROKER_SECRET}))"),
        holds=_live_has_own_secret,
        reason=f"Live needs a secret of its own: not `{PAPER_SECRET}`, which Paper uses, and none that a source uses",
        remedy="create a secret with the live keys only, such as alpaca-live, and name it here",
    ),
    Rule(
        name="live-writes-every-limit",
        scope=SPEC,
        fields=("spec.risk", "spec.mode"),
        cel=f"self.mode != 'Live' || ({_EVERY_LIMIT})",
        holds=_live_writes_every_limit,
        reason="Live needs every risk limit written, since no default knows whose money it is",
        remedy="write each of " + ", ".join(RISK_FIELDS),
    ),
)

RULES: tuple[Rule, ...] = (
    *MODE_RULES,
    *UNIVERSE_RULES,
    *SOURCE_RULES,
    *FILTER_RULES,
    *MONEY_RULES,
    *EXECUTION_RULES,
    *MESSAGING_RULES,
)


def _start_date_is_session(document: Document) -> bool:
    try:
        return is_session(date.fromisoformat(_spec(document).simulation.start_date))
    except (ValueError, OutsideCalendar):
        return False


def _time_zone_exists(document: Document) -> bool:
    try:
        zoneinfo.ZoneInfo(_spec(document).learning.time_zone)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        return False
    return True


def _incremental_schedule_is_cron(document: Document) -> bool:
    return schedule_problem(_spec(document).learning.incremental.schedule) == ""


def _retrain_schedule_is_cron(document: Document) -> bool:
    return schedule_problem(_spec(document).learning.retrain.schedule) == ""


_CRON_REMEDY = "give minute (0-59), hour (0-23), day (1-31), month (1-12) and weekday (0-7), or leave it empty"

LOCAL_RULES: tuple[Rule, ...] = (
    Rule(
        name="start-date-is-session",
        scope=SPEC,
        fields=("spec.simulation.startDate",),
        cel="",
        holds=_start_date_is_session,
        reason="the exchange has no session on that day, as far as the calendar of this release goes",
        remedy="choose a day on which the New York Stock Exchange trades",
    ),
    Rule(
        name="time-zone-exists",
        scope=SPEC,
        fields=("spec.learning.timeZone",),
        cel="",
        holds=_time_zone_exists,
        reason="is not a time zone",
        remedy="use an IANA name such as America/New_York",
    ),
    Rule(
        name="incremental-schedule-is-cron",
        scope=SPEC,
        fields=("spec.learning.incremental.schedule",),
        cel="",
        holds=_incremental_schedule_is_cron,
        reason="is not a cron expression",
        remedy=_CRON_REMEDY,
    ),
    Rule(
        name="retrain-schedule-is-cron",
        scope=SPEC,
        fields=("spec.learning.retrain.schedule",),
        cel="",
        holds=_retrain_schedule_is_cron,
        reason="is not a cron expression",
        remedy=_CRON_REMEDY,
    ),
)
