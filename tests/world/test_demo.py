"""What the demo runs and how it looks at it: the sample's system, limits as the design widens them, one line that is true."""

from __future__ import annotations

import asyncio
import json
import socket
from datetime import date
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from tests.audit.test_audit import left_open, right
from tests.promises.waiting import run
from tests.world.recordings import OPEN_NS, at, beat, cut, status
from tradingsystem.adapters.in_process_bus import InProcessBus
from tradingsystem.domain.control import Beat, ClockTick
from tradingsystem.domain.errors import InvalidInput
from tradingsystem.domain.signals import Regime
from tradingsystem.messages.codec import encode
from tradingsystem.messages.subjects import Subjects
from tradingsystem.spec.load import load_file
from tradingsystem.spec.ports import BLOCK
from tradingsystem.spec.risk import Risk
from tradingsystem.spec.simulation import MarketSource, Signals
from tradingsystem.world.auditing import audit, auditor, cover_seconds, read_audit
from tradingsystem.world.demo import DemoOptions, free_block, prepare
from tradingsystem.world.live import Watch, line

SAMPLE = Path(__file__).parents[2] / "manifests" / "samples" / "simulation.yaml"


def test_the_demo_is_the_sample(tmp_path: Path) -> None:
    """What is shown is what a newcomer then edits: same universe, rules, models, limits; only pace, ports, name and journal size are its own."""
    system, _ = prepare(DemoOptions(), tmp_path)
    sample = load_file(SAMPLE).spec
    same = {name: getattr(sample, name) for name in ("telemetry", "storage")}
    simulation = msgspec.structs.replace(system.spec.simulation, speed=sample.simulation.speed)
    spec = msgspec.structs.replace(system.spec, simulation=simulation, sources=sample.sources, **same)
    assert spec == sample
    assert [source.type for source in system.spec.sources] == [source.type for source in sample.sources]


def test_the_written_resource_is_what_runs(tmp_path: Path) -> None:
    """The command that the demo prints leads to the same plan."""
    options = DemoOptions(data=tmp_path, day=date(2013, 10, 9), signals=Signals.PROBE, seed=11, speed=7)
    system, local = prepare(options, tmp_path / "run")
    assert load_file(tmp_path / "run" / "system.yaml") == system
    simulation = system.spec.simulation
    assert (simulation.source, simulation.data, simulation.start_date) == (MarketSource.RECORDED, str(tmp_path), "2013-10-09")
    assert (simulation.signals, simulation.seed, simulation.speed) == (Signals.PROBE, 11, 7)
    assert local.venues.startswith("http://127.0.0.1:")


def test_a_block_of_ports_is_free_as_a_whole() -> None:
    """Two demos at once: the second steps over the whole block of the first."""
    base = free_block()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", base + BLOCK - 1))
        taken.listen()
        assert free_block() != base


def test_cover_is_widened_by_speed_alone() -> None:
    """max(3 s, speed x 10 ms), as every age limit when time is scaled."""
    assert [cover_seconds(speed) for speed in (1, 60, 300, 500, 1000)] == [3.0, 3.0, 3.0, 5.0, 10.0]


def test_the_auditor_is_a_program_of_its_own(tmp_path: Path) -> None:
    """The real one, on a right capture and on one that ends with shares held: status, findings, summary."""
    for wire, status_, words in ((right(), 0, ""), (left_open(), 1, "not flat")):
        capture = tmp_path / "wire.jsonl"
        capture.write_text("".join(json.dumps(row) + "\n" for row in wire))
        told = run(audit(auditor(None), capture, Risk(), 60))
        assert told.status == status_
        assert words in " ".join(told.findings)
        assert told.summary["executions"] == 2 - status_


def test_an_auditor_without_a_summary_is_a_finding() -> None:
    """A program that crashed or printed something else must not pass for one that found nothing."""
    assert read_audit(2, "", "audit: no such file").findings == ("no summary, exit status 2: audit: no such file",)
    assert read_audit(0, "all fine").findings == ("no summary, exit status 0: it said nothing",)
    with pytest.raises(InvalidInput, match="no wire auditor"):
        auditor(Path("nowhere.py"))


def test_the_live_line_tells_the_newest_of_everything() -> None:
    """Time, regime, events a second, candidates, signals, positions, profit, lag, from the bus and nowhere else."""

    async def main() -> str:
        bus, subjects = InProcessBus(), Subjects("paper")
        watch = Watch(subjects)
        await watch.listen(bus)
        assert line(watch).startswith("--:--:--")
        bus.publish(subjects.clock, encode(ClockTick(at(3_600), 100.0, running=True)))
        bus.publish(subjects.journal_cut, encode([cut(1, Regime.UNKNOWN), cut(2, Regime.BEAR, candidates=12)]))
        money = {"day_realised": Decimal("12.50"), "day_fees": Decimal("0.25"), "signals_seen": 4}
        bus.publish(subjects.state("execution"), encode(status(3_600, **money)))
        bus.publish(subjects.beat("simulator"), encode(beat("simulator", lag_seconds=0.025)))
        bus.publish(subjects.beat("filter"), b"garbage")
        await bus.flush()
        await asyncio.sleep(0)
        return line(watch)

    said = " ".join(run(main()).split())
    assert said == "10:30:00 Bear 0 events/s 12 candidates 4 signals 0 positions P&L +12.25 lag 25 ms 1 unreadable"


def test_events_a_second_survive_a_restart_of_ingestion() -> None:
    """A new epoch counts from nothing; the rate must not become negative or huge."""

    async def main() -> None:
        bus, subjects = InProcessBus(), Subjects("paper")
        watch = Watch(subjects)
        await watch.listen(bus)
        for rows in (1_000_000.0, 2_000_000.0, 5.0):
            told: Beat = beat("ingestion", rows=rows)
            bus.publish(subjects.beat("ingestion"), encode(told))
            await bus.flush()
            await asyncio.sleep(0)
        assert watch.events_per_second == 0.0

    run(main())


def test_flat_is_execution_s_word_after_the_end() -> None:
    """A status from before the market's end, or one with an unknown order, says nothing about flatness."""
    watch = Watch(Subjects("paper"), tick=ClockTick(OPEN_NS + 24_000 * 10**9, 100.0, running=False, finished=True))
    assert not watch.flat
    watch.status = status(20_000)
    assert not watch.flat
    watch.status = status(23_990, unknown_orders=1)
    assert not watch.flat
    watch.status = status(23_990)
    assert watch.flat
