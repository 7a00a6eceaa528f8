"""Versions of models in a folder, one numbered folder each: what a process reads, and what a learning job publishes into."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from tradingsystem.bundles import store
from tradingsystem.bundles.archive import VERSION, pack
from tradingsystem.bundles.bundle import InvalidBundle
from tradingsystem.bundles.publishing import NotPublished, install, version_numbers
from tradingsystem.domain.errors import RequestRefused, TryAgain


class FolderModelStore:
    """``interfaces.ModelStore`` on a folder. Disks wait, so each call works on a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def versions(self) -> tuple[int, ...]:
        """See ``interfaces.ModelStore``."""
        return tuple(await asyncio.to_thread(version_numbers, self._folder))

    async def get(self, version: int) -> Mapping[str, bytes]:
        """See ``interfaces.ModelStore``. ``CORRUPT`` is only what cannot be read or is no version's: a folder keeps no digest of a whole version."""
        return await asyncio.to_thread(store.contents, self._folder, version)

    async def put(self, version: int, contents: Mapping[str, bytes]) -> None:
        """See ``interfaces.ModelStore``. A disk that is full is ``TryAgain``."""
        await asyncio.to_thread(self._put, version, contents)

    def _put(self, version: int, contents: Mapping[str, bytes]) -> None:
        try:
            pack(contents, VERSION)  # for its checks
        except InvalidBundle as error:
            raise RequestRefused("invalid", str(error)) from error
        try:
            install(self._folder, version, contents)
        except NotPublished as error:
            raise TryAgain(str(error)) from error
        if store.contents(self._folder, version) != dict(contents):
            raise RequestRefused("exists", f"{self._folder / str(version)}: the number was given to other files")

    async def remove(self, version: int) -> bool:
        """See ``interfaces.ModelStore``."""
        return bool(await asyncio.to_thread(store.remove, self._folder, [version]))
