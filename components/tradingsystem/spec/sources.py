"""Where market data comes from, and where answers of REST calls are kept. A source that is not named here is never connected."""

import enum
from typing import Annotated

from msgspec import Meta

from tradingsystem.spec.section import A_SET, Label, Seconds, SecretRef, Section, about


class SourceType(enum.StrEnum):
    """Which adapter speaks to the source; Custom is found by entry point under `plugin`."""

    POLYGON = "Polygon"
    ALPACA = "Alpaca"
    UNUSUAL_WHALES = "UnusualWhales"
    CUSTOM = "Custom"


class Channel(enum.StrEnum):
    """One kind of data."""

    TRADES = "Trades"
    QUOTES = "Quotes"
    SECOND_BARS = "SecondBars"
    MINUTE_BARS = "MinuteBars"
    LIMIT_BANDS = "LimitBands"
    INDICES = "Indices"
    FLOW = "Flow"


class DataFeed(enum.StrEnum):
    """Alpaca's choice of tape: all exchanges, or IEX alone (about 2 % of volume, free)."""

    SIP = "Sip"
    IEX = "Iex"


CHANNELS_OF: dict[SourceType, frozenset[Channel]] = {
    SourceType.POLYGON: frozenset(Channel) - {Channel.FLOW},
    SourceType.ALPACA: frozenset(
        {Channel.TRADES, Channel.QUOTES, Channel.MINUTE_BARS, Channel.LIMIT_BANDS},
    ),
    SourceType.UNUSUAL_WHALES: frozenset({Channel.FLOW}),
    SourceType.CUSTOM: frozenset(Channel),
}
"""What each type of source can deliver."""


class Source(Section, frozen=True, kw_only=True):
    """One connection to one provider. The first source in the list that carries a channel serves it; later ones stand by for it."""

    name: Annotated[Label, about("Name in logs, metrics and freshness; unique.")]
    type: Annotated[SourceType, about("Which adapter speaks to it.")]
    secret_ref: Annotated[SecretRef, about("Its key. Needed in Paper and Live, not read in Simulation.")] = SecretRef()
    channels: Annotated[
        tuple[Channel, ...],
        Meta(max_length=16),
        A_SET,
        about("What is subscribed. Empty: everything the type can deliver, since data left out cannot be traded on later."),
    ] = ()
    poll_seconds: Annotated[
        Seconds,
        about("Time between two REST polls, for sources that are polled. 5: the founding update interval of quotes and trades."),
    ] = 5
    feed: Annotated[DataFeed, about("Alpaca's tape; read only when type is Alpaca. Sip, since IEX's quotes are not the market's.")] = (
        DataFeed.SIP
    )
    record_frames: Annotated[
        bool,
        about(
            "Keep its frames as they came, beside the tape: a recording with them can be played again over the wire. "
            "False, since the tape holds all that decides, and frames are several times its size."
        ),
    ] = False
    plugin: Annotated[
        str,
        Meta(max_length=63, pattern="^([a-z][a-z0-9_]*)?$"),
        about("Entry point in the group `tradingsystem.sources`; read only when type is Custom."),
    ] = ""


def channels_of(source: Source) -> frozenset[Channel]:
    """The channels a source subscribes: the listed ones, or all its type can deliver when none is listed."""
    return frozenset(source.channels) or CHANNELS_OF[source.type]


class CacheType(enum.StrEnum):
    """Where cached answers live."""

    JETSTREAM = "JetStream"
    REDIS = "Redis"


class CacheLifetimes(Section, frozen=True, kw_only=True):
    """How long an answer is served before it is asked for again; the founding document's update intervals."""

    market_status: Annotated[Seconds, about("Open, closed or early close, seconds. 60: seen well before the flattening minute.")] = 60
    ticker_details: Annotated[Seconds, about("Names, types and share counts, seconds. 86,400: they change overnight.")] = 86_400
    aggregates: Annotated[Seconds, about("Bars of the past, seconds. 300: the founding cache lifetime.")] = 300
    quotes: Annotated[Seconds, about("Last quotes, seconds. 5: older ones are stale to the risk gate anyway.")] = 5
    trades: Annotated[Seconds, about("Last trades, seconds. 5: as quotes.")] = 5


class Cache(Section, frozen=True, kw_only=True):
    """Where REST answers are kept across restarts. Losing it costs time, never correctness."""

    type: Annotated[
        CacheType, about("JetStream needs nothing beside the NATS server that runs anyway; Redis is the founding document's.")
    ] = CacheType.JETSTREAM
    address: Annotated[
        str,
        Meta(max_length=253, pattern="^([-a-zA-Z0-9.]+:[0-9]{1,5})?$"),
        about("host:port of Redis; read only when type is Redis."),
    ] = ""
    database: Annotated[int, Meta(ge=0, le=15), about("Number of the Redis database. 0: the founding document's REDIS_DB.")] = 0
    secret_ref: Annotated[SecretRef, about("Password of Redis (key `password`). Empty: none.")] = SecretRef()
    ttl_seconds: Annotated[CacheLifetimes, about("Lifetimes by kind of answer.")] = CacheLifetimes()
