"""Benchmarks run, say what they measured and what they did not; how fast is never a test."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from tests.messages.samples import ORDER
from tradingsystem.cli.main import app
from tradingsystem.domain.orders import Approved, BrokerOrder
from tradingsystem.interfaces import Journal
from tradingsystem.process import measured as measured_parts
from tradingsystem.world.bench import decode, desk, main, memory, offering, replay, tick_market, tick_to_order
from tradingsystem.world.bench.machine import describe
from tradingsystem.world.bench.result import Absent, Effort, Line, Report, Row, latencies, rates
from tradingsystem.world.bench.table import rendered

LITTLE = Effort(seconds=0.05, tell=lambda _: None, symbols=200)
NO_PYTHON = "/nowhere/bin/python"


def measured(name: str) -> Row:
    """That row with hardly any effort, every line a sound one."""
    row = main.ROWS[name](LITTLE)
    assert row.name == name
    assert row.lines
    for line in row.lines:
        assert line.samples > 0, line
        assert all(np.isfinite(value) and value > 0 for value in (line.p50, line.p99, line.p999, line.largest)), line
        slower = (
            line.p50 >= line.p99 >= line.p999 >= line.largest if "/s" in line.unit else line.p50 <= line.p99 <= line.p999 <= line.largest
        )
        assert slower, line
    return row


def named(row: Row, beginning: str) -> list[Line]:
    """Its lines whose name begins so."""
    return [line for line in row.lines if line.name.startswith(beginning)]


def test_decode_tells_every_stage_at_every_frame_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three sizes of six stages, and the goal on one line."""
    monkeypatch.setattr(decode, "EVENTS", 2_000)
    monkeypatch.setattr(decode, "SOCKET_RATES", ())
    row = measured("decode")
    assert [len(named(row, f"{stage}, ")) for stage in ("decode", "decode + validate", "decode + validate + apply", "orjson alone")] == [
        3
    ] * 4
    assert [line.name for line in row.lines if line.met is not None] == ["decode + validate + apply, 50"]


@pytest.mark.slow
def test_socket_to_state_tells_the_rate_at_which_frames_were_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames of a server in another process arrive and are applied, at both rates."""
    monkeypatch.setattr(decode, "EVENTS", 2_000)
    row = measured("decode")
    assert [line.offered for line in named(row, "socket to state")] == ["50,000 events/s", "5,000 events/s"]


def test_what_decode_is_held_against_is_named_when_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without orjson there is no line of that name made by something else, but a word that it is missing."""
    monkeypatch.setattr(decode, "ORJSON", "orjson_that_nobody_has")
    monkeypatch.setattr(decode, "EVENTS", 2_000)
    monkeypatch.setattr(decode, "PER_FRAME", (50,))
    monkeypatch.setattr(decode, "SOCKET_RATES", ())
    row = measured("decode")
    assert not named(row, "orjson")
    assert [gap.name for gap in row.absent] == ["orjson alone"]


def test_sweep_tells_the_whole_and_its_stages() -> None:
    """The goal is on the whole sweep; stages have none."""
    row = measured("sweep")
    assert [line.met is not None for line in row.lines] == [True] + [False] * (len(row.lines) - 1)
    assert len(named(row, "... ")) == 5


def test_ensemble_tells_both_precisions_and_who_loses() -> None:
    """A slower INT8 is told in a note exactly where its median is the higher one."""
    row = measured("ensemble")
    slower = [int8.name for int8, fp32 in zip(named(row, "INT8"), named(row, "FP32"), strict=True) if int8.p50 > fp32.p50]
    assert len(row.lines) == 6
    assert [name for name in slower if any(note.startswith(f"INT8 loses: {name} ") for note in row.notes)] == slower
    assert sum(note.startswith("INT8 loses") for note in row.notes) == len(slower)


@pytest.mark.triton
def test_triton_tells_every_way_at_every_size_and_its_own_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """In process, gRPC, shared memory and the ensemble; what Triton says of itself stands beside what the client saw."""
    row = measured("triton")
    assert len(row.lines) == 4 * 5
    assert all("Triton's own" in line.beside for line in row.lines if "process" not in line.name)


def test_triton_is_named_as_absent_where_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With how to get it."""
    monkeypatch.setenv("TRITON_HOME", str(tmp_path))
    row = main.ROWS["triton"](LITTLE)
    assert not row.lines
    assert "make triton" in row.absent[0].reason


def test_outcomes_tell_how_many_predictions_were_followed() -> None:
    """The goal is on one version, its features told or not; a challenger beside it follows twice as many."""
    row = measured("outcomes")
    assert [line.met is not None for line in row.lines] == [True, True, False]
    one, same, two = (int(note.split(": ")[1].split()[0].replace(",", "")) for note in row.notes)
    assert 10_000 < one == same < two == pytest.approx(2 * one, rel=0.05)


def test_replay_judges_rows_and_says_that_nautilus_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ensemble is really asked, and a peer that is not installed is named with the place where it was looked for."""
    monkeypatch.setenv(replay.NAUTILUS_PYTHON, NO_PYTHON)
    row = measured("replay")
    assert [gap.name for gap in row.absent] == ["NautilusTrader"]
    assert NO_PYTHON in row.absent[0].reason
    assert all(", 0 rows judged" not in note for note in row.notes)


@pytest.mark.nats
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # alpaca-py imports what its own libraries have deprecated
def test_decision_and_orders_are_held_against_what_ran_beside_them() -> None:
    """The goals of both rows come from lines of the same run."""
    decision, orders = measured("decision"), measured("orders")
    floor = named(decision, "fsynced publish alone")[0]
    assert named(decision, "decision to first order")[0].goal.startswith(f"p50 {floor.p50 + 0.25:.3g}")
    assert [line.name for line in orders.lines] == ["our client", "aiohttp bare", "alpaca-py"]


