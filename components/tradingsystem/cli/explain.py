"""``tradingsystem explain ORDER``: why an order was sent, or was not, from a run's recording."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress

if TYPE_CHECKING:
    from tradingsystem.world.explain import Explanation

RUNS = Path("runs")
WIDTH_PIPED = 120


def register(application: typer.Typer) -> None:
    """Add the command."""
    application.command("explain")(explain)


def explain(
    order: Annotated[
        str, typer.Argument(help="A client order id or how it begins, a signal's id, or a symbol: its newest order.", metavar="ORDER")
    ],
    *,
    run: Annotated[Path | None, typer.Option("--run", help="A run's folder; the newest under runs/.", metavar="FOLDER")] = None,
    features: Annotated[
        bool, typer.Option("--features", help="The 50 features at that cut, too: plays the tape again up to there, which takes a while.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
) -> None:
    """Go back from an order to all that made it: broker events, gate, size, signal, cut, model, batches.

    The decision is made again from the recorded inbox, so every rule shows the value it found beside its limit. A signal that was refused is explained
    alike. Status 2, with the nearest ids, when nothing has that name.
    """
    from tradingsystem.world.explain import explain as explained_of  # execution and its rules: no other command should wait for them
    from tradingsystem.world.explain import newest_run
    from tradingsystem.world.explanation_page import document, lines_of

    folder = run or newest_run(RUNS)
    one = explained_of(folder, order)
    if features:
        one = _with_features(one)
    if as_json:
        sys.stdout.write(document(one).decode() + "\n")
        return
    console = Console(highlight=False)
    for text, style in lines_of(one, console.width if console.is_terminal else WIDTH_PIPED):
        console.print(text, style=style or None, markup=False, soft_wrap=True)


def _with_features(one: Explanation) -> Explanation:
    """The explanation with the features of its symbol at its cut, where it has one."""
    from tradingsystem.world.explained_features import features_at  # compiled kernels

    if one.cut is None:
        return one
    with Progress(console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("playing the tape", total=None)
        found = features_at(Path(one.run), one.cut, one.symbol, lambda done, total: shown.update(task, completed=done, total=total))
    return msgspec.structs.replace(one, features=found)
