"""Triton as rendered for a cluster without a GPU: its pod as a process, a real tritonserver with the rendered command line, beside the pods that speak with it.

Only what a cut needs runs. That a pod can be scheduled, and anything a GPU does, is not shown here.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.operator.pods import Cluster
from tests.spec.documents import document
from tradingsystem.adapters.triton_shared_memory import FOLDER
from tradingsystem.spec import from_document
from tradingsystem_operator.credentials import credentials, secret
from tradingsystem_operator.desired import build_all
from tradingsystem_operator.objects import Owner
from tradingsystem_operator.release import Release

RELEASE = Release(version="1.2.3", build="1.2.3+abc", components_image="none", triton_cpu_image="none")
OWNER = Owner(name="momentum", namespace="trading", uid="u-7")
RUN = (("nats",), ("simulator", "models", "execution"), ("filter",), ("ingestion",))
"""In the operator's order: who is in one group starts when those before it are ready."""

READY_SECONDS = 120.0  # on a machine that has never compiled the kernels
ANSWERED = "tradingsystem_inference_total"

pytestmark = [pytest.mark.nats, pytest.mark.triton, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(params=["SameNode", "Sidecar"])
def placement(request: pytest.FixtureRequest) -> str:
    """Triton in a pod of its own, and in the filter's."""
    return str(request.param)


@pytest.fixture
def cluster(placement: str, tmp_path: Path) -> Iterator[Cluster]:
    """All that a cut needs, Triton not yet."""
    changes = {
        "spec.simulation": {"symbols": 40, "speed": 60},
        "spec.inference": {"runtime": "Triton", "placement": placement, "gpu": {"count": 0}},
        "spec.storage.journal.size": "512Mi",
    }
    passwords = credentials("momentum", None, lambda: secrets.token_urlsafe(24))
    made = Cluster(build_all(from_document(document(changes)), RELEASE, OWNER), secret(OWNER, passwords), tmp_path)
    try:
        for group in RUN:
            for name in group:
                made.pods[name].start()
            made.until(
                lambda group=group: all(made.pods[name].asks("readinessProbe") == 200 for name in group), READY_SECONDS, f"{group} ready"
            )
        yield made
    finally:
        made.stop()


def test_triton_answers_the_cuts_and_nobody_waits_for_it(cluster: Cluster, placement: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In process without it; by it once it runs, with what models has loaded into an empty server; in process when it is killed; by it again by itself. In the
    filter's pod rows and answers go through shared memory, which is given back at the end."""
    triton, asks = cluster.pods["triton"], cluster.pods["filter"]
    took = {}

    def more(outcome: str, what: str) -> float:
        before = asks.metric(ANSWERED, f'outcome="{outcome}"')
        return cluster.until(lambda: asks.metric(ANSWERED, f'outcome="{outcome}"') > before + 3, READY_SECONDS, what)

    took["in process without it"] = more("fallback", "cuts in process")
    triton.start()
    took["its pod ready"] = cluster.until(lambda: triton.asks("readinessProbe") == 200, 60, "Triton ready")
    assert (triton.asks("startupProbe"), triton.asks("livenessProbe")) == (200, 200)
    took["asked"] = more("ok", "cuts by Triton")
    assert triton.metric("nv_inference_request_success", 'model="fused",version="1"') > 0
    regions = list(FOLDER.glob(f"tradingsystem-{asks.number}-*"))
    assert bool(regions) == (placement == "Sidecar")
    triton.kill()
    took["in process after SIGKILL"] = more("fallback", "cuts in process after the kill")
    triton.start()
    took["asked again"] = more("ok", "cuts by Triton again")
    assert asks.end(60) == 0
    assert not any(region.exists() for region in regions)
    assert triton.end(30) == 0
    with capsys.disabled():
        sys.stdout.write(f"\nTriton, {placement}: " + ", ".join(f"{what} {seconds:.1f} s" for what, seconds in took.items()) + "\n")
