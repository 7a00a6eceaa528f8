"""``tradingsystem run SERVICE``: one service in this process. What ``up`` and the pods start; people rarely need it."""

from __future__ import annotations

import sys

import typer


def register(application: typer.Typer) -> None:
    """Add the command; its flags are read by the process itself, so that it starts fast."""
    application.command("run", context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})(run)


def run(context: typer.Context) -> None:
    """Run one service with its slice (what `up` and the pods start)."""
    from tradingsystem.process.assignment import parse  # here, so that no other command loads what only a service needs
    from tradingsystem.process.runner import run_process

    sys.exit(run_process((parse(context.args),)))
