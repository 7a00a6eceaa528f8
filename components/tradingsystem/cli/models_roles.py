"""Which version of a store does what: asked of the systems that run on it, else as one that starts now would choose. What must stay is the models
service's word: it alone knows what waits, what is loaded, and what would serve without a pin."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tradingsystem.cli.person import connect, first, models_said
from tradingsystem.domain.control import ModelsState
from tradingsystem.domain.errors import TryAgain
from tradingsystem.models.store import NoBundle
from tradingsystem.monitor.models_view import problems, told
from tradingsystem.process.serving import SHIPPED_MODELS, choose_in, versions_in
from tradingsystem.process.state import RunningSystem, all_running, find_running

HEARD_SECONDS = 3.0
NAMED = 2  # what would serve, and the next best


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """What is known of a store's versions; 0 is none. ``system``: who says so, empty when nothing runs on this store: then ``serving`` is what a start
    would choose and ``previous`` the next best. ``protected``: what no collection may take. ``notes``: sentences on what is under way and was taken back."""

    system: str
    serving: int
    previous: int
    protected: frozenset[int]
    pinned: int = 0
    trial: int = 0
    phase: str = ""
    refused: Mapping[int, str] = field(default_factory=dict)  # why it does not serve there
    notes: tuple[str, ...] = ()

    def of(self, version: int) -> list[str]:
        """The version's roles in words."""
        at = f" at {self.system}" if self.system else ""
        told = []
        if version == self.serving:
            told.append(f"serves{at}" if self.system else "would serve")
        if version == self.previous:
            told.append(f"before it{at}" if self.system else "the next best")
        if version == self.pinned:
            told.append(f"pinned{at}")
        if version == self.trial:
            told.append(f"on trial{at}: {self.phase}")
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
    return [_would_serve(store)]


def roles_of(system: str, state: ModelsState) -> Roles:
    """From what the models service says."""
    return Roles(
        system=system,
        serving=state.serving,
        previous=state.previous,
        protected=frozenset({*state.kept, state.serving, state.previous, state.pinned, state.trial} - {0}),
        pinned=state.pinned,
        trial=state.trial,
        phase=state.phase,
        refused={int(version): reason for version, reason in state.refused.items() if int(version) not in {state.serving, state.trial}},
        notes=(*told(state), *problems(state)),
    )


def _folder(running: RunningSystem) -> Path:
    return Path(running.models_folder) if running.models_folder else SHIPPED_MODELS


def _would_serve(store: Path) -> Roles:
    """What a system that starts now would choose, and the one that would serve in its place."""
    found: list[int] = []
    for version in (0, *reversed(versions_in(store))):
        try:
            serves = choose_in(store, version).bundle.manifest.version
        except NoBundle:
            break
        if serves not in found and version in {0, serves}:
            found.append(serves)
        if len(found) == NAMED:
            break
    serving, previous = [*found, 0, 0][:NAMED]
    return Roles(system="", serving=serving, previous=previous, protected=frozenset(found))


async def _heard(running: RunningSystem) -> Roles:
    async with connect(running) as bus, models_said(bus, running.system) as heard:
        try:
            return roles_of(running.system, await first(heard, lambda _: True, HEARD_SECONDS))
        except TryAgain as error:
            raise TryAgain(f"{running.system}: {error}; see: tradingsystem status {running.system}") from error
