"""``tradingsystem message-users FILE``: what the administrator of an External message server gives a system."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tradingsystem.cli.reading import read_system
from tradingsystem.messages.server import account


def register(application: typer.Typer) -> None:
    """Add the command."""
    application.command("message-users")(message_users)


def message_users(file: Annotated[Path, typer.Argument(help="The resource, YAML or JSON.", metavar="FILE")]) -> None:
    """Print the account of FILE's system for the configuration of an External message server: its users, and what each may say and hear.

    Passwords are variables, NAME_USER_PASSWORD in capitals, that stand before it in the same file or in the server's environment, so nothing printed is
    secret. The secret of spec.messaging.secretRef has the same passwords, a key for each user without the name of the system: execution for
    momentum-execution. See docs/operations/message-server.md.

    Example: tradingsystem message-users system.yaml > account.conf
    """
    typer.echo(account(read_system(file).metadata.name).decode(), nl=False)
