"""kill -9 of random services in real multi-process days, then the wire auditor's word about each of them: `make chaos KILLS=100 SEED=1`.

The next one is killed only after everything is ready again. About half of the kills wait for an entry to be decided, so that they fall between intent,
POST, answer and fill. The simulator is spared: it is the market and the broker, which our crashes do not stop. Exit 1 on any finding.
"""

from __future__ import annotations

import argparse
import datetime
import json
import logging
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from tests.chaos.ear import Ear
from tests.chaos.wire import Orders
from tests.e2e.running import AUDITOR, Running, manifest

SPEED = 60
KILLS_A_DAY = 50
IN_FLIGHT_MIN_PERCENT = 10
AIMED_PERCENT = 60
CALM_SECONDS_MAX = 1.5  # before a kill that is not aimed
LEAD_SECONDS_MAX = 0.03  # between an aimed kill's intent and the signal
PROBE_SECONDS = 16.0  # a probe is due every fifteen market minutes
LAST_KILL_NS = 60 * 60 * 10**9  # before the close
RECOVERY_SECONDS = 60.0
READY_SECONDS = 300.0  # the first day of a fresh clone compiles every kernel, in two processes
SPARED = {"simulator"}
WAY_TO_BROKER = {"rest": [{"path": "/v2/orders", "method": "POST", "kind": "Slow", "times": 0, "delay_ms": 30}]}  # as over the internet


@dataclass
class Kill:
    """One kill and what came of it."""

    victim: str
    at_ns: int
    recovery_seconds: float
    in_flight: int = 0


@dataclass
class Day:
    """One finished day."""

    seed: int
    kills: list[Kill]
    findings: list[str] = field(default_factory=list)
    orders: int = 0


class Progress:
    """One line that is written over, where there is a terminal; else a line per kill."""

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0

    def tell(self, words: str) -> None:
        """What is going on."""
        bar = ("#" * (30 * self.done // self.total)).ljust(30, ".")
        start, end = ("\r\033[K", "") if sys.stdout.isatty() else ("", "\n")
        sys.stdout.write(f"{start}[{bar}] {self.done}/{self.total} {words}{end}")
        sys.stdout.flush()


def until_ready(running: Running, ear: Ear, before: dict[str, int], victim: str, since_ns: int) -> None:
    """Return when every process is ready again and the victim's place is taken by another one. Raises ``AssertionError``."""

    def recovered() -> bool:
        pids: dict[str, int] = dict(running.note["pids"])
        if set(pids) != set(before) or pids[victim] == before[victim]:
            return False
        pids.pop("nats")
        return ear.all_ready(pids, since_ns)

    running.until(recovered, RECOVERY_SECONDS)


def kill_one(running: Running, ear: Ear, chance: random.Random) -> Kill:
    """Choose, wait, kill, wait for the recovery."""
    pids: dict[str, int] = running.note["pids"]
    victim = chance.choice(sorted(set(pids) - SPARED))
    aimed, lead, calm = chance.randrange(100) < AIMED_PERCENT, chance.uniform(0, LEAD_SECONDS_MAX), chance.uniform(0, CALM_SECONDS_MAX)
    if aimed:
        ear.wait_for_entry(PROBE_SECONDS)
    threading.Event().wait(lead if aimed else calm)
    at_ns = time.monotonic_ns()
    os.kill(pids[victim], signal.SIGKILL)
    until_ready(running, ear, pids, victim, at_ns)
    return Kill(victim, at_ns, (time.monotonic_ns() - at_ns) / 1e9)


def audit(running: Running, slowest_seconds: float) -> tuple[list[str], dict[str, object]]:
    """The wire auditor's findings and summary. While nobody lives nobody covers: the limit is the rule's 3 s and the slowest recovery in market time."""
    cover_seconds = 3 + SPEED * (0.05 + slowest_seconds)
    command = [sys.executable, str(AUDITOR), str(running.run_folder / "wire.jsonl"), "--cover-seconds", f"{cover_seconds:.0f}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = result.stdout.splitlines()
    if result.returncode not in (0, 1) or not lines:
        return [f"the auditor failed: {result.stderr.strip()}"], {}
    return [line.strip() for line in lines[:-1]], json.loads(lines[-1])


def play(seed: int, kills: int, folder: Path, progress: Progress) -> Day:
    """One day with at most that many kills."""
    chance = random.Random(seed)
    folder.mkdir(parents=True)
    running = Running.start(manifest("chaos", seed=seed, speed=SPEED, symbols=120, signals="Probe"), folder)
    day = Day(seed, [])
    try:
        running.wait_for("all ready", timeout_seconds=READY_SECONDS)
        ear = Ear("chaos", running.note)
        try:
            running.put("/simulator/scenario", WAY_TO_BROKER)
            running.until(lambda: ear.entries != {}, 120)
            clock = running.ask("/simulator/clock")
            while len(day.kills) < kills and running.ask("/simulator/clock")["market_ns"] < clock["close_ns"] - LAST_KILL_NS:
                day.kills.append(kill_one(running, ear, chance))
                progress.done += 1
                progress.tell(f"seed {seed}: {day.kills[-1].victim} was back after {day.kills[-1].recovery_seconds:.1f} s")
            progress.tell(f"seed {seed}: to the end")
            end(running, ear, day, early=running.ask("/simulator/clock")["market_ns"] < clock["close_ns"] - LAST_KILL_NS)
        finally:
            ear.close()
        close_the_books(running, ear, day)
    except AssertionError as error:
        day.findings.append(str(error))
    finally:
        running.stop()
    return day


def end(running: Running, ear: Ear, day: Day, *, early: bool) -> None:
    """To the close, or where all kills were made ``early`` until a person has closed everything. No latch may have been set before."""
    if ear.status is not None and ear.status.latches:
        day.findings.append("latched: " + ", ".join(f"{latch.kind.value} ({latch.reason})" for latch in ear.status.latches))
    if early:
        running.flatten()
        running.stop()
    elif (status := running.finish(600)) != 0:
        day.findings.append(f"the day ended with status {status}")


def close_the_books(running: Running, ear: Ear, day: Day) -> None:
    """After the end: orders in flight at each kill, and the auditor's word."""
    orders = Orders.read(running.run_folder / "wire.jsonl")
    for kill in day.kills:
        kill.in_flight = orders.in_flight(ear.entries, kill.at_ns, sent=kill.victim == "nats")
    found, summary = audit(running, max((kill.recovery_seconds for kill in day.kills), default=0.0))
    day.findings += found
    day.orders = int(str(summary.get("orders_accepted", 0)))
    if not summary.get("flat"):
        day.findings.append("not flat at the end")


def table(kills: list[Kill]) -> list[str]:
    """Victim, kills, recovery, orders in flight."""
    lines = [f"{'victim':<12}{'kills':>6}{'p50 s':>8}{'max s':>8}{'with orders in flight':>24}"]
    for victim in [*sorted({kill.victim for kill in kills}), ""]:
        own = [kill for kill in kills if victim in ("", kill.victim)]
        took = [kill.recovery_seconds for kill in own]
        flying = sum(1 for kill in own if kill.in_flight)
        lines.append(f"{victim or 'all':<12}{len(own):>6}{statistics.median(took):>8.1f}{max(took):>8.1f}{flying:>24}")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="Write the figures there.")
    parser.add_argument("--keep", type=Path, help="Keep the runs in this folder.")
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))  # that connections are lost is the point
    progress, days = Progress(asked.kills), list[Day]()
    with tempfile.TemporaryDirectory() as scratch:
        root = asked.keep or Path(scratch)
        while progress.done < asked.kills:
            seed = asked.seed * 1_000 + len(days)
            days.append(play(seed, min(KILLS_A_DAY, asked.kills - progress.done), root / str(seed), progress))
            if days[-1].findings:
                break
    return report(asked, days)


