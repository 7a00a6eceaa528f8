"""What the operator tells about a system as Kubernetes events: typed reasons, each with what was done. The same words are told once in a while, not each round.

An event that cannot be posted is logged and lost: nothing waits for it, since status says what is so.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from tradingsystem.domain.errors import TradingSystemError
from tradingsystem_operator.cluster import Cluster
from tradingsystem_operator.objects import Kind, Object

log = structlog.get_logger()

EVENT = Kind("Event", "events.k8s.io/v1", "events")
CONTROLLER = "tradingsystem.dev/operator"
AGAIN_SECONDS = 600.0
NOTE_MAX = 1_000

TOLD = {
    "RevisionApplied": "A new revision of the rendered objects was stored and is being applied.",
    "DriftRepaired": "Somebody had changed or deleted an object of ours; it is as it was.",
    "Pruned": "An object that is no longer wanted was deleted.",
    "StuckPodReplaced": "A pod of an older revision that could never become ready was deleted, so that its StatefulSet makes a new one.",
    "SettingsJournaled": "Live settings (risk, trading, pinned model) were written to the journal; status says when they are in force.",
    "ModelOnTrial": "A candidate has come into the phase that the note names: judged, loaded and asked, scored unheard, or heard on a part of the symbols.",
    "ModelRefused": "A model version was refused, for the reason in the note; what serves goes on serving.",
    "ModelRolledBack": "The version that served was taken back, by itself or by a person; the one before it serves again.",
    "ModelSwitched": "Another model version serves. No pod restarts for it.",
    "EngineBuildStarted": "A job compiles a version for the GPU; the note says which, and whether Triton has left its GPU for it.",
    "EngineBuildEnded": "No engine is being built any more; the note says who runs the models now. One that failed is told as EngineBuildFailed.",
    "LatchCleared": "Execution accepted the clearing that the annotation asked for; the annotation is gone.",
    "LatchNotCleared": "Execution refused the clearing, or the annotation cannot be used; the annotation is gone.",
    "CredentialsMade": "The Secret with the passwords of the message server was made.",
    "Halting": "The resource is deleted: execution was told to halt.",
    "Flattening": "The resource is deleted in session: execution was told to sell.",
    "DeletionWaits": "The resource is deleted and execution is silent; it is waited for.",
    "DeletedFlat": "The system is gone: halted, nothing held, no entry open.",
    "DeletedWithStops": "The system is gone while the market is closed: what is held keeps its stops at the broker.",
    "DeletedWithPositions": "The system is gone although selling had not ended in time: look at the broker.",
    "DeletedUnheard": "The system is gone although execution said nothing: look at the broker.",
    "DeletedUnconfirmed": "The system is gone, flat, without the broker's word that no entry is open: look there.",
    "DeletedBeforeItRan": "The system is gone; it had never run.",
}
"""Reasons that are no condition's. A problem or a warning is also told as an event, under the reason of its condition."""


class Events:
    """Posts events about systems. ``instance`` is this process."""

    def __init__(self, cluster: Cluster, instance: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._cluster, self._instance, self._monotonic = cluster, instance, monotonic
        self._told: dict[tuple[str, str, str], float] = {}

    async def say(self, about: Object, reason: str, note: str, *, warning: bool = False, action: str = "Reconcile") -> None:
        """Tell it, unless the same was told within ten minutes."""
        metadata, now = about["metadata"], self._monotonic()
        key = (metadata["uid"], reason, note)
        if now - self._told.get(key, -AGAIN_SECONDS) < AGAIN_SECONDS:
            return
        self._told = {known: at for known, at in self._told.items() if now - at < AGAIN_SECONDS} | {key: now}
        log.info("told", of=f"{metadata['namespace']}/{metadata['name']}", reason=reason, note=note)
        try:
            await self._cluster.create(EVENT, self._made(about, reason, note, action, warning=warning))
        except TradingSystemError as error:
            log.warning("event_lost", reason=reason, error=str(error))

    def _made(self, about: Object, reason: str, note: str, action: str, *, warning: bool) -> Object:
        metadata = about["metadata"]
        return {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {"name": f"{metadata['name']}.{secrets.token_hex(8)}", "namespace": metadata["namespace"]},
            "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance[:128],
            "action": action,
            "reason": reason,
            "regarding": {
                "apiVersion": about["apiVersion"],
                "kind": about["kind"],
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
            },
            "note": note if len(note) <= NOTE_MAX else note[: NOTE_MAX - 1] + "…",
            "type": "Warning" if warning else "Normal",
        }
