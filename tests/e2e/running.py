"""A whole simulated day as a person would start it: `tradingsystem up` with its real processes, watched from outside."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
AUDITOR = ROOT / "tests" / "audit" / "audit.py"
PROGRAM = Path(sys.executable).parent / "tradingsystem"
UP = (str(PROGRAM), "up")
BLOCK = 40  # local ports of one system


def free_block() -> int:
    """The first of 40 ports of which none is taken now."""
    for base in range(20_000, 30_000, BLOCK):
        try:
            for port in range(base, base + BLOCK):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return base
    raise AssertionError("no 40 free ports in a row between 20000 and 30000")


def manifest(name: str, **simulation: Any) -> dict[str, Any]:
    """A simulation on ports of its own."""
    return {
        "apiVersion": "tradingsystem.dev/v1alpha1",
        "kind": "TradingSystem",
        "metadata": {"name": name},
        "spec": {
            "mode": "Simulation",
            "simulation": simulation,
            "telemetry": {"metricsPort": free_block()},
            "sources": [{"name": "polygon", "type": "Polygon"}, {"name": "flow", "type": "UnusualWhales"}],
        },
    }


@dataclass
class Running:
    """One started system; `lines` is what it has printed so far."""

    document: dict[str, Any]
    state: Path
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    _heard: threading.Condition = field(default_factory=threading.Condition)

    @classmethod
    def start(cls, document: dict[str, Any], folder: Path, *options: str, program: tuple[str, ...] = UP) -> Running:
        """`tradingsystem up` in a folder of its own, or ``program`` in its place."""
        file = folder / "system.yaml"
        file.write_text(yaml.safe_dump(document))
        environment = {**os.environ, "TRADINGSYSTEM_STATE": str(folder / "state")}
        process = subprocess.Popen(
            [*program, str(file), "--until-end", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            cwd=ROOT,
        )
        running = cls(document, folder / "state" / document["metadata"]["name"], process)
        threading.Thread(target=running._read, daemon=True).start()
        return running

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                with self._heard:
                    self.lines.append(line.rstrip())
                    self._heard.notify_all()
        with self._heard:
            self.lines.append("(end of output)")
            self._heard.notify_all()

    def wait_for(self, text: str, after: int = 0, timeout_seconds: float = 90.0) -> int:
        """Return the place behind the first line with `text` from line `after` on."""
        deadline = time.monotonic() + timeout_seconds
        with self._heard:
            while True:
                for place in range(after, len(self.lines)):
                    if text in self.lines[place]:
                        return place + 1
                left = deadline - time.monotonic()
                assert left > 0, f"{text!r} was not printed within {timeout_seconds} s:\n" + "\n".join(self.lines)
                assert self.lines[-1:] != ["(end of output)"], f"ended without printing {text!r}:\n" + "\n".join(self.lines)
                self._heard.wait(left)

    def ask(self, path: str, headers: dict[str, str] | None = None) -> Any:
        """GET from the simulator: its control, or with keys a venue."""
        base = self.document["spec"]["telemetry"]["metricsPort"]
        request = urllib.request.Request(f"http://127.0.0.1:{base + 20}{path}", headers=headers or {})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def put(self, path: str, document: dict[str, Any]) -> None:
        """PUT to the simulator's control."""
        base = self.document["spec"]["telemetry"]["metricsPort"]
        body = json.dumps(document).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{base + 20}{path}", body, {"Content-Type": "application/json"}, method="PUT")
        urllib.request.urlopen(request, timeout=10).close()

    def until(self, true: Callable[[], bool], timeout_seconds: float = 120.0) -> None:
        """Look ten times a second until it is so."""
        deadline, pause = time.monotonic() + timeout_seconds, threading.Event()
        while not true():
            assert time.monotonic() < deadline, "did not come true in time:\n" + "\n".join(self.lines)
            assert self.process.poll() is None, "the system ended:\n" + "\n".join(self.lines)
            pause.wait(0.1)

    def person(self, act: str, *options: str) -> None:
        """A command as a person types it about this system; fails when it is refused."""
        self.say(act, self.document["metadata"]["name"], *options)

    def say(self, *words: str) -> str:
        """What a command prints, typed beside this system; fails when it is refused."""
        environment = {**os.environ, "TRADINGSYSTEM_STATE": str(self.state.parent)}
        result = subprocess.run([str(PROGRAM), *words], env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def flatten(self) -> None:
        """A person halts and closes everything; returns when the broker holds nothing and has said so on the wire, where the auditor reads it."""
        self.person("halt", "--reason", "end of the drill")
        self.person("flatten", "--reason", "end of the drill", "--yes")
        self.until(lambda: not self.ask("/simulator/summary")["positions"], 60)
        assert self.ask("/v2/positions", {"APCA-API-KEY-ID": "simulation", "APCA-API-SECRET-KEY": "simulation"}) == []

    @property
    def note(self) -> dict[str, Any]:
        """What the running system says of itself to other commands."""
        return json.loads((self.state / "ports.json").read_text())  # type: ignore[no-any-return]

    @property
    def run_folder(self) -> Path:
        """The one run's folder."""
        (folder,) = (self.state / "runs").iterdir()
        return folder

    def finish(self, timeout_seconds: float = 300.0) -> int:
        """Wait for the end of the day; the exit status."""
        return self.process.wait(timeout_seconds)

    def stop(self) -> None:
        """End it whatever has happened, in order if it can."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)

    def audit(self, cover_seconds: float) -> dict[str, Any]:
        """The wire auditor's summary; fails on any finding."""
        command = [sys.executable, str(AUDITOR), str(self.run_folder / "wire.jsonl"), "--cover-seconds", str(cover_seconds)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        return json.loads(result.stdout.splitlines()[-1])  # type: ignore[no-any-return]