def figures(seed: int, days: list[Day], findings: list[str]) -> dict[str, object]:
    """The same as JSON, with the machine and the date."""
    kills = [kill for day in days for kill in day.kills]

    def row(own: list[Kill]) -> dict[str, object]:
        took = [kill.recovery_seconds for kill in own]
        flying = sum(1 for kill in own if kill.in_flight)
        return {
            "kills": len(own),
            "p50_seconds": round(statistics.median(took), 1),
            "max_seconds": round(max(took), 1),
            "in_flight": flying,
        }

    victims = [{"victim": name, **row([kill for kill in kills if kill.victim == name])} for name in sorted({kill.victim for kill in kills})]
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    about = {"seed": seed, "days": len(days), "orders": sum(day.orders for day in days), "machine": machine}
    return {
        **about,
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        **row(kills),
        "victims": victims,
        "findings": findings,
    }


def report(asked: argparse.Namespace, days: list[Day]) -> int:
    """Print what came out; the exit status."""
    kills = [kill for day in days for kill in day.kills]
    findings = [f"seed {day.seed}: {finding}" for day in days for finding in day.findings]
    flying = sum(1 for kill in kills if kill.in_flight)
    if flying * 100 < IN_FLIGHT_MIN_PERCENT * len(kills):
        findings.append(f"only {flying} of {len(kills)} kills met an order in flight, {IN_FLIGHT_MIN_PERCENT} percent are wanted")
    lines = ["", *(table(kills) if kills else []), f"{len(days)} days, {sum(day.orders for day in days)} orders accepted"]
    lines += [f"  {finding}" for finding in findings] or ["no id accepted twice, fills = positions, no limit passed, covered in time, flat"]
    sys.stdout.write("\n".join(lines) + "\n")
    if asked.json is not None and kills:
        asked.json.write_text(json.dumps(figures(asked.seed, days, findings), indent=2) + "\n")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
