"""``tradingsystem journal verify``: whether the journal is what was written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from tradingsystem.domain.errors import InvalidInput
from tradingsystem.process.state import find_running

if TYPE_CHECKING:
    from tradingsystem.domain.seals import Verified

PROBLEMS_SHOWN = 50


def register(application: typer.Typer) -> None:
    """Add the command."""
    group = typer.Typer(help="The journal: what was decided, in one sequence.", no_args_is_help=True)
    group.callback()(_nothing)
    group.command("verify")(verify)
    application.add_typer(group, name="journal")


def _nothing() -> None:
    """The journal: what was decided, in one sequence."""


def verify(
    place: Annotated[
        Path | None,
        typer.Argument(
            help="A run's folder, or a message server's folder that lies still; none: a running system's store.", metavar="[RUN|STORE]"
        ),
    ] = None,
    *,
    system: Annotated[str | None, typer.Option("--system", help="Which running system, when there are several.")] = None,
) -> None:
    """Hold every entry against the seals: an altered byte, an entry that is missing, moved or torn is named.

    A run's folder is checked in both its copies, the recording and the store, where it has them; nothing is written. Exit 0 when all is as it was written,
    1 when something is not, 2 when there is nothing that can be read.
    """
    from tradingsystem.world import journal_check as check

    console = Console(highlight=False, soft_wrap=True)
    if place is None:
        found = find_running(system)
        verdicts = {f"the store of {found.system}": check.verify_running(found)}
        notes: list[str] = []
    else:
        verdicts, notes = _of_folder(place)
    for note in notes:
        console.print(f"  {note}", markup=False)
    _compare(verdicts)
    for name, verified in verdicts.items():
        _show(console, name, verified)
    if any(verified.problems for verified in verdicts.values()):
        raise typer.Exit(1)


def _of_folder(place: Path) -> tuple[dict[str, Verified], list[str]]:
    from tradingsystem.world import journal_check as check

    verdicts: dict[str, Verified] = {}
    notes: list[str] = []
    if (recording := check.recorded(place)) is not None:
        verdicts["the recording"], notes = check.verify_recording(recording)
    for nats in (place, place / "nats"):
        if (nats / "data").is_dir():
            verdicts["the store"] = check.verify_folder(nats)
    if not verdicts:
        raise InvalidInput(
            f"{place}: neither a recording (journal-*.arrows, directly or under recording/) nor a message server's folder (data/) in it"
        )
    return verdicts, notes


def _show(console: Console, name: str, verified: Verified) -> None:
    behind = verified.last_seq - verified.sealed_seq
    console.print(
        f"{name}: {verified.entries:,} entries, {verified.first_seq} to {verified.last_seq}, under {verified.seals:,} seals; {behind} not sealed yet"
    )
    for problem in verified.problems[:PROBLEMS_SHOWN]:
        console.print(f"  {problem}", markup=False)
    if len(verified.problems) > PROBLEMS_SHOWN:
        console.print(f"  and {len(verified.problems) - PROBLEMS_SHOWN} more")
    console.print("  NOT what was written" if verified.problems else "  as it was written", markup=False)


def _compare(verdicts: dict[str, Verified]) -> None:
    """Two copies know of each other's ends: what only the recording has was lost by the store."""
    both = [verdicts[name] for name in ("the recording", "the store") if name in verdicts]
    if len(both) == 2 and both[1].last_seq < both[0].last_seq:
        both[1].problems.append(
            f"ends at entry {both[1].last_seq}, the recording goes on to {both[0].last_seq}: the store has lost its last entries"
        )
