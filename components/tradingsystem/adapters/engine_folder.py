"""Engines on a disk, each in a folder named by its key. A folder appears whole or not at all; what is in it is verified by who loads it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from pathlib import Path

from tradingsystem.bundles.archive import pack
from tradingsystem.bundles.bundle import FILE_BYTES_MAX, InvalidBundle
from tradingsystem.bundles.engine_files import ENGINE
from tradingsystem.bundles.engine_plan import version_in
from tradingsystem.bundles.publishing import STAGING, alone, place
from tradingsystem.domain.errors import RequestRefused, TryAgain


class FolderEngineStore:
    """``interfaces.EngineStore`` on a folder. Disks wait, so each call works on a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def names(self) -> tuple[str, ...]:
        """See ``interfaces.EngineStore``."""
        return await asyncio.to_thread(self._names)

    def _names(self) -> tuple[str, ...]:
        there = self._folder.iterdir() if self._folder.is_dir() else ()
        return tuple(sorted(path.name for path in there if version_in(path.name) and path.is_dir()))

    async def get(self, name: str) -> Mapping[str, bytes] | None:
        """See ``interfaces.EngineStore``."""
        return await asyncio.to_thread(self._get, name)

    def _get(self, name: str) -> dict[str, bytes] | None:
        folder = self._folder / name
        if not version_in(name) or not folder.is_dir():
            return None
        files = [folder / file for file in ENGINE.names]
        try:
            return {file.name: file.read_bytes() for file in files if file.is_file() and file.stat().st_size <= FILE_BYTES_MAX}
        except OSError as error:
            raise TryAgain(f"{error.filename or folder}: {error.strerror}") from error

    async def put(self, name: str, contents: Mapping[str, bytes]) -> None:
        """See ``interfaces.EngineStore``. A disk that is full is ``TryAgain``."""
        await asyncio.to_thread(self._put, name, contents)

    def _put(self, name: str, contents: Mapping[str, bytes]) -> None:
        check(name, contents)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with alone(self._folder):
                if not (self._folder / name).exists():
                    place(self._folder, name, contents)
        except OSError as error:
            raise TryAgain(f"{self._folder}: {error.strerror}; it is as it was") from error
        if self._get(name) != dict(contents):
            raise RequestRefused("exists", f"{self._folder / name}: another engine lies there; engines are never changed")

    async def remove(self, name: str) -> bool:
        """See ``interfaces.EngineStore``."""
        return await asyncio.to_thread(self._remove, name)

    def _remove(self, name: str) -> bool:
        if name not in self._names():
            return False
        try:
            with alone(self._folder):
                away = self._folder / STAGING
                away.mkdir()
                (self._folder / name).rename(away / name)
                shutil.rmtree(away)
        except OSError as error:
            raise TryAgain(f"{self._folder / name}: {error.strerror}") from error
        return True


def check(name: str, contents: Mapping[str, bytes]) -> bytes:
    """The engine as it travels. Raises ``RequestRefused`` with ``invalid`` for a name or a file that no engine has."""
    if not version_in(name):
        raise RequestRefused("invalid", f"{name!r} is no name of an engine")
    try:
        return pack(contents, ENGINE)
    except InvalidBundle as error:
        raise RequestRefused("invalid", str(error)) from error
