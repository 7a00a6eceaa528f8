"""Which secrets each service needs, by name. Values never pass through here. Simulation needs none.

In pods a key is a file of the mounted Secret; locally the file ``secrets/<name>/<key>``, else the founding documents' environment variable.
"""

import msgspec

from tradingsystem.spec.execution import BrokerType
from tradingsystem.spec.resource import Mode, TradingSystem
from tradingsystem.spec.sources import CacheType, SourceType


class SecretKey(msgspec.Struct, frozen=True, kw_only=True):
    """One key of a secret, and the environment variable that stands in for it locally ("" when none does)."""

    name: str
    environment: str = ""


class SecretNeed(msgspec.Struct, frozen=True, kw_only=True):
    """A secret and the keys that are read from it."""

    name: str
    keys: tuple[SecretKey, ...]


_ALPACA_KEYS = (
    SecretKey(name="apiKey", environment="ALPACA_API_KEY"),
    SecretKey(name="apiSecret", environment="ALPACA_API_SECRET"),
)

_SOURCE_KEYS: dict[SourceType, tuple[SecretKey, ...]] = {
    SourceType.POLYGON: (SecretKey(name="apiKey", environment="POLYGON_API_KEY"),),
    SourceType.UNUSUAL_WHALES: (SecretKey(name="apiKey", environment="UNUSUAL_WHALES_API_KEY"),),
    SourceType.ALPACA: _ALPACA_KEYS,
    SourceType.CUSTOM: (SecretKey(name="apiKey"),),
}

_BROKER_KEYS: dict[BrokerType, tuple[SecretKey, ...]] = {BrokerType.ALPACA: _ALPACA_KEYS}


def signing_secret(system: str) -> str:
    """Name of the secret with the key that signs the bundles of that system, which learning jobs and the job that builds engines alone mount, and the public
    keys that verify them."""
    return f"{system}-bundle-signing"


def secrets_of(service: str, system: TradingSystem) -> tuple[SecretNeed, ...]:
    """The secrets one service needs; each once."""
    spec = system.spec
    if spec.mode is Mode.SIMULATION:
        return ()
    needs: list[SecretNeed] = []
    if service == "ingestion":
        needs += [SecretNeed(name=item.secret_ref.name, keys=_SOURCE_KEYS[item.type]) for item in spec.sources if item.secret_ref.name]
        if spec.cache.type is CacheType.REDIS and spec.cache.secret_ref.name:
            needs.append(SecretNeed(name=spec.cache.secret_ref.name, keys=(SecretKey(name="password"),)))
    if service == "execution":
        broker = spec.execution.broker
        needs.append(SecretNeed(name=broker.secret_ref.name, keys=_BROKER_KEYS[broker.type]))
    if service == "watcher":
        broker = spec.execution.broker
        needs.append(SecretNeed(name=broker.watcher_secret_ref.name or broker.secret_ref.name, keys=_BROKER_KEYS[broker.type]))
    if service == "learning":
        needs.append(SecretNeed(name=signing_secret(system.metadata.name), keys=(SecretKey(name="privateKey"),)))
    return tuple(dict.fromkeys(needs))
