"""What the operator remembers of one system between rounds, and what one round has found out. All of the first can be lost: it is learned again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tradingsystem.spec import Plan, TradingSystem
from tradingsystem_operator.applying import Applied
from tradingsystem_operator.control import ControlChannel, Link
from tradingsystem_operator.engines import NOTHING, EngineWork
from tradingsystem_operator.facts import ControlFact, Problem
from tradingsystem_operator.objects import PAUSE_ANNOTATION, Key, Object, Owner
from tradingsystem_operator.queue import SystemKey
from tradingsystem_operator.revisions import Revision
from tradingsystem_operator.rollout import Round


@dataclass(slots=True)
class Memory:
    """One system, by the uid of its resource."""

    uid: str
    channel: ControlChannel | None = None
    link: Link | None = None
    secret_data: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    applied: Applied = field(default_factory=Applied)
    revisions: dict[int, Revision] = field(default_factory=dict)
    revision_maps: dict[int, Object] = field(default_factory=dict)
    held_since: dict[str, float] = field(default_factory=dict)
    told: frozenset[Problem] = frozenset()
    halt_accepted_at: datetime | None = None
    flatten_sent: bool = False

    def hold(self, waiting: Mapping[str, Problem], now: float) -> None:
        """Note since when each workload waits for the order's sake; whoever waits no more is forgotten."""
        names = {name for name, problem in waiting.items() if problem.reason == "WaitsForOthers"}
        self.held_since = {name: self.held_since.get(name, now) for name in names}

    def waited(self, now: float) -> dict[str, float]:
        """How long each of them has waited."""
        return {name: now - since for name, since in self.held_since.items()}

    async def close(self) -> None:
        """Leave the message server."""
        channel, self.channel = self.channel, None
        if channel is not None:
            await channel.close()


@dataclass(slots=True)
class Seen:
    """One round. ``system`` is what is rendered: the spec as it is with what it names, or the last good one while that cannot be. ``valid``: the spec itself
    has no mistake, so its live settings hold; ``complete``: what it names is there, too."""

    key: SystemKey
    raw: Object
    owner: Owner
    memory: Memory
    children: dict[Key, Object]
    system: TradingSystem | None = None
    valid: bool = True
    complete: bool = True
    plan: Plan | None = None
    settings: bytes = b""
    revision: Revision | None = None
    update_available: bool = False
    discard: tuple[int, ...] = ()
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    work: Round | None = None
    engines: EngineWork = NOTHING
    settings_tried: bool = False

    @property
    def annotations(self) -> Mapping[str, str]:
        """The resource's annotations."""
        return self.raw["metadata"].get("annotations") or {}

    @property
    def paused(self) -> bool:
        """Whether nothing but status may be written."""
        return self.annotations.get(PAUSE_ANNOTATION, "").lower() == "true"

    @property
    def generation(self) -> int:
        """Generation of the spec."""
        return int(self.raw["metadata"].get("generation", 0))

    @property
    def control(self) -> ControlFact:
        """What the services say now."""
        if self.memory.channel is None:
            return ControlFact(problem="the passwords of its message server are not there yet")
        return self.memory.channel.fact(self.settings, self.plan.live_hash if self.plan is not None else "")
