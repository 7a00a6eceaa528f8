"""Which versions a Triton server can run by TensorRT: those whose engine was built for exactly its GPU and its TensorRT, and is vouched for.

What is wrong with an engine is found here, before the server is given a byte of it: an engine is code. A version without one is no fault of the version; it is
run by the server's other backend, and ``lacking`` says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import structlog

from tradingsystem.bundles.bundle import Bundle
from tradingsystem.bundles.engine_files import ENGINE_FILE, verified
from tradingsystem.bundles.engine_plan import Target, engine_name, engine_plan
from tradingsystem.bundles.refusal import ModelRefused, Refusal
from tradingsystem.domain.errors import TryAgain
from tradingsystem.interfaces import EngineStore
from tradingsystem.telemetry import metrics

log = structlog.get_logger()

MISSING = "EngineMissing"


class TritonEngines:
    """The engines of one server. ``vouching`` gives the keys of which one must have signed a bundle's engine; ``int8`` says of which of its graphs."""

    def __init__(self, store: EngineStore, vouching: Callable[[Bundle], tuple[bytes, ...]], *, int8: bool = True) -> None:
        self._store = store
        self._vouching = vouching
        self._int8 = int8
        self._held: dict[str, bytes] = {}  # what the server was given: it may ask again while the store is away
        self._names: dict[int, str] = {}
        self._given_up: dict[str, str] = {}
        self.lacking: dict[int, str] = {}
        """Why versions that were asked for last have none: the name of the reason, a colon, the details."""
        self.wanted: tuple[int, ...] = ()
        """Those of them for which building one would help."""

    async def fitting(self, bundles: Mapping[int, Bundle], target: Target) -> dict[int, bytes]:
        """The engine of each version that has one for this server."""
        found, held, before = dict[int, bytes](), dict[str, bytes](), dict(self.lacking)
        self.lacking, self.wanted, self._names = {}, (), {}
        if not target.known:
            self.lacking = dict.fromkeys(bundles, f"{MISSING}: the server does not say which GPU and which TensorRT it has")
            return {}
        for version, bundle in bundles.items():
            name = self._names[version] = engine_name(engine_plan(bundle, int8=self._int8), target)
            engine = await self._engine(bundle, name, target)
            if engine:
                found[version] = held[name] = engine
        self._held = held
        for version, why in self.lacking.items():
            if before.get(version) == why:
                continue
            log.warning("engine_lacking", version=version, reason=why)
            if why.startswith(Refusal.ENGINE_MISMATCH.value):
                metrics.alarms.labels(alarm="engine_mismatch").inc()
        return found

    async def _engine(self, bundle: Bundle, name: str, target: Target) -> bytes:
        """The engine, empty where there is none that may be loaded."""
        version = bundle.manifest.version
        if (why := self._given_up.get(name)) is not None:
            self.lacking[version] = why
            return b""
        if (engine := self._held.get(name)) is not None:
            return engine
        try:
            contents = await self._store.get(name)
            if contents is not None:
                verified(contents, engine_plan(bundle, int8=self._int8), target, self._vouching(bundle))
                return contents[ENGINE_FILE]
        except TryAgain as error:
            self.lacking[version] = f"{MISSING}: where engines are kept cannot be reached: {error}"
            return b""
        except ModelRefused as error:
            self.lacking[version] = f"{error.refusal.value}: {error.detail}"
        else:
            self.lacking[version] = f"{MISSING}: none for {target.gpu} and TensorRT {target.tensorrt}: no {name}"
        self.wanted = (*self.wanted, version)
        return b""

    def give_up(self, version: int, why: ModelRefused) -> None:
        """The server did not take that version's engine, or did not answer rightly by it: it is not tried there again."""
        name = self._names[version]
        self._given_up[name] = self.lacking[version] = f"{why.refusal.value}: {name}: {why.detail}"
        log.error("engine_refused", version=version, engine=name, reason=str(why))
        metrics.alarms.labels(alarm="engine_refused").inc()

    def forget(self) -> None:
        """The server was started anew: what it refused it may take now."""
        self._given_up.clear()
