"""Issue 5 and 6: a system that asks for Triton on real pods. A real tritonserver for a CPU answers cuts; while its pod is away the filter's process answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster import images
from tests.kubernetes.installation import NAMESPACE, SYSTEMS, Installation, say, simulation, wait

pytestmark = [pytest.mark.pods, pytest.mark.charts, pytest.mark.timeout(900)]

NAME = "served"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
ANSWERED = "tradingsystem_inference_total"
CUTS = 3


@pytest.fixture(scope="module")
def served(installation: Installation) -> Iterator[Installation]:
    """A whole day with the models' signals, since a probe asks no model."""
    images.build((images.TRITON_CPU,), say)
    installation.cluster.import_image(images.TRITON_CPU.archive)
    system = simulation(NAME, signals="Model", startDate="2026-03-02")
    system["spec"]["inference"] = {"runtime": "Triton", "placement": "SameNode", "gpu": {"count": 0}}
    system["spec"]["components"]["triton"] = {"resources": {"requests": {"cpu": "20m", "memory": "1Gi"}}}
    installation.apply(system)
    installation.wait_ready(NAME)
    yield installation
    installation.delete(f"{SYSTEMS}/{NAME}")  # its pods go while the next file works


def wait_answered(installation: Installation, outcome: str, what: str) -> None:
    """Some cuts more with that outcome, by the filter's own count."""
    label = f'outcome="{outcome}"'
    before = installation.metric(NAME, "filter", ANSWERED, label)
    wait(what, lambda: installation.metric(NAME, "filter", ANSWERED, label) >= before + CUTS, 120)


def test_cuts_are_answered_by_triton_and_in_process_while_it_is_away(served: Installation) -> None:
    """Asked, taken away, in process, asked again by itself; the filter's pod is the one it was."""
    before = served.lives(NAME)
    wait_answered(served, "ok", "cuts: answered by Triton")
    wait("status: serving", lambda: served.condition(NAME, "ModelServing").get("reason") == "Serving", 60)
    pod = served.pod(NAME, "triton")["metadata"]
    served.delete(f"{PODS}/{pod['name']}", gracePeriodSeconds=0)
    wait_answered(served, "fallback", "cuts: answered in process")
    wait("Triton: another pod", lambda: served.lives(NAME).get("triton", (pod["uid"], 0))[0] != pod["uid"], 60)
    wait_answered(served, "ok", "cuts: answered by Triton again")
    after = served.lives(NAME)
    assert {name: life for name, life in after.items() if name != "triton"} == {
        name: life for name, life in before.items() if name != "triton"
    }
