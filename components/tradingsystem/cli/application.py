"""The commands, and what ``--help`` says. Each lives in a file of its own; here they are only put together, and only those that are asked for."""

from __future__ import annotations

import importlib
from typing import Annotated

import typer

MODULES = (
    "demo",
    "up",
    "status",
    "halt",
    "apply",
    "validate",
    "plan",
    "message_users",
    "doctor",
    "report",
    "replay",
    "explain",
    "journal",
    "seeds",
    "world",
    "bench",
    "data",
    "learn",
    "models",
    "simulate",
    "run",
)
MODULE_OF = {
    "message-users": "message_users",
    "reduce": "halt",
    "resume": "halt",
    "flatten": "halt",
    "clear": "halt",
}  # commands whose module has another name


def application(asked: str = "") -> typer.Typer:
    """The commands of the module that has the command ``asked``, or all of them when it is none: who wants one need not wait for the others to load."""
    made = typer.Typer(
        name="tradingsystem",
        help="Runs the trading system that one file describes: on this machine, with a real message server and one process per service.",
        epilog="Begin with: tradingsystem demo    then: tradingsystem up manifests/samples/simulation.yaml    (another terminal: tradingsystem status)",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    made.callback()(options)
    module = MODULE_OF.get(asked, asked)
    for name in (module,) if module in MODULES else MODULES:
        importlib.import_module(f"tradingsystem.cli.{name}").register(made)
    return made


def _print_version(wanted: bool) -> None:
    if wanted:
        from tradingsystem.process.build import build_digest

        typer.echo(f"tradingsystem {build_digest()}")
        raise typer.Exit


def options(
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.", callback=_print_version, is_eager=True)] = False,
) -> None:
    """Runs the trading system that one file describes."""
    del version
