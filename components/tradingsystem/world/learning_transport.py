"""A learning job's folder and the object store of a running system: what is there comes first, what was published here goes there last.

A job that is killed between the two has lost nothing: its version stays in the folder, and the next job of that folder sends it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from tradingsystem.bundles import store as folders
from tradingsystem.bundles.bundle import InvalidBundle
from tradingsystem.bundles.publishing import version_numbers
from tradingsystem.features.catalogue import schema_hash
from tradingsystem.messages.server import ServerAddress, StoreSizes
from tradingsystem.models.store import Trusted, read
from tradingsystem.process.connecting import connected_models, mirror_of
from tradingsystem.process.serving import SHIPPED, trusted_in

USER = "learning"


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """Where it is. ``volume_bytes``: what the message server's volume holds, for whoever finds no object store and makes it."""

    server: ServerAddress
    system: str
    password: str = field(repr=False)
    volume_bytes: int

    @property
    def _bytes_max(self) -> int:
        return StoreSizes.on_volume(self.volume_bytes).models_bytes

    def bring(self, folder: Path) -> int:
        """Every version of the object store into ``folder``, and out of it what was removed there; returns the highest number that was ever given.

        Raises ``TryAgain``, ``NotAuthorized`` or ``RequestRefused``.
        """

        async def brought() -> int:
            async with connected_models(self.server, self.system, USER, self.password, self._bytes_max) as far:
                return await mirror_of(far, folder).fill()

        return asyncio.run(brought())

    def send(self, folder: Path, *keys: bytes) -> tuple[int, ...]:
        """Every version of ``folder`` that was never there into the object store, if one of ``keys`` or of the folder's own has signed it; returns their
        numbers. The release's own stays: each image has it.

        Raises ``TryAgain``, ``NotAuthorized`` or ``RequestRefused``, also when there is no room.
        """
        trusted = trusted_in(folder, *keys)
        ours = tuple(version for version in version_numbers(folder) if version not in SHIPPED and _verifies(folder, version, trusted))

        async def sent() -> tuple[int, ...]:
            async with connected_models(self.server, self.system, USER, self.password, self._bytes_max) as far:
                given = await far.numbers()
                new = tuple(version for version in ours if version not in given)
                for version in new:
                    await far.put(version, folders.contents(folder, version))
                return new

        return asyncio.run(sent())


def _verifies(folder: Path, version: int, trusted: Trusted) -> bool:
    try:
        read(folder, version, trusted, schema_hash())
    except InvalidBundle:
        return False
    return True
