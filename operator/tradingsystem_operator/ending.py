"""Carries out the end of a system as ``deletion.py`` decides it: commands, events, and at last the finalizer. Until then nothing of it is taken away."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import structlog

from tradingsystem.domain.control import Command, CommandKind
from tradingsystem.domain.errors import TryAgain
from tradingsystem.spec.status import TradingReport
from tradingsystem_operator.cluster import Cluster
from tradingsystem_operator.deletion import FINALIZER, Act, Asked, Step, next_step
from tradingsystem_operator.events import Events
from tradingsystem_operator.memory import Seen
from tradingsystem_operator.objects import STATEFUL_SET, TRADING_SYSTEM, Key
from tradingsystem_operator.status import read_status

log = structlog.get_logger()

SHOWS_WITHIN = timedelta(seconds=5)
WHO = "operator"
WHY = "the TradingSystem was deleted"


async def end(seen: Seen, cluster: Cluster, events: Events, now: datetime) -> Step | None:
    """One step towards the end; None when nothing of ours holds the resource. Raises ``TryAgain``."""
    finalizers = seen.raw["metadata"].get("finalizers") or []
    if FINALIZER not in finalizers:
        return None
    step = next_step(_asked(seen, now))
    await events.say(seen.raw, step.reason, step.message, warning=step.warning, action="Delete")
    if step.act is Act.LET_GO:
        await _let_go(seen, cluster, finalizers)
    elif step.act in {Act.HALT, Act.FLATTEN}:
        await _command(seen, CommandKind.HALT if step.act is Act.HALT else CommandKind.FLATTEN, now)
    return step


def _asked(seen: Seen, now: datetime) -> Asked:
    since = datetime.strptime(seen.raw["metadata"]["deletionTimestamp"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    reported = isinstance(read_status(seen.raw.get("status")).trading, TradingReport)
    exists = Key(STATEFUL_SET.kind, f"{seen.owner.name}-execution") in seen.children
    return Asked(
        seconds=(now - since).total_seconds(),
        ever_ran=reported or exists,
        status=seen.control.status,
        flatten_sent=seen.memory.flatten_sent,
    )


async def _command(seen: Seen, kind: CommandKind, now: datetime) -> None:
    """Tell execution. No answer is no harm: the next step sees what holds and says it again. What was accepted is given a moment to show."""
    channel, halted_at = seen.memory.channel, seen.memory.halt_accepted_at
    just_halted = kind is CommandKind.HALT and halted_at is not None and now - halted_at < SHOWS_WITHIN
    if channel is None or just_halted:
        return
    try:
        answer = await channel.command(Command(id=uuid.uuid4().hex, kind=kind, name=WHO, reason=WHY))
    except TryAgain as error:
        log.warning("command_unanswered", of=str(seen.key), kind=kind.value, reason=str(error))
        return
    log.info("commanded", of=str(seen.key), kind=kind.value, accepted=answer.accepted, reason=answer.reason)
    if kind is CommandKind.HALT and answer.accepted:
        seen.memory.halt_accepted_at = now
    seen.memory.flatten_sent = seen.memory.flatten_sent or (kind is CommandKind.FLATTEN and answer.accepted)


async def _let_go(seen: Seen, cluster: Cluster, finalizers: list[str]) -> None:
    """Take our finalizer away, and nobody else's."""
    place = f"/metadata/finalizers/{finalizers.index(FINALIZER)}"
    operations = [{"op": "test", "path": place, "value": FINALIZER}, {"op": "remove", "path": place}]
    await cluster.patch(TRADING_SYSTEM, seen.key.namespace, seen.key.name, operations)
    log.info("let_go", of=str(seen.key))
