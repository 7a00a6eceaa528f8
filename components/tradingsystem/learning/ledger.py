"""Every trial that was ever made, good or bad: what makes one good result out of many visible as what it is.

One JSON object a line, appended and never changed; each holds the digest of the line before it, so that a line that was removed or altered is found. A
trial is named by its identity: the same job run twice is one trial. Counting is all this does; what a count means is ``deflated``'s business.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from tradingsystem.domain.errors import InvalidInput
from tradingsystem.domain.rows import F64

FILE_NAME = "trials.jsonl"


class Trial(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model that somebody looked at on some sessions. ``sharpe`` is per block, None where no returns were measured."""

    identity: str
    job: str  # incremental | retrain | backtest | demo
    data_kind: str  # simulated | recorded | live
    sessions: tuple[str, ...]  # those it was judged on: ISO date, and the seed or source where days of one date differ
    outcome: str
    blocks: int = 0
    sharpe: float | None = None


class Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A trial as it stands in the file, with the sha256 of the line before it (empty for the first)."""

    before: str
    trial: Trial


class DamagedLedger(InvalidInput):
    """The file holds something that was not appended by this code; the text says where."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """A ledger's file. It need not exist yet."""

    path: Path

    def trials(self) -> tuple[Trial, ...]:
        """Every trial, oldest first. Raises ``DamagedLedger``. A last line without its end was cut off by a crash and is none."""
        return tuple(line.trial for line in self._read()[0])

    def append(self, trials: Iterable[Trial]) -> int:
        """Add those whose identity is new, durably; returns how many. Raises ``DamagedLedger`` and ``OSError``."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            lines, last, whole_bytes = self._read()
            known = {line.trial.identity for line in lines}
            added = b""
            count = 0
            for trial in trials:
                if trial.identity in known:
                    continue
                known.add(trial.identity)
                line = msgspec.json.encode(Line(before=last, trial=trial))
                last = hashlib.sha256(line).hexdigest()
                added += line + b"\n"
                count += 1
            if added:
                file.truncate(whole_bytes)  # what a crash left of a line that was never whole
                file.write(added)
                file.flush()
                os.fsync(file.fileno())
            return count

    def _read(self) -> tuple[list[Line], str, int]:
        """Whole lines, the last one's digest, and how many bytes they are."""
        if not self.path.exists():
            return [], "", 0
        lines: list[Line] = []
        last, size = "", 0
        for number, raw in enumerate(self.path.read_bytes().splitlines(keepends=True), start=1):
            if not raw.endswith(b"\n"):
                break
            try:
                line = msgspec.json.decode(raw, type=Line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise DamagedLedger(f"{self.path}: line {number} is no trial ({error}); restore the file, or move it away") from error
            if line.before != last:
                raise DamagedLedger(f"{self.path}: line {number} does not follow the one before it: a line was altered or removed")
            last = hashlib.sha256(raw.rstrip(b"\n")).hexdigest()
            size += len(raw)
            lines.append(line)
        return lines, last, size


def tried_on(trials: Iterable[Trial], sessions: Iterable[str]) -> tuple[Trial, ...]:
    """The trials that were judged on any of those sessions."""
    wanted = frozenset(sessions)
    return tuple(trial for trial in trials if wanted & frozenset(trial.sessions))


def ratios_of(trials: Iterable[Trial]) -> F64:
    """The Sharpe ratios that are known, F64[k]."""
    return np.array([trial.sharpe for trial in trials if trial.sharpe is not None], np.float64)
