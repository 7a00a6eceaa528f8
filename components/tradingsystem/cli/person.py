"""How a person's command speaks to a running system: as the user who may command and never trade."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tradingsystem.messages.permissions import PERSON
from tradingsystem.process.private_files import read_password
from tradingsystem.process.state import RunningSystem

if TYPE_CHECKING:
    from tradingsystem.interfaces import Bus


@asynccontextmanager
async def connect(running: RunningSystem) -> AsyncIterator[Bus]:
    """A bus to that system. Raises ``TryAgain`` when its server does not answer."""
    from tradingsystem.process.connecting import connected  # the client loads slowly: first it must be known that something runs

    password = read_password(Path(running.person_password_file))
    async with connected(running.nats_url, running.system, PERSON, password, timeout_seconds=3.0) as bus:
        yield bus
