"""Issue 5, "Shows it works", 1: installed, applied, ready, traded, flat; the auditor agrees; what stays is the volumes, and they are taken up again."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.kubernetes.installation import NAMESPACE, SYSTEMS, Installation, say, simulation, wait

pytestmark = [pytest.mark.pods, pytest.mark.charts, pytest.mark.timeout(900)]

SPEED = 60
COVER_SECONDS = 3 + SPEED * 0.05
CLAIMS = f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims"
COLUMNS = ["Name", "Mode", "Trading", "Ready", "Model", "Day P&L", "Age"]


def claims(installation: Installation, name: str) -> dict[str, tuple[str, str]]:
    """Claims of a system: name to identity and bound volume."""
    found = installation.items(CLAIMS, f"tradingsystem.dev/system={name}")
    return {each["metadata"]["name"]: (each["metadata"]["uid"], each["spec"].get("volumeName", "")) for each in found}


def test_a_session_trades_and_ends_flat(installation: Installation) -> None:
    """Ready within three minutes; orders are filled; at the end nothing is held and the auditor finds nothing."""
    installation.apply(simulation("session", speed=SPEED))
    installation.wait_ready("session", 180)
    wait("session: the first fill", lambda: installation.summary("session")["fills"] > 0, 240)
    table = installation.api.table(SYSTEMS)
    assert [column["name"] for column in table["columnDefinitions"] if column["priority"] == 0] == COLUMNS
    (row,) = (row["cells"] for row in table["rows"] if row["cells"][0] == "session")
    assert row[1] == "Simulation"
    assert row[3] == "True"
    if kubectl := shutil.which("kubectl"):
        words = [kubectl, "--kubeconfig", str(installation.cluster.kubeconfig)]
        subprocess.run([*words, "wait", "--for=condition=Ready", "tsys/session", "--timeout=30s"], check=True, capture_output=True)
        shown = subprocess.run([*words, "get", "tsys"], check=True, capture_output=True, text=True).stdout
        assert shown.splitlines()[0].split("  ")[0] == "NAME"
        say(f"kubectl get tsys\n{shown}")
    wait("session: the market has closed", lambda: installation.venue("session", "/simulator/clock")["finished"], 400)
    found = installation.audit("session", COVER_SECONDS)
    say(f"auditor: {found}")
    assert found["executions"] >= 2
    assert found["flat"]


def test_delete_leaves_the_volumes_and_a_new_one_takes_them_up(installation: Installation) -> None:
    """Nothing but retained claims stays of a deleted system; the same name finds the same volumes again."""
    before = claims(installation, "session")
    assert len(before) == 2
    installation.remove("session")
    assert claims(installation, "session") == before
    for kind in ("services", "configmaps", "serviceaccounts", "secrets"):
        assert not installation.items(f"/api/v1/namespaces/{NAMESPACE}/{kind}", "tradingsystem.dev/system=session"), kind
    installation.apply(simulation("session"))
    installation.wait_ready("session", 180)
    assert claims(installation, "session") == before


def test_what_halted_it_holds_until_a_person_clears_it(installation: Installation) -> None:
    """The deletion halted the system in the journal that was taken up again: it opens nothing until the latch is cleared by its id, name and reason."""
    trading = wait("session: halted", lambda: (said := installation.trading("session")).get("state") == "Halted" and said, 30)
    (latch,) = trading["latches"]
    cleared = {"tradingsystem.dev/clear-latch": f"{latch['id']};tests;trades again"}
    installation.patch(f"{SYSTEMS}/session", {"metadata": {"annotations": cleared}})
    wait("session: active", lambda: installation.trading("session").get("state") == "Active", 30)
    wait("the annotation: gone", lambda: not installation.system("session")["metadata"].get("annotations"), 30)
    installation.remove("session")
