"""What ``tradingsystem demo`` shows while a day is played, and what it says at the end. It prints; the day is run and judged in ``world``."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from tradingsystem.process.runner import loop_factory
from tradingsystem.spec.simulation import Signals
from tradingsystem.world.auditing import audit
from tradingsystem.world.day import Day, read_day
from tradingsystem.world.demo import TRITON_DEADLINE_MS, Demo, DemoOptions, Played, prepare
from tradingsystem.world.funnel import funnel_lines
from tradingsystem.world.report import label_of, write_report
from tradingsystem.world.verdict import Verdict, ending, judge

PLAIN_SECONDS = 10.0
REPORT = Path("reports") / "demo.html"
EXIT_FAILED, EXIT_INTERRUPTED = 1, 130


def show(options: DemoOptions, program: Path) -> int:
    """Play the day and tell it; returns the exit status."""
    console = Console(highlight=False, soft_wrap=True)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_demo(options, program, console))


async def _demo(options: DemoOptions, program: Path, console: Console) -> int:
    folder = _new_folder()
    system, run = prepare(options, folder)
    loop = asyncio.get_running_loop()
    with _shown(console) as (told, shown):
        day_of = Demo(run, told, shown)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, day_of.stop)
        told(f"$ tradingsystem up {folder / 'system.yaml'} --until-end")
        played = await day_of.play()
    if played.interrupted or played.failure:
        return _unfinished(played, folder, console)
    console.print("Auditing the broker's wire.", style="dim")
    assert played.broker is not None, "a day that was played to its end has the broker's summary"
    day = await asyncio.to_thread(read_day, folder)
    audited = await audit(program, folder / "wire.jsonl", system.spec.risk, options.speed)
    recorded_by_model = options.data is not None and options.signals is Signals.MODEL
    inference = await _inference(day_of, folder, console) if day_of.inference is not None else []
    verdict = judge(day, played.broker, audited, may_be_idle=recorded_by_model)
    verdict = dataclasses.replace(verdict, problems=(*verdict.problems, *inference))
    _tell(verdict, day, played, console, explain=recorded_by_model)
    report = REPORT if REPORT.parent.is_dir() or folder.parts[0] == "runs" else folder / "demo.html"
    await asyncio.to_thread(write_report, folder, report, day, verdict.problems)
    from tradingsystem.world.learning_store import note_demo  # what it needs loads slowly, and the day must not wait for it

    await asyncio.to_thread(note_demo, folder, day)
    _what_next(report, folder, options, console)
    return EXIT_FAILED if verdict.problems else 0


async def _inference(day_of: Demo, folder: Path, console: Console) -> list[str]:
    """Tell who answered the cuts, and make every decision again in process; what did not hold."""
    from tradingsystem.world.replaying import Plan, replay_filter_half  # compiled kernels: only who compares loads them

    watch = day_of.inference
    assert watch is not None, "asked for with Triton only"
    for text in watch.lines(TRITON_DEADLINE_MS):
        console.print(text, markup=False)
    console.print("Making every decision again in process.", style="dim")
    half = await asyncio.to_thread(replay_filter_half, Plan(folder=folder))
    if half.differences:
        return [*watch.problems(), *(f"in process it is another decision: {each}" for each in half.differences)]
    console.print(f"{half.entries:,} cuts and their signals made again in process: equal to the byte, whoever answered.", markup=False)
    return watch.problems()


def _new_folder() -> Path:
    """``runs/demo-<time>`` here, else a temporary folder where nothing can be written here."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    for number in range(100):
        folder = Path("runs") / f"demo-{stamp}{f'-{number}' if number else ''}"
        try:
            folder.mkdir(parents=True, mode=0o700)
        except FileExistsError:
            continue
        except OSError:
            break
        return folder
    return Path(tempfile.mkdtemp(prefix="tradingsystem-demo-"))


@contextlib.contextmanager
def _shown(console: Console) -> Iterator[tuple[Callable[[str], None], Callable[[str], None]]]:
    """How sentences and the live line are shown: in place on a terminal, else a plain line every ten seconds."""
    if console.is_terminal:
        with Live(Text(""), console=console, refresh_per_second=4, transient=True) as live:
            yield (
                (lambda text: console.print(text, markup=False)),
                (lambda text: live.update(Text(text, no_wrap=True, overflow="ellipsis"))),
            )
        return
    last = 0.0

    def plain(text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= PLAIN_SECONDS:
            last = time.monotonic()
            console.print(text, markup=False)

    yield (lambda text: console.print(text, markup=False)), plain


def _unfinished(played: Played, folder: Path, console: Console) -> int:
    if played.interrupted:
        console.print(f"Stopped. {played.last_line}", markup=False)
        console.print(f"Every process has ended. Logs and recording: {folder}", markup=False)
        return EXIT_INTERRUPTED
    console.print(f"The day was not played to its end: {played.failure}", style="red", markup=False)
    return EXIT_FAILED


def _tell(verdict: Verdict, day: Day, played: Played, console: Console, *, explain: bool) -> None:
    if explain or not day.executions:
        console.print("Why it did or did not trade:")
        for text in funnel_lines(day):
            console.print(f"  {text}", markup=False)
    for problem in verdict.problems[:20]:
        console.print(f"  wrong: {problem}", style="red", markup=False)
    if len(verdict.problems) > 20:
        console.print(f"  and {len(verdict.problems) - 20} more")
    console.print(ending(verdict, played.seconds, label_of(day)), style="red" if verdict.problems else "green", markup=False)


def _what_next(report: Path, folder: Path, options: DemoOptions, console: Console) -> None:
    console.print(f"Look: {report}", markup=False)
    console.print(f"Next: tradingsystem report {folder}", markup=False)
    if options.data is None:
        console.print(
            f"      tradingsystem demo --seed {options.seed + 1}        another market;  --edge 0: nothing may be earned", markup=False
        )
        console.print(
            "      tradingsystem demo --data FOLDER    recorded ticks;  --signals Probe exercises the order path on them", markup=False
        )
    elif options.signals is Signals.MODEL:
        console.print(f"      tradingsystem demo --data {options.data} --signals Probe    the order path on the same ticks", markup=False)
    console.print(f"      tradingsystem up {folder / 'system.yaml'}    the same system, until Ctrl-C", markup=False)
