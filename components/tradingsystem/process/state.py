"""Where a system lives on this machine: data, passwords, runs, and a note by which other commands find it while it runs.

``~/.local/state/tradingsystem/<name>/`` unless TRADINGSYSTEM_STATE names another root. Everything in it is private to its owner.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import msgspec

from tradingsystem.domain.errors import InvalidInput
from tradingsystem.messages.server import ServerAddress
from tradingsystem.process.halt_file import NAME as HALT_FILE
from tradingsystem.process.private_files import write_private


class RunningSystem(msgspec.Struct, frozen=True, kw_only=True):
    """The note a running system leaves: enough to find and to speak to it. ``ports`` by workload and purpose."""

    system: str
    mode: str
    placement: str
    supervisor: int
    nats_url: str
    person_password_file: str
    run_folder: str
    venues: str
    ports: dict[str, dict[str, int]]
    pids: dict[str, int] = {}
    halt_file: str = ""  # a file of this name halts, whatever stands in it
    nats_replicas: int = 1
    nats_login_prefix: str = ""
    nats_ca_file: str = ""
    models_folder: str = ""  # where its model versions lie; empty: the package's own

    @property
    def server(self) -> ServerAddress:
        """The message server."""
        return ServerAddress(
            self.nats_url, self.nats_replicas, self.nats_login_prefix, Path(self.nats_ca_file) if self.nats_ca_file else None
        )


def state_root() -> Path:
    """The folder of all systems of this user."""
    if chosen := os.environ.get("TRADINGSYSTEM_STATE"):
        return Path(chosen)
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "tradingsystem"


@dataclass(frozen=True, slots=True)
class StateFolder:
    """One system's folder."""

    path: Path

    @property
    def note_path(self) -> Path:
        """The note of the running system."""
        return self.path / "ports.json"

    @property
    def nats(self) -> Path:
        """The message server's folder."""
        return self.path / "nats"

    @property
    def halt_file(self) -> Path:
        """The file that halts while it is there, and whose halt outlives it."""
        return self.path / HALT_FILE

    def service(self, name: str) -> Path:
        """What a service keeps between runs; made when missing."""
        folder = self.path / "services" / name
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder

    def new_run(self) -> Path:
        """A new folder for this run's slices, logs and recordings, named by the moment."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        runs = self.path / "runs"
        runs.mkdir(parents=True, exist_ok=True, mode=0o700)
        for number in range(100):
            folder = runs / (stamp if number == 0 else f"{stamp}-{number}")
            try:
                folder.mkdir(mode=0o700)
            except FileExistsError:
                continue
            return folder
        raise InvalidInput(f"{runs}: a hundred runs began in the same second")

    def lock(self) -> IO[str]:
        """Hold the folder for this process; the file must stay open. Raises ``InvalidInput`` when another process holds it or it cannot be written."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = (self.path / "lock").open("w", encoding="utf-8")
        except OSError as error:
            raise InvalidInput(
                f"{self.path}: cannot keep the system's state there ({error.strerror}); make it writable, or name another root in TRADINGSYSTEM_STATE"
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise InvalidInput(
                f"system {self.path.name} is running already (it holds {self.path}/lock); see: tradingsystem status {self.path.name}"
            ) from error
        return file

    def write_note(self, note: RunningSystem) -> None:
        """Leave the note."""
        write_private(self.note_path, msgspec.json.format(msgspec.json.encode(note), indent=2))

    def remove_note(self) -> None:
        """Take it away. Idempotent."""
        self.note_path.unlink(missing_ok=True)


def state_folder(system: str) -> StateFolder:
    """The folder of that system."""
    return StateFolder(state_root() / system)


def find_running(system: str | None, *, alive: bool = True) -> RunningSystem:
    """The note of a running system, the only one when no name is given; unless ``alive``, also of one that was killed. Raises ``InvalidInput`` saying what
    is running instead."""
    found = _notes(alive)
    if system is None and len(found) == 1:
        system = next(iter(found))
    if system is None or system not in found:
        running = ", ".join(found) or "none"
        asked = f"system {system} is not running" if system else "say which system" if found else "no system is running"
        raise InvalidInput(f"{asked} on this machine (running: {running})")
    return msgspec.json.decode(found[system].read_bytes(), type=RunningSystem)


def all_running() -> list[RunningSystem]:
    """The notes of every system that runs on this machine, by name."""
    return [msgspec.json.decode(path.read_bytes(), type=RunningSystem) for path in _notes(alive=True).values()]


def _notes(alive: bool) -> dict[str, Path]:
    return {path.parent.name: path for path in sorted(state_root().glob("*/ports.json")) if not alive or _held(path.parent)}


def _held(folder: Path) -> bool:
    """Whether a process holds the folder; a note left by a killed one does not count."""
    try:
        with (folder / "lock").open("r", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
