"""For each rule: changes at which it just holds, and changes that break it and nothing else. Shared with the parity check against an API server."""

from __future__ import annotations

from typing import Any

from tests.spec.documents import EVERY_LIMIT, LIVE

Changes = dict[str, Any]

_POLYGON = {"name": "polygon", "type": "Polygon", "secretRef": {"name": "polygon"}}
_ALPACA = {"name": "alpaca", "type": "Alpaca", "secretRef": {"name": "alpaca"}}
_OWN = {"name": "own", "type": "Custom", "plugin": "mine"}
_BULL = {"regime": "Bull", "volumeRatioMinPercent": 1, "priceChangeMinBasisPoints": 1, "volatilityMaxBasisPoints": 1}


def _targets(*pairs: tuple[int, int]) -> list[dict[str, int]]:
    return [{"atBasisPoints": distance, "sharePercent": share} for distance, share in pairs]


_SERVERS = {"type": "External", "urls": ["tls://nats-0:4222", "tls://nats-1:4222"], "secretRef": {"name": "nats-users"}}
_IN_CLEAR = _SERVERS | {"urls": ["nats://nats-0:4222"]}


def _without(group: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name not in names}


def _window(after: int, before: int) -> dict[str, int]:
    return {"afterOpenMinutes": after, "beforeCloseMinutes": before}


