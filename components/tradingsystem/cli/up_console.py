"""What ``tradingsystem up`` does once its file is known to be valid: holds the system's folder, starts everything, tells what happens, ends in order."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from rich.console import Console

from tradingsystem.process.beside_manifest import recorded_folder, with_listed_symbols
from tradingsystem.process.build import build_digest
from tradingsystem.process.local import Happening, LocalRun
from tradingsystem.process.one_process import OneProcess
from tradingsystem.process.runner import loop_factory
from tradingsystem.process.state import state_folder
from tradingsystem.process.supervisor import Supervisor
from tradingsystem.spec import Placement, TradingSystem, plan

_STYLES = {"ready": "green", "ended": "red", "restarting": "yellow", "waiting": "yellow", "stopped": "dim"}


def start(system: TradingSystem, file: Path, *, one_process: bool, until_end: bool, capture_all: bool, models: Path | None) -> int:
    """Run what ``file`` describes until its end; the exit status. Raises ``InvalidInput`` or ``NotAuthorized`` for what keeps it from starting."""
    data_folder = recorded_folder(system, file)
    planned = plan(with_listed_symbols(system, file), Placement.ONE_PROCESS if one_process else Placement.PROCESSES, build=build_digest())
    state = state_folder(planned.system)
    with state.lock():
        run = LocalRun(
            plan=planned,
            state=state,
            folder=state.new_run(),
            models_folder=models,
            data_folder=data_folder,
            capture_everything=capture_all,
        )
        console = Console(stderr=False, highlight=False)
        console.print(f"{planned.system}: mode {planned.mode.value}, {len(run.services)} services, run folder {run.folder}", soft_wrap=True)
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(_up(run, console, one_process=one_process, until_end=until_end))


async def _up(run: LocalRun, console: Console, *, one_process: bool, until_end: bool) -> int:
    def tell(happening: Happening) -> None:
        style = _STYLES.get(happening.what, "")
        console.print(
            f"{happening.workload:<10} {happening.what:<10} {happening.detail}".rstrip(), style=style, markup=False, soft_wrap=True
        )

    watched: Supervisor | OneProcess = (OneProcess if one_process else Supervisor)(run, tell, until_end=until_end)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, watched.stop)
    announcing = asyncio.create_task(_announce(watched, run, console))
    try:
        return await watched.run()
    finally:
        announcing.cancel()
        await asyncio.gather(announcing, return_exceptions=True)


async def _announce(watched: Supervisor | OneProcess, run: LocalRun, console: Console) -> None:
    await watched.everybody_ready.wait()
    port = run.plan.workload("monitor").port("metrics")
    look = f"all ready. Metrics: http://127.0.0.1:{port}/metrics  Look: tradingsystem status {run.plan.system}  End: Ctrl-C"
    console.print(look, markup=False, soft_wrap=True)
