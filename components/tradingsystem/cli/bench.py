"""``tradingsystem bench``: what this machine measures, beside the goals; a missed goal is printed as missed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tradingsystem.domain.errors import InvalidInput
from tradingsystem.telemetry import logs

WIDTH_IN_FILES = 120


def register(application: typer.Typer) -> None:
    """Add the command."""
    application.command("bench")(bench)


def bench(
    *,
    row: Annotated[list[str] | None, typer.Option("--row", help="Measure only this row; may be given again.")] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=0.05, max=600.0, help="How long a row's main line is measured.")] = 5.0,
    gpu: Annotated[
        bool, typer.Option("--gpu", help="Measure this machine's GPU instead, beside its processor. Needs the extra `gpu`.")
    ] = False,
    json: Annotated[Path | None, typer.Option("--json", help="Where the numbers go; reports/bench.json or reports/gpu.json.")] = None,
) -> None:
    """Measure this machine on every goal of speed and memory, print tables and write JSON.

    Work is offered at a fixed rate and timed from when it was due. Goals are for two quiet cores without a GPU; a missed one is printed as MISSED.
    With --gpu: features by CuPy, the fit by PyTorch, the ensemble by TensorRT, as far as they are installed, and whether each says what the processor
    says. Exit 2 where there is no GPU: nothing was measured.
    """
    from tradingsystem.process.engines import gpu_here
    from tradingsystem.world.bench.main import GPU_ROWS, ROWS, run  # compiled kernels: no other command should wait for them
    from tradingsystem.world.bench.table import rendered

    known = GPU_ROWS if gpu else ROWS
    names = row or list(known)
    if unknown := sorted(set(names) - set(known)):
        raise InvalidInput(f"--row {', '.join(unknown)}: there is no such row; choose from {', '.join(known)}")
    on = gpu_here().words if gpu else ""
    json = json or Path("reports") / ("gpu.json" if gpu else "bench.json")
    logs.configure(service="bench", system="bench", level="warning")
    columns = (BarColumn(20), TextColumn("{task.completed}/{task.total} {task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=len(names))

        def told(name: str, doing: str) -> None:
            progress.update(task, description=f"{name}: {doing}")

        try:
            found = run(names, seconds, told, lambda _: progress.advance(task), on=on)
        finally:
            logs.close()
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH_IN_FILES
    console.print(rendered(found))
    json.parent.mkdir(parents=True, exist_ok=True)
    json.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2))
    typer.echo(f"Numbers: {json}")
