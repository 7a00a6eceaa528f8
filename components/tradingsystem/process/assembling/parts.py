"""What a service is assembled from: its connections, its clock, its secrets, where its venues are.

It builds no service. What a process opens here is closed in reverse order when it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tradingsystem.adapters.clocks import FollowerClock, SystemClock
from tradingsystem.adapters.nats import NatsBus, NatsConnection
from tradingsystem.adapters.nats_journal import NatsJournal
from tradingsystem.domain.errors import InvalidInput
from tradingsystem.interfaces import Bus, Clock, Journal, Tape
from tradingsystem.messages.server import StoreSizes
from tradingsystem.process.assignment import Assignment
from tradingsystem.process.connecting import Shared, SplitBus, brought_models, connection_settings, opened, remembered_tape
from tradingsystem.process.halt_file import HaltFile
from tradingsystem.process.secrets import Secrets, local_folder
from tradingsystem.process.venues import SIMULATED_KEY, Venues, venues_of
from tradingsystem.spec import Mode, Slice

if TYPE_CHECKING:
    from tradingsystem.adapters.model_mirror import ModelMirror


@dataclass
class Parts:
    """What a builder may take; ``later`` closes in reverse order."""

    assignment: Assignment
    slice: Slice
    clock: Clock
    bus: Bus
    journal: Journal
    tape: Tape
    connection: NatsConnection
    secrets: Secrets
    venues: Venues
    later: contextlib.AsyncExitStack
    mirror: ModelMirror | None = None  # brings versions into the models' folder, where that is filled from the object store

    @property
    def simulated(self) -> bool:
        """Whether the venues are the simulator's."""
        return self.slice.mode is Mode.SIMULATION

    def halt_file(self) -> Callable[[], str | None]:
        """The text of a person's HALT file, None while there is none."""
        path = self.assignment.halt_file
        return HaltFile(path).reason if path is not None else lambda: None

    def key(self, secret: str, name: str, variable: str = "") -> Callable[[], str]:
        """One value of a secret, as it is whenever asked for; in Simulation none is read. Raises ``NotAuthorized``."""
        return (lambda: SIMULATED_KEY) if self.simulated else self.secrets.kept(secret, name, variable)


async def connect(assignment: Assignment, piece: Slice, shared: Shared | None, stack: contextlib.AsyncExitStack) -> Parts:
    """Connect as the service of the assignment. Raises ``NotAuthorized``, ``TryAgain``."""
    later = await stack.enter_async_context(contextlib.AsyncExitStack())
    settings = connection_settings(assignment.server, piece.system, assignment.service, assignment.password())
    sizes = StoreSizes.on_volume(assignment.journal_volume_bytes)
    remote = await opened(lambda: NatsBus(settings))
    later.push_async_callback(remote.close)
    journal = await opened(lambda: NatsJournal(settings, bytes_max=sizes.journal_bytes))
    later.push_async_callback(journal.close)
    bus: Bus = remote if shared is None else SplitBus(shared.bus, remote)
    tape: Tape = await remembered_tape(journal.connection, sizes.tape_bytes) if shared is None else shared.tape
    clock = await _clock(assignment, piece, bus, later)
    return Parts(
        assignment=assignment,
        slice=piece,
        clock=clock,
        bus=bus,
        journal=journal,
        tape=tape,
        connection=journal.connection,
        secrets=Secrets(assignment.secrets_folder or local_folder(), mounted=assignment.secrets_mounted),
        venues=venues_of(piece.mode, assignment.venues),
        later=later,
    )


async def _clock(assignment: Assignment, piece: Slice, bus: Bus, later: contextlib.AsyncExitStack) -> Clock:
    if piece.mode is not Mode.SIMULATION or assignment.service == "simulator":
        return SystemClock()
    clock = FollowerClock(piece.system)
    await clock.attach(bus)
    later.push_async_callback(clock.close)
    if assignment.service in {"ingestion", "filter", "execution"}:
        await clock.started()
    return clock


async def mirrored_models(parts: Parts) -> ModelMirror:
    """The models' folder filled, and kept so while this process runs. Raises ``InvalidInput``."""
    given = parts.assignment
    if given.models_folder is None:
        raise InvalidInput("--models-from-nats: say with --models-folder where versions go")
    bytes_max = StoreSizes.on_volume(given.journal_volume_bytes).models_bytes
    mirror = await brought_models(parts.connection, given.models_folder, given.models_keys_file, bytes_max)
    following = asyncio.create_task(mirror.run(), name="bring models")
    parts.later.callback(following.cancel)
    return mirror
