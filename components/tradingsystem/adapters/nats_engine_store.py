"""Engines in NATS's object store: how they come from the GPU's node to the service that loads them. An object is named by the engine's key.

A name that was removed may be given again: the same key is the same engine to whoever asks for it, however often it is built.
"""

from __future__ import annotations

from collections.abc import Mapping

from tradingsystem.adapters.engine_folder import check
from tradingsystem.adapters.nats import NatsConnection
from tradingsystem.adapters.nats_objects import NatsObjects, NotWhole
from tradingsystem.bundles.archive import unpack
from tradingsystem.bundles.bundle import InvalidBundle
from tradingsystem.bundles.engine_files import ENGINE
from tradingsystem.bundles.engine_plan import version_in
from tradingsystem.bundles.refusal import ModelRefused, Refusal
from tradingsystem.messages.subjects import engines_bucket

BYTES_MAX = 50 * 1024**2
_SUFFIX = ".tar"


class NatsEngineStore:
    """``interfaces.EngineStore`` over a connection that somebody else opens and closes."""

    def __init__(self, connection: NatsConnection, *, bytes_max: int = BYTES_MAX) -> None:
        self._objects = NatsObjects(connection, engines_bucket(connection.settings.system), bytes_max=bytes_max, again=True)

    async def ensure(self) -> None:
        """Make sure that the object store exists. Raises ``TryAgain`` or ``RequestRefused`` when there is no room for it."""
        await self._objects.ensure()

    async def names(self) -> tuple[str, ...]:
        """See ``interfaces.EngineStore``."""
        there = (info.name.removesuffix(_SUFFIX) for info in (await self._objects.newest()).values() if not info.deleted)
        return tuple(sorted(name for name in there if version_in(name)))

    async def get(self, name: str) -> Mapping[str, bytes] | None:
        """See ``interfaces.EngineStore``."""
        info = await self._objects.info(name + _SUFFIX)
        if info is None or info.deleted:
            return None
        try:
            if info.size > ENGINE.bytes_max:
                raise NotWhole(f"its archive is larger than {ENGINE.bytes_max} bytes")
            return unpack(await self._objects.get(info), ENGINE)
        except (NotWhole, InvalidBundle) as error:
            raise ModelRefused(version_in(name), Refusal.ENGINE_MISMATCH, f"{name}: {error}; build the engine anew") from error

    async def put(self, name: str, contents: Mapping[str, bytes]) -> None:
        """See ``interfaces.EngineStore``."""
        await self._objects.put(name + _SUFFIX, check(name, contents))

    async def remove(self, name: str) -> bool:
        """See ``interfaces.EngineStore``."""
        return await self._objects.remove(name + _SUFFIX)