def test_a_bench_ends_when_its_last_order_was_answered() -> None:
    """Found by a slow disk: the bench stopped execution while the last order of its last decision waited for its intent, which was then held back."""

    async def scene() -> None:
        answers = asyncio.Semaphore(0)

        async def send(_: Approved) -> BrokerOrder:
            await answers.acquire()
            return ORDER

        broker = desk.QuietBroker(send)
        ended = asyncio.ensure_future(broker.answered(2))
        sent = [asyncio.ensure_future(broker.submit(desk.approved_order())) for _ in range(2)]
        answers.release()
        await asyncio.wait(sent, return_when=asyncio.FIRST_COMPLETED)
        for _ in range(5):
            await asyncio.sleep(0)
        assert not ended.done()
        answers.release()
        await asyncio.wait_for(ended, 5)

    asyncio.run(scene())


@pytest.mark.nats
@pytest.mark.slow
def test_an_order_that_the_disk_held_back_counts_as_that_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that takes longer than an approval holds makes the row slower, never shorter by what it measured worst, and is no error."""
    real, last, takes_seconds = measured_parts.durable_journal, "S000025", 0.3

    @asynccontextmanager
    async def slow(folder: Path) -> AsyncIterator[Journal]:
        async with real(folder) as journal:
            append = journal.append

            async def late(subject: str, payload: bytes, **more: Any) -> int:
                if last in subject:
                    await offering.until(time.perf_counter_ns() + int(takes_seconds * 1e9))
                return await append(subject, payload, **more)

            monkeypatch.setattr(journal, "append", late)
            yield journal

    monkeypatch.setattr(measured_parts, "durable_journal", slow)
    row = measured("decision")
    assert named(row, "decision to first order")[0].largest >= takes_seconds * 1e3
    assert any("2 orders were held back" in note for note in row.notes)


@pytest.mark.nats
@pytest.mark.slow
def test_ticks_become_orders_in_one_process_and_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each placement tells its rates, and what is not measured is named."""
    monkeypatch.setattr(tick_to_order, "RATES", (2_000,))
    row = main.ROWS["tick_to_order"](Effort(seconds=0.5, tell=lambda _: None))
    assert {line.name.split(",")[0] for line in row.lines} == {"one process", "split"}
    assert [gap.name for gap in row.absent] == ["tick to order with TLS"]


@pytest.mark.nats
@pytest.mark.slow
def test_memory_tells_every_service_of_a_running_simulation() -> None:
    """Each is told twice, and the simulator, which stands for the venues, has no goal."""
    row = measured("memory")
    names = [line.name.split(",")[0] for line in row.lines]
    assert {"ingestion", "filter", "execution", "simulator"} <= set(names)
    assert names[::2] == names[1::2]
    assert named(row, "simulator")[0].met is None
    assert named(row, "filter")[0].met is not None


def test_memory_is_named_as_absent_where_the_machine_does_not_tell_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without /proc nothing is started, and the reason is given."""
    monkeypatch.setattr(memory, "ROLLUP", Path("/nowhere/smaps_rollup"))
    row = main.ROWS["memory"](LITTLE)
    assert not row.lines
    assert [gap.reason for gap in row.absent] == ["this machine does not tell it: no /nowhere/smaps_rollup"]


def test_an_unknown_row_is_refused_with_the_ones_there_are() -> None:
    """A mistyped name measures nothing and lists the names."""
    refused = CliRunner().invoke(app, ["bench", "--row", "decoed"])
    assert refused.exit_code
    assert all(name in str(refused.exception) for name in ("decoed", *main.ROWS))


def test_a_timed_tick_is_in_its_frame_and_nowhere_else() -> None:
    """Each waiting ticker trades once, in the frame that its due time is computed from, after it has been quoted."""
    made = tick_market.frames(400, 20)
    for symbol, at in zip(tick_market.pending(20), tick_market.frames_at(400, 20), strict=True):
        traded = [number for number, frame in enumerate(made) if f'"T","sym":"{symbol}"'.encode() in frame]
        assert traded == [at]
        assert f'"Q","sym":"{symbol}"'.encode() in made[0]


def test_a_missed_goal_is_called_missed_in_the_table() -> None:
    """Median or tail above the goal, or a rate below it: MISSED is printed, and counted."""
    fine = latencies("fine", np.full(100, 0.5), "ms", limits=(1.0, 5.0))
    slow = latencies("slow", np.full(100, 2.0), "ms", limits=(1.0, 5.0))
    tail = latencies("tail", np.array([0.5] * 90 + [9.0] * 10), "ms", limits=(1.0, 5.0))
    few = rates("few", np.full(5, 0.4), "M events/s", least=0.5)
    assert [line.met for line in (fine, slow, tail, few)] == [True, False, False, False]
    gap = Absent(name="a peer", reason="not installed")
    row = Row(name="x", title="X", lines=(fine, slow, tail, few), absent=(gap,))
    report = Report(command="tradingsystem bench", seed=7, machine=describe(), rows=(row,))
    written = io.StringIO()
    Console(width=120, file=written).print(rendered(report))
    said = written.getvalue()
    assert said.count("MISSED") == 3
    assert "1 of 4 goals met, 3 missed" in said
    assert "not measured: a peer: not installed" in said


def test_a_report_survives_json() -> None:
    """What is written can be read again, every number of it."""
    line = latencies("fine", np.arange(1.0, 101.0), "ms", offered="10/s", limits=(1.0, 5.0))
    report = Report(command="c", seed=7, machine=describe(), rows=(Row(name="x", title="X", lines=(line,)),))
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report
