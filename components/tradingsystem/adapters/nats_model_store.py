"""Versions of models in NATS's object store: how they reach pods that share no disk with the job that made them.

A version is an object named by its number. A number that was removed is remembered and never given again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import structlog

from tradingsystem.adapters.jetstream import Reader
from tradingsystem.adapters.nats import NatsConnection
from tradingsystem.adapters.nats_objects import NatsObjects, NotWhole, ObjectInfo
from tradingsystem.bundles.archive import VERSION, pack, unpack
from tradingsystem.bundles.bundle import InvalidBundle
from tradingsystem.bundles.refusal import ModelRefused, Refusal
from tradingsystem.domain.errors import RequestRefused
from tradingsystem.messages.subjects import models_bucket

log = structlog.get_logger()

BYTES_MAX = 200 * 1024**2
_SUFFIX = ".tar"


class NatsModelStore:
    """``interfaces.ModelStore`` over a connection that somebody else opens and closes."""

    def __init__(self, connection: NatsConnection, *, bytes_max: int = BYTES_MAX) -> None:
        self.objects = NatsObjects(connection, models_bucket(connection.settings.system), bytes_max=bytes_max, again=False)

    async def ensure(self) -> None:
        """Make sure that the object store exists. Raises ``TryAgain`` or ``RequestRefused`` when there is no room for it."""
        await self.objects.ensure()

    async def versions(self) -> tuple[int, ...]:
        """See ``interfaces.ModelStore``."""
        return tuple(sorted(version for version, there in (await self.numbers()).items() if there))

    async def numbers(self) -> dict[int, bool]:
        """Every number that was ever given, and whether it is there still. Raises ``TryAgain``."""
        told = ((self._number(info), info) for info in (await self.objects.newest()).values())
        return {version: not info.deleted for version, info in told if version is not None}

    async def get(self, version: int) -> Mapping[str, bytes]:
        """See ``interfaces.ModelStore``."""
        info = await self.objects.info(_name(version))
        if info is None or info.deleted:
            raise ModelRefused(version, Refusal.VERSION_NOT_FOUND, f"object store {self.objects.bucket} has no such version")
        if info.size > VERSION.bytes_max:
            raise ModelRefused(version, Refusal.TOO_LARGE, f"its archive is larger than {VERSION.bytes_max} bytes")
        try:
            return unpack(await self.objects.get(info), VERSION)
        except NotWhole as error:
            raise ModelRefused(version, Refusal.CORRUPT, str(error)) from error
        except InvalidBundle as error:
            raise ModelRefused(version, error.refusal, str(error)) from error

    async def follow(self, handler: Callable[[int, bool], None]) -> Reader:
        """Call ``handler`` with each number there is and will be, and whether it is there or has been removed; ``close`` what is returned."""

        def hear(info: ObjectInfo) -> None:
            if (version := self._number(info)) is not None:
                handler(version, not info.deleted)

        return await self.objects.follow(hear)

    async def put(self, version: int, contents: Mapping[str, bytes]) -> None:
        """See ``interfaces.ModelStore``. ``exists`` also for a number that was removed."""
        try:
            payload = pack(contents, VERSION)
        except InvalidBundle as error:
            raise RequestRefused("invalid", str(error)) from error
        await self.objects.put(_name(version), payload)

    async def remove(self, version: int) -> bool:
        """See ``interfaces.ModelStore``. The number stays given."""
        return await self.objects.remove(_name(version))

    def _number(self, info: ObjectInfo) -> int | None:
        """The version that it is; None for what is no version of ours."""
        number = info.name.removesuffix(_SUFFIX)
        if not number.isdecimal() or not number.isascii() or info.name != _name(int(number)):
            log.warning("object_is_no_version", bucket=info.bucket, name=info.name)
            return None
        return int(number)


def _name(version: int) -> str:
    return f"{version}{_SUFFIX}"
