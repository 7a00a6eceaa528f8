"""Issue 6, "Shows it works", 4: a learning job is fired by hand; its candidate reaches the pods, is judged, stands beside who serves, serves, and goes back.

The candidate was published on the recorder's volume before, as by a job that was killed before it could send it; its evidence was made too good, so
that the gate lets it pass. What the fired job itself learns from some minutes of one simulated day is nothing, and it says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.planted import publish_overconfident
from tests.kubernetes.installation import NAMESPACE, SERVICES, SYSTEMS, Installation, say, simulation, wait
from tradingsystem.world.learning_store import prepare
from tradingsystem.world.recipe import recipe_key

pytestmark = [pytest.mark.pods, pytest.mark.charts, pytest.mark.timeout(900)]

NAME = "learns"
TRIAL_MINUTES = 10  # of open market; ten seconds
USER_ID = 10_001  # what pods run as
JOBS = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"
CRON_JOB = f"/apis/batch/v1/namespaces/{NAMESPACE}/cronjobs/{NAME}-learning-incremental"


@pytest.fixture(scope="module")
def learns(installation: Installation) -> Iterator[Installation]:
    """A whole day, with the models' signals, since a probe asks no model."""
    system = simulation(NAME, signals="Model", startDate="2026-03-02")
    system["spec"]["learning"] = {"promotion": {"shadowSessionMinutes": TRIAL_MINUTES, "canaryPercent": 50}}
    system["spec"]["components"]["learning"] = {"resources": {"requests": {"cpu": "20m", "memory": "1Gi"}}}
    installation.apply(system)
    installation.wait_ready(NAME)
    yield installation
    installation.delete(f"{SYSTEMS}/{NAME}")


def models_folder(installation: Installation) -> Path:
    """Where jobs write, on the node's disk."""
    claim = installation.get(f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims/run-{NAME}-recorder-0")
    volume = installation.get(f"/api/v1/persistentvolumes/{claim['spec']['volumeName']}")
    return Path(volume["spec"]["local"]["path"]) / "models"


def plant(folder: Path) -> None:
    """Version 2, as a pod would have written it."""
    prepare(folder, recipe_key())
    assert publish_overconfident(folder).version == 2
    for path in (folder, *folder.rglob("*")):
        os.chown(path, USER_ID, USER_ID)


def fire(installation: Installation, name: str) -> None:
    """As `kubectl create job --from` does."""
    schedule = installation.get(CRON_JOB)
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": schedule["metadata"]["name"], "uid": schedule["metadata"]["uid"]}
    template = schedule["spec"]["jobTemplate"]
    metadata = {
        "name": name,
        "labels": template["metadata"]["labels"],
        "annotations": {"cronjob.kubernetes.io/instantiate": "manual"},
        "ownerReferences": [owner | {"controller": True}],
    }
    installation.create(JOBS, {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template["spec"]})


def log_of(installation: Installation, job: str) -> str:
    """What its pods said."""
    pods = installation.items(f"/api/v1/namespaces/{NAMESPACE}/pods", f"batch.kubernetes.io/job-name={job}")
    places = [f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}/log" for pod in pods]
    return "\n".join(str(installation.api.ask("GET", place)[1]) for place in places)


def outcome(installation: Installation, job: str) -> str:
    """How it ended: Complete or Failed; empty while it has not."""
    conditions = installation.get(f"{JOBS}/{job}")["status"].get("conditions", [])
    return next((each["type"] for each in conditions if each["status"] == "True" and each["type"] in {"Complete", "Failed"}), "")


def models(installation: Installation) -> dict[str, Any]:
    """What the resource's status says of versions."""
    return dict(installation.system(NAME)["status"].get("models") or {})


def services(installation: Installation) -> dict[str, tuple[str, int]]:
    """Which pod runs each service, and how often it was started again."""
    return {name: life for name, life in installation.lives(NAME).items() if name in SERVICES}


def test_a_candidate_comes_to_serve_and_a_pin_takes_it_back(learns: Installation) -> None:
    """Job, candidate in the status, shadow, canary, serving; `pinnedVersion` patched, version 1 serves again; every pod is the one it was."""
    before = services(learns)
    assert learns.get(CRON_JOB)["spec"]["suspend"]
    plant(models_folder(learns))
    fire(learns, "learn-by-hand")
    ended = wait("job: ended", lambda: outcome(learns, "learn-by-hand"), 240)
    told = log_of(learns, "learn-by-hand")
    say(f"job: {told}")
    assert ended == "Complete", told
    assert "version 2 is in the object store" in told
    for phase in ("Shadow", "Canary"):
        wait(f"candidate: {phase}", lambda phase=phase: models(learns).get("candidatePhase") == phase, 60)  # type: ignore[misc]
        assert models(learns)["candidate"] == 2
    wait("candidate: serves", lambda: models(learns).get("serving") == 2, 60)
    assert models(learns)["previous"] == 1
    learns.patch(f"{SYSTEMS}/{NAME}", {"spec": {"models": {"pinnedVersion": 1}}})
    wait("pin: version 1 serves again", lambda: models(learns).get("serving") == 1, 30)
    say(f"status.models: {models(learns)}")
    assert services(learns) == before
