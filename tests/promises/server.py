"""A real nats-server for tests, started with the product's own configuration and controlled without an event loop."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path

from tradingsystem.adapters.nats import NatsSettings
from tradingsystem.process.connecting import server_settings
from tradingsystem.process.nats_server import NatsServerSettings, free_ports, program, write_configuration


def stall(pid: int) -> None:
    """SIGSTOP of a child; returns when every thread stands, since the signal is delivered some time after it was sent."""
    os.kill(pid, signal.SIGSTOP)
    os.waitpid(pid, os.WUNTRACED)


class RunningServer:
    """Start, stop and kill; the data stays in its folder between starts."""

    def __init__(self, folder: Path, system: str = "testing", **options: object) -> None:
        (port,) = free_ports(1)
        self.settings = NatsServerSettings(system=system, folder=folder, port=port, **options)  # type: ignore[arg-type]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and return when it listens."""
        path = write_configuration(self.settings)
        log = self.settings.folder / "nats.log"
        self._process = subprocess.Popen([program(), "-c", str(path), "-l", str(log)])
        asyncio.run(self._listening())

    async def _listening(self) -> None:
        async with asyncio.timeout(20):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.settings.port)
                except OSError:
                    await asyncio.sleep(0)
                    continue
                writer.close()
                await writer.wait_closed()
                return

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None

    def as_user(self, user: str, **changes: object) -> NatsSettings:
        """How ``user`` connects."""
        settings = server_settings(self.settings, user)
        fields = {name: getattr(settings, name) for name in ("url", "system", "user", "password", "heartbeat_seconds")}
        return NatsSettings(**(fields | changes))  # type: ignore[arg-type]

    def kill(self) -> None:
        """SIGKILL: nothing is flushed, nobody is told."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def pause(self) -> None:
        """Connected and silent."""
        assert self._process is not None
        stall(self._process.pid)

    def resume(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def launch(self) -> None:
        """Start again without waiting: for use inside an event loop."""
        log = self.settings.folder / "nats.log"
        self._process = subprocess.Popen([program(), "-c", str(self.settings.folder / "nats.conf"), "-l", str(log)])

    def stop(self) -> None:
        """End it in order. Idempotent."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None
