"""``tradingsystem models stored``: what the object store of a cluster's system holds, and making room in it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tradingsystem.cli.message_server import CaFile, LoginPrefix, Replicas
from tradingsystem.cli.printing import numbers
from tradingsystem.domain.errors import InvalidInput, RequestRefused
from tradingsystem.messages.server import ServerAddress

if TYPE_CHECKING:
    from tradingsystem.cli.models_roles import Roles


def stored(
    *,
    nats_url: Annotated[str, typer.Option("--nats-url", help="The system's message server, nats://HOST:PORT.")],
    system: Annotated[str, typer.Option("--system", help="The system's name.")],
    password_file: Annotated[Path, typer.Option("--password-file", help="File of the password of its user person.")],
    nats_replicas: Replicas = 1,
    nats_login_prefix: LoginPrefix = "",
    nats_ca_file: CaFile = None,
    keep: Annotated[int, typer.Option("--keep", min=0, help="How many of the newest versions stay; 0: all, nothing is removed.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which would go.")] = False,
) -> None:
    """List the versions in a cluster's object store, by which they reach its pods; with --keep remove the oldest.

    Never the newest, nor those that serve, served before, are pinned or on trial: the system is asked, and while it does not answer nothing is removed.
    What is removed leaves the folders of the pods too, and its number is never given again.

    Example: tradingsystem models stored --nats-url nats://127.0.0.1:4222 --system momentum --password-file person --keep 10 --dry-run
    """
    from tradingsystem.process.private_files import read_password

    server = ServerAddress(nats_url, nats_replicas, nats_login_prefix, nats_ca_file)
    asyncio.run(_stored(server, system, read_password(password_file), keep, dry_run))


async def _stored(server: ServerAddress, system: str, password: str, keep: int, dry_run: bool) -> None:
    from tradingsystem.bundles.store import collectable
    from tradingsystem.messages.permissions import PERSON
    from tradingsystem.process.connecting import connected_models

    async with connected_models(server, system, PERSON, password) as store:
        try:
            present = await store.versions()
        except RequestRefused as error:
            raise InvalidInput(
                f"{server.url}: {system} has no object store of versions yet: no learning job has run, and no pod ({error})"
            ) from error
        typer.echo(f"present: {numbers(present)}")
        if not keep:
            return
        roles = await _roles(server, system, password)
        chosen = collectable(present, keep, roles.protected)
        for version in () if dry_run else chosen:
            await store.remove(version)
        typer.echo(f"{'would remove' if dry_run else 'removed'}: {numbers(chosen)}")
        if needed := [version for version in present[:-keep] if version in roles.protected]:
            typer.echo(f"older than the newest {keep}, and needed: {numbers(needed)}")


async def _roles(server: ServerAddress, system: str, password: str) -> Roles:
    """The system's own word. Raises ``TryAgain``."""
    from tradingsystem.cli.models_roles import HEARD_SECONDS, roles_of
    from tradingsystem.cli.person import first, models_said
    from tradingsystem.messages.permissions import PERSON
    from tradingsystem.process.connecting import connected

    async with connected(server, system, PERSON, password) as bus, models_said(bus, system) as heard:
        return roles_of(system, await first(heard, lambda _: True, HEARD_SECONDS))
