"""A real tritonserver on the loopback: nothing in its repository, loaded only as told, its repository API behind a key.

What `make triton` sets up is the server for a CPU; in a cluster NVIDIA's image is used with the same flags. Refuses to listen anywhere but on the
loopback. The key stands on the server's command line, since tritonserver reads it from nowhere else: it keeps out other programs' mistakes and the
network, not another user of this machine who can read the process list.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import tradingsystem
from tradingsystem.bundles.triton_config import Backend
from tradingsystem.bundles.triton_files import SENT_TO
from tradingsystem.domain.errors import InvalidInput
from tradingsystem.messages.inference_server import flags, restricted
from tradingsystem.process.death import die_with_parent
from tradingsystem.process.nats_server import refuse_taken
from tradingsystem.process.private_files import read_password, write_private

HOME_VARIABLE = "TRITON_HOME"
LOOK_SECONDS = 0.05
TEMPORARY, FOLDERS = Path("/tmp"), "folder??????"  # its own choice: it asks no environment variable
SHARED_MEMORY = Path("/dev/shm")  # where the python backend keeps its regions


def home() -> Path:
    """The environment that holds tritonserver. Raises ``InvalidInput`` when there is none."""
    given = os.environ.get(HOME_VARIABLE, "")
    place = Path(given) if given else Path(tradingsystem.__file__).parents[2] / ".tools" / "triton"
    if not (place / "bin" / "tritonserver").exists():
        raise InvalidInput(f"no tritonserver at {place}: run `make triton`, or say where one is set up with {HOME_VARIABLE}")
    return place


@dataclass(frozen=True, slots=True)
class TritonServerSettings:
    """One server. ``repository`` is made and stays empty: files come with each load; ``folder`` takes its log and its key, for the owner's eyes only.
    ``libraries``: folders in which it finds shared libraries beside its own."""

    repository: Path
    folder: Path
    http_port: int
    grpc_port: int
    metrics_port: int
    backend: Backend = Backend.PYTHON
    libraries: tuple[Path, ...] = ()

    @property
    def address(self) -> str:
        """Where gRPC clients connect."""
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def metrics_url(self) -> str:
        """Where its numbers are read."""
        return f"http://127.0.0.1:{self.metrics_port}/metrics"

    @property
    def key_file(self) -> Path:
        """Where the key of the restricted APIs stands."""
        return self.folder / "key"

    @property
    def log_path(self) -> Path:
        """Where it logs."""
        return self.folder / "tritonserver.log"

    def regions(self) -> str:
        """How its own shared memory is named, so that a killed server's can be swept."""
        return f"triton_{self.grpc_port}_"


def command(settings: TritonServerSettings, place: Path, key: str) -> list[str]:
    """The whole command line."""
    return [
        str(place / "bin" / "tritonserver"),
        *flags(
            repository=str(settings.repository),
            backends=str(place / "backends"),
            address="127.0.0.1",
            ports={"http": settings.http_port, "grpc": settings.grpc_port, "metrics": settings.metrics_port},
            configuration=settings.backend.value,
            regions=settings.regions(),
        ),
        *restricted(key),
    ]


class TritonServer:
    """The process and the programs it starts."""

    def __init__(self, settings: TritonServerSettings) -> None:
        self.settings = settings
        self.process: asyncio.subprocess.Process | None = None

    async def start(self, timeout_seconds: float = 30.0) -> None:
        """Start and return once it answers. Raises ``PortTaken``, or ``InvalidInput`` with where its log is."""
        settings = self.settings
        refuse_taken({"triton http": settings.http_port, "triton grpc": settings.grpc_port, "triton metrics": settings.metrics_port})
        await self.launch()
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._until_ready()
        except TimeoutError as error:
            await self.stop()
            raise InvalidInput(f"tritonserver does not answer after {timeout_seconds:g} s; its log: {settings.log_path}") from error

    async def launch(self) -> None:
        """Only start the process. Raises ``InvalidInput`` when there is no tritonserver."""
        place, settings = home(), self.settings
        settings.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        settings.repository.mkdir(parents=True, exist_ok=True)
        if not settings.key_file.exists():
            write_private(settings.key_file, secrets.token_urlsafe(24).encode())
        self._sweep()
        environment = os.environ | {
            "LD_LIBRARY_PATH": ":".join(map(str, (place / "libs", *settings.libraries))),
            "PATH": f"{place / 'bin'}:{os.environ.get('PATH', '')}",
        }
        environment.pop("PYTHONPATH", None)
        with settings.log_path.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *command(settings, place, read_password(settings.key_file)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGTERM),
            )

    async def _until_ready(self) -> None:
        process = self.process
        assert process is not None, "launched before"
        while not await asyncio.to_thread(self._answers):
            if process.returncode is not None:
                words = f"tritonserver ended at once with status {process.returncode}; its log: {self.settings.log_path}"
                raise InvalidInput(words)
            await asyncio.sleep(LOOK_SECONDS)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.settings.http_port}/v2/health/ready", timeout=1.0) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    async def stop(self, timeout_seconds: float = 10.0) -> None:
        """End it in order; after the time-out by force. Idempotent."""
        process, self.process = self.process, None
        if process is None:
            return
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(timeout_seconds):
                    await process.wait()
            except TimeoutError:
                await self._force(process)
        self._sweep()

    async def kill(self) -> None:
        """SIGKILL, with the programs that run the models: what the machine does to a container."""
        if self.process is not None:
            await self._force(self.process)

    async def _force(self, process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()

    def _sweep(self) -> None:
        """Remove the regions that a killed server left, and the folders in which it laid the files of each load."""
        for path in SHARED_MEMORY.glob(self.settings.regions() + "*"):
            path.unlink(missing_ok=True)
        for mark in TEMPORARY.glob(f"{FOLDERS}/*/{SENT_TO}"):
            with contextlib.suppress(OSError):  # another user's, or gone meanwhile
                if mark.read_bytes() == self.settings.address.encode():
                    shutil.rmtree(mark.parents[1])
