"""Which version of a store does what: asked of the systems that run on it, else as one that starts now would choose."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tradingsystem.cli.person import connect
from tradingsystem.domain.control import ModelsAssigned, ModelsState
from tradingsystem.domain.errors import TryAgain
from tradingsystem.messages.codec import Malformed, decode
from tradingsystem.messages.permissions import PERSON
from tradingsystem.messages.subjects import Subjects
from tradingsystem.models.store import NoBundle
from tradingsystem.process.private_files import read_password
from tradingsystem.process.serving import SHIPPED_MODELS, choose_in, versions_in
from tradingsystem.process.state import RunningSystem, all_running, find_running

if TYPE_CHECKING:
    from tradingsystem.interfaces import Delivery

HEARD_SECONDS = 3.0
SERVED_KEPT = 3  # what serves, what served before, and under a pin what would serve without it


@dataclass(frozen=True, slots=True)
class Roles:
    """What is known of a store's versions; 0 is none. ``served``: the newest that served or, where nothing runs, that may, newest first and never twice;
    ``beside``: on trial or scored unheard. ``system``: who says so, empty when nothing runs on this store."""

    system: str
    served: tuple[int, ...]
    pinned: int
    beside: tuple[int, ...] = ()

    @property
    def protected(self) -> frozenset[int]:
        """The versions that no collection may take."""
        return frozenset({*self.served, self.pinned, *self.beside} - {0})

    def of(self, version: int) -> list[str]:
        """The version's roles in words."""
        at = f" at {self.system}" if self.system else ""
        told = []
        if self.served[:1] == (version,):
            told.append(f"serves{at}" if self.system else "would serve")
        if self.served[1:2] == (version,):
            told.append(f"before it{at}" if self.system else "the next best")
        if version == self.pinned:
            told.append(f"pinned{at}")
        if version in self.beside:
            told.append(f"beside it{at}")
        return told


def store_of(store: Path | None, system: str | None) -> Path:
    """The store that is meant: as given, else the running system's, else the package's own. Raises ``InvalidInput`` when several systems run."""
    if store is not None:
        return store
    if system is None and not all_running():
        return SHIPPED_MODELS
    return _folder(find_running(system))


def roles_in(store: Path) -> list[Roles]:
    """The roles at each system that runs on this store, or those that a start without a pin would give. Raises ``TryAgain`` when a system does not answer,
    ``InvalidInput`` without the store's key."""
    running = [one for one in all_running() if _folder(one).resolve() == store.resolve()]
    if running:
        return [asyncio.run(_heard(one)) for one in running]
    return [Roles("", _would_serve(store), 0)]


def roles_of(system: str, state: ModelsState, assigned: Iterable[ModelsAssigned]) -> Roles:
    """From what the models service says now and has journaled, oldest first."""
    entries = list(assigned)
    served = dict.fromkeys([state.serving, *(entry.serving for entry in reversed(entries))])
    beside = [version for entry in entries[-1:] for version in (entry.canary, entry.shadow) if version]
    return Roles(system, tuple(version for version in served if version)[:SERVED_KEPT], state.pinned, tuple(dict.fromkeys(beside)))


def _folder(running: RunningSystem) -> Path:
    return Path(running.models_folder) if running.models_folder else SHIPPED_MODELS


def _would_serve(store: Path) -> tuple[int, ...]:
    """What a system that starts now would choose, and the one that would serve in its place."""
    present = versions_in(store)
    try:
        first = choose_in(store, 0).bundle.manifest.version
        found = [first]
        for version in (one for one in reversed(present) if one != first):
            if choose_in(store, version).bundle.manifest.version == version:
                return (*found, version)
    except NoBundle:
        return ()
    return tuple(found)


async def _heard(running: RunningSystem) -> Roles:
    from tradingsystem.process.connecting import connected_journal  # the client loads slowly: first it must be known that something runs

    said: asyncio.Future[ModelsState] = asyncio.get_running_loop().create_future()
    subjects = Subjects(running.system)

    def on_state(delivery: Delivery) -> None:
        if said.done():
            return
        try:
            said.set_result(decode(delivery.payload, ModelsState))
        except Malformed as error:
            said.set_exception(TryAgain(f"{running.system}: what models says cannot be read ({error}): is it of another build?"))

    password = read_password(Path(running.person_password_file))
    async with (
        connect(running) as bus,
        connected_journal(running.nats_url, running.system, PERSON, password, HEARD_SECONDS) as journal,
    ):
        subscription = await bus.subscribe(subjects.state("models"), on_state)
        try:
            state = await asyncio.wait_for(said, HEARD_SECONDS)
            assigned: list[ModelsAssigned] = [decode(entry.payload, ModelsAssigned) async for entry in journal.read(subjects.journal_model)]
        except TimeoutError as error:
            raise TryAgain(
                f"{running.system}: models has not said which version serves; see: tradingsystem status {running.system}"
            ) from error
        except Malformed as error:
            raise TryAgain(f"{running.system}: which versions served before cannot be read from the journal: {error}") from error
        finally:
            await subscription.close()
    return roles_of(running.system, state, assigned)
