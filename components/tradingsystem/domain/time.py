"""Time as integers: nanoseconds since the Unix epoch, UTC, so that no float and no time zone can blur a comparison."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from functools import lru_cache
from zoneinfo import ZoneInfo

NS_PER_MICROSECOND = 1_000
NS_PER_MILLISECOND = 1_000_000
NS_PER_SECOND = 1_000_000_000
NS_PER_MINUTE = 60 * NS_PER_SECOND
NS_PER_HOUR = 60 * NS_PER_MINUTE
NS_PER_DAY = 86_400 * NS_PER_SECOND

NEW_YORK = ZoneInfo("America/New_York")

EARLIEST_NS = 946_684_800 * NS_PER_SECOND  # 2000-01-01: an older venue time is a unit mistake
LATEST_NS = 4_102_444_800 * NS_PER_SECOND  # 2100-01-01
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def plausible(at_ns: int) -> bool:
    """Whether a venue's time lies between 2000 and 2100, i.e. its unit was read right."""
    return EARLIEST_NS <= at_ns < LATEST_NS


def at_speed(limit_ns: int, speed: float, machine_ns: int) -> int:
    """A limit in market time that, where that runs ``speed`` times as fast, never asks for more than the machine can do in ``machine_ns`` of its own:
    max(limit, speed x machine time). NaN and negative speeds leave it as it is."""
    scaled = speed * machine_ns
    return int(scaled) if scaled > limit_ns else limit_ns


def to_datetime(at_ns: int) -> datetime:
    """UTC datetime, cut to microseconds."""
    seconds, rest_ns = divmod(at_ns, NS_PER_SECOND)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest_ns // NS_PER_MICROSECOND)


def from_datetime(moment: datetime) -> int:
    """Nanoseconds of an aware datetime; a naive one is refused because its zone would be a guess."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone")
    elapsed = moment - _EPOCH
    return (elapsed.days * 86_400 + elapsed.seconds) * NS_PER_SECOND + elapsed.microseconds * NS_PER_MICROSECOND


def to_iso(at_ns: int) -> str:
    """RFC 3339 with all nine digits, UTC."""
    seconds, rest_ns = divmod(at_ns, NS_PER_SECOND)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest_ns:09d}Z"


def new_york_ns(day: date, clock: time) -> int:
    """The moment at which New York's wall clock shows ``clock`` on ``day``."""
    return from_datetime(datetime.combine(day, clock, NEW_YORK))


def new_york_date(at_ns: int) -> date:
    """New York's calendar date at that moment."""
    return _new_york_date(at_ns // NS_PER_HOUR)


@lru_cache(maxsize=256)
def _new_york_date(hour: int) -> date:
    """By whole hours since 1970: New York's clock differs from UTC's by whole hours, so that no date begins within one."""
    return datetime.fromtimestamp(hour * 3_600, UTC).astimezone(NEW_YORK).date()


def new_york_clock(at_ns: int) -> str:
    """HH:MM:SS in New York, for people."""
    return f"{to_datetime(at_ns).astimezone(NEW_YORK):%H:%M:%S}"
