"""Values of secrets, from files; locally also from the founding documents' environment variables. Nothing here prints or keeps a value.

In pods a secret is a mounted folder, read anew each time, so that a rotated key is seen without a restart. A file that others can read is refused locally.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from tradingsystem.domain.errors import NotAuthorized
from tradingsystem.spec import SecretNeed

LOOK_SECONDS = 2.0  # how soon an exchanged key is seen

_log = structlog.get_logger()


def local_folder() -> Path:
    """Where a person keeps secrets on this machine: ``~/.config/tradingsystem/secrets`` unless XDG_CONFIG_HOME says otherwise."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "tradingsystem" / "secrets"


@dataclass(frozen=True, slots=True)
class Secrets:
    """Where secrets are found. ``mounted``: a pod's folder, whose permissions the cluster decides; otherwise files must be private."""

    folder: Path
    mounted: bool = False
    environment: Mapping[str, str] | None = None

    def value(self, secret: str, key: str, variable: str = "") -> str:
        """One value. Raises ``NotAuthorized`` saying where it would have to be."""
        path = self.folder / secret / key
        if path.is_file():
            return self._read(path)
        environment = os.environ if self.environment is None else self.environment
        if variable and not self.mounted and environment.get(variable):
            return environment[variable]
        places = f"{path}" + (f" or in the environment variable {variable}" if variable and not self.mounted else "")
        raise NotAuthorized(f"secret {secret}, key {key}", f"not found in {places}")

    def _read(self, path: Path) -> str:
        mode = path.stat().st_mode
        if not self.mounted and mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise NotAuthorized(str(path), f"others can read it (mode {stat.S_IMODE(mode):04o}); run: chmod 600 {path}")
        value = path.read_text(encoding="utf-8").strip()
        if not value:
            raise NotAuthorized(str(path), "the file is empty")
        return value

    def all_of(self, need: SecretNeed) -> dict[str, str]:
        """Every key of a secret. Raises ``NotAuthorized`` for the first that is missing."""
        return {key.name: self.value(need.name, key.name, key.environment) for key in need.keys}

    def kept(self, secret: str, key: str, variable: str = "") -> Callable[[], str]:
        """One value that follows its file while the process runs. Raises ``NotAuthorized``, here and never later."""
        return Kept(lambda: self.value(secret, key, variable), f"secret {secret}, key {key}", time.monotonic)

    def missing(self, needs: tuple[SecretNeed, ...]) -> list[str]:
        """What cannot be read, all at once, by name."""
        problems: list[str] = []
        for need in needs:
            for key in need.keys:
                try:
                    self.value(need.name, key.name, key.environment)
                except NotAuthorized as error:
                    problems.append(str(error))
        return problems


class Kept:
    """A value that is read anew now and then. While it cannot be read, as in the middle of an exchange, the last one serves and the reason is told."""

    def __init__(self, read: Callable[[], str], name: str, monotonic: Callable[[], float]) -> None:
        self._read, self._name, self._monotonic = read, name, monotonic
        self._value = read()
        self._look_at = monotonic() + LOOK_SECONDS
        self._problem = ""

    def __call__(self) -> str:
        if (now := self._monotonic()) >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._look()
        return self._value

    def _look(self) -> None:
        try:
            value, problem = self._read(), ""
        except NotAuthorized as error:
            value, problem = self._value, str(error)
        if problem and problem != self._problem:
            _log.error("secret_unreadable", secret=self._name, reason=problem, means="the last value serves on")
        self._problem = problem
        if value != self._value:
            self._value = value
            _log.info("secret_exchanged", secret=self._name)

    def __repr__(self) -> str:
        return f"Kept({self._name})"