HELD_AND_BROKEN: dict[str, tuple[Changes, Changes]] = {
    "probe-only-in-simulation": (
        {"spec.simulation.signals": "Probe"},
        {"spec.simulation.signals": "Probe", "spec.mode": "Paper"},
    ),
    "recorded-market-has-data": (
        {"spec.simulation": {"source": "Recorded", "data": "days"}},
        {"spec.simulation": {"source": "Recorded"}},
    ),
    "data-only-when-recorded": ({"spec.simulation": {"data": ""}}, {"spec.simulation": {"data": "days"}}),
    "claim-only-when-recorded": (
        {"spec.simulation": {"source": "Recorded", "dataClaimName": "days"}},
        {"spec.simulation": {"dataClaimName": "days"}},
    ),
    "data-stays-in-claim": (
        {"spec.simulation": {"source": "Recorded", "dataClaimName": "days", "data": "a..b/c"}},
        {"spec.simulation": {"source": "Recorded", "dataClaimName": "days", "data": "a/.."}},
    ),
    "broker-has-secret": (
        {"spec.mode": "Simulation", "spec.execution.broker.secretRef.name": ""},
        {"spec.mode": "Paper", "spec.execution.broker.secretRef.name": ""},
    ),
    "live-names-account": (LIVE, LIVE | {"spec.execution.broker": {"secretRef": {"name": "alpaca-live"}}}),
    "live-has-own-secret": (
        LIVE | {"spec.sources": [_POLYGON, _ALPACA]},
        LIVE | {"spec.sources": [_POLYGON, _ALPACA | {"secretRef": {"name": "alpaca-live"}}]},
    ),
    "live-writes-every-limit": (
        LIVE,
        LIVE | {"spec.risk": {name: limit for name, limit in EVERY_LIMIT.items() if name != "priceCollarBasisPoints"}},
    ),
    "listed-symbols-are-given": (
        {"spec.universe": {"selection": "List", "symbols": ["SPY"]}},
        {"spec.universe": {"selection": "List"}},
    ),
    "symbols-only-when-listed": ({"spec.universe": {"symbols": []}}, {"spec.universe": {"symbols": ["SPY"]}}),
    "symbols-fit": (
        {"spec.universe": {"selection": "List", "symbols": ["A", "B"], "symbolsMax": 2}},
        {"spec.universe": {"selection": "List", "symbols": ["A", "B", "C"], "symbolsMax": 2}},
    ),
    "config-map-is-named": (
        {"spec.universe": {"selection": "ConfigMap", "configMapRef": {"name": "symbols"}}},
        {"spec.universe": {"selection": "ConfigMap"}},
    ),
    "config-map-only-when-selected": (
        {"spec.universe": {"configMapRef": {"key": "other"}}},
        {"spec.universe": {"configMapRef": {"name": "symbols"}}},
    ),
    "prices-are-carried": (
        {"spec.sources": [_POLYGON | {"channels": ["Trades"]}, _ALPACA | {"channels": ["Quotes"]}]},
        {"spec.sources": [_POLYGON | {"channels": ["Trades", "MinuteBars"]}]},
    ),
    "channels-fit-type": (
        {"spec.sources": [_POLYGON | {"channels": ["Trades", "Quotes", "Indices"]}]},
        {"spec.sources": [_POLYGON | {"channels": ["Trades", "Quotes", "Flow"]}]},
    ),
    "one-polygon-source": (
        {"spec.sources": [_POLYGON, _ALPACA]},
        {"spec.sources": [_POLYGON, _POLYGON | {"name": "second"}]},
    ),
    "feed-only-for-alpaca": (
        {"spec.sources": [_ALPACA | {"feed": "Iex"}]},
        {"spec.sources": [_POLYGON | {"feed": "Iex"}]},
    ),
    "custom-source-names-plugin": (
        {"spec.sources": [_POLYGON, _OWN]},
        {"spec.sources": [_POLYGON, _OWN | {"plugin": ""}]},
    ),
    "plugin-only-for-custom": ({"spec.sources": [_OWN]}, {"spec.sources": [_POLYGON | {"plugin": "mine"}]}),
    "sources-have-secrets": (
        {"spec.mode": "Paper", "spec.sources": [_POLYGON, _OWN]},
        {"spec.mode": "Paper", "spec.sources": [{"name": "polygon", "type": "Polygon"}]},
    ),
    "redis-has-address": (
        {"spec.cache": {"type": "Redis", "address": "redis:6379"}},
        {"spec.cache": {"type": "Redis"}},
    ),
    "address-only-for-redis": ({"spec.cache": {"address": ""}}, {"spec.cache": {"address": "redis:6379"}}),
    "both-regimes-have-rules": (
        {"spec.filter.rules": [_BULL, _BULL | {"regime": "Bear"}]},
        {"spec.filter.rules": [_BULL]},
    ),
    "sizing-bounds-ordered": ({"spec.sizing.positionNotionalMin": 4_000}, {"spec.sizing.positionNotionalMin": 4_001}),
    "order-limit-covers-position": ({"spec.sizing.positionNotionalMax": 5_000}, {"spec.sizing.positionNotionalMax": 5_001}),
    "gross-limit-covers-position": ({"spec.risk.grossNotionalMax": 4_000}, {"spec.risk.grossNotionalMax": 3_999}),
    "capital-covers-position": (
        {"spec.execution.initialCapital": 4_000},
        {"spec.execution.initialCapital": 3_999},
    ),
    "risk-based-share-covers-minimum": (
        {"spec.sizing": {"method": "RiskBased", "positionMaxPercent": 4}},
        {"spec.sizing": {"method": "RiskBased", "positionMaxPercent": 3}},
    ),
    "day-allows-open-positions": ({"spec.risk.positionsPerDayMax": 5}, {"spec.risk.positionsPerDayMax": 4}),
    "daily-loss-within-capital": ({"spec.risk.dailyLossMax": 50_000}, {"spec.risk.dailyLossMax": 50_001}),
    "one-stop-within-daily-loss": ({"spec.risk.dailyLossMax": 20}, {"spec.risk.dailyLossMax": 19}),
    "targets-ascend": (
        {"spec.execution.takeProfits": _targets((50, 50), (51, 50))},
        {"spec.execution.takeProfits": _targets((51, 50), (50, 50))},
    ),
    "shares-sum-to-100": (
        {"spec.execution.takeProfits": _targets((50, 100))},
        {"spec.execution.takeProfits": _targets((50, 50), (60, 49))},
    ),
    "stop-beyond-spread": ({"spec.execution.stopLossBasisPoints": 11}, {"spec.execution.stopLossBasisPoints": 10}),
    "entries-end-before-flattening": (
        {"spec.execution.entryWindow": _window(5, 16)},
        {"spec.execution.entryWindow": _window(5, 15)},
    ),
    "entry-window-is-open": (
        {"spec.execution.entryWindow": _window(359, 30)},
        {"spec.execution.entryWindow": _window(360, 30)},
    ),
    "external-server-has-urls": ({"spec.messaging": _SERVERS}, {"spec.messaging": _without(_SERVERS, "urls")}),
    "urls-only-for-external": ({"spec.messaging": {"urls": []}}, {"spec.messaging": {"urls": _SERVERS["urls"]}}),
    "external-server-has-secret": ({"spec.messaging": _IN_CLEAR}, {"spec.messaging": _without(_SERVERS, "secretRef")}),
    "server-secrets-only-for-external": (
        {"spec.messaging": _SERVERS | {"caSecretRef": {"name": "nats-ca"}}},
        {"spec.messaging": {"caSecretRef": {"name": "nats-ca"}}},
    ),
    "urls-agree-on-tls": (
        {"spec.messaging": _SERVERS},
        {"spec.messaging": _SERVERS | {"urls": ["tls://nats-0:4222", "nats://nats-1:4222"]}},
    ),
    "authorities-only-with-tls": (
        {"spec.messaging": _SERVERS | {"caSecretRef": {"name": "nats-ca"}}},
        {"spec.messaging": _IN_CLEAR | {"caSecretRef": {"name": "nats-ca"}}},
    ),
    "replicas-are-odd": ({"spec.messaging": _SERVERS | {"replicas": 3}}, {"spec.messaging": _SERVERS | {"replicas": 4}}),
    "replicas-only-for-external": ({"spec.messaging": {"replicas": 1}}, {"spec.messaging": {"replicas": 3}}),
}

LOCALLY_HELD_AND_BROKEN: dict[str, tuple[Changes, Changes]] = {
    "start-date-is-session": (
        {"spec.simulation.startDate": "2025-11-28"},
        {"spec.simulation.startDate": "2025-12-25"},
    ),
    "time-zone-exists": ({"spec.learning.timeZone": "Europe/Berlin"}, {"spec.learning.timeZone": "Europe/Berlim"}),
    "incremental-schedule-is-cron": (
        {"spec.learning.incremental.schedule": "*/5 0-23 1,15 * 1-5"},
        {"spec.learning.incremental.schedule": "60 0 * * *"},
    ),
    "retrain-schedule-is-cron": (
        {"spec.learning.retrain.schedule": ""},
        {"spec.learning.retrain.schedule": "0 0 * 13 *"},
    ),
}
