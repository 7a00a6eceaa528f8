"""The cluster itself: up, down, killed, and several at once; nothing but logs stays, and nobody else's process is touched."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster import build
from tests.cluster.api import Api
from tests.cluster.control_plane import ControlPlane
from tests.cluster.run import down, holder, started_at
from tests.cluster.waiting import until

ROOT = Path(__file__).parents[2]
GONE_WITHIN_SECONDS = 20.0


def command(word: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What a person types."""
    words = [sys.executable, "-m", "tests.cluster.run", word, "--folder", str(folder), "--api-only", "--from-source"]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=110)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def kept(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.cluster
@pytest.mark.slow
def test_up_and_down_leave_nothing_but_logs(tmp_path: Path) -> None:
    """One command up, one down; a second cluster lives beside it meanwhile."""
    made = command("up", tmp_path / "one")
    assert made.returncode == 0, made.stderr
    kubeconfig = Path(made.stdout.strip())
    assert kubeconfig.stat().st_mode & 0o077 == 0
    with (
        contextlib.closing(Api(kubeconfig)) as api,
        ControlPlane(tmp_path / "two") as other,
        contextlib.closing(Api(other.kubeconfig)) as beside,
    ):
        versions = {each.ask("GET", "/version")[1]["gitVersion"] for each in (api, beside)}
        uids = {each.ask("GET", "/api/v1/namespaces/kube-system")[1]["metadata"]["uid"] for each in (api, beside)}
    assert versions == {build.KUBERNETES_VERSION}
    assert len(uids) == 2
    assert command("status", tmp_path / "one").returncode == 0
    pid = holder(tmp_path / "one")
    assert pid is not None
    started = [(child, started_at(child)) for child in children(pid)]
    assert len(started) == len(build.API_PROGRAMS)
    ended = command("down", tmp_path / "one")
    assert ended.returncode == 0, ended.stderr
    assert all(started_at(child) != when for child, when in started)
    assert kept(tmp_path / "one") == {"log/holder.log", "log/etcd.log", "log/kube-apiserver.log", "log/audit.jsonl"}
    assert kept(tmp_path / "two") == {"log/etcd.log", "log/kube-apiserver.log", "log/audit.jsonl"}
    assert command("status", tmp_path / "one").returncode == 1


@pytest.mark.cluster
@pytest.mark.slow
def test_parts_die_with_a_killed_holder(tmp_path: Path) -> None:
    """kill -9 of what holds the cluster leaves no server running, and the next `up` starts afresh."""
    assert command("up", tmp_path).returncode == 0
    pid = holder(tmp_path)
    assert pid is not None
    started = [(child, started_at(child)) for child in children(pid)]
    os.kill(pid, signal.SIGKILL)
    until("its children end", lambda: all(started_at(child) != when for child, when in started), GONE_WITHIN_SECONDS)
    assert holder(tmp_path) is None
    assert command("up", tmp_path).returncode == 0
    assert command("down", tmp_path).returncode == 0


def test_down_ends_no_process_it_did_not_start(tmp_path: Path) -> None:
    """A pid that somebody else has by now is left alone: this test's own."""
    (tmp_path / "holder.json").write_text(json.dumps({"pid": os.getpid(), "started": "1"}))
    assert holder(tmp_path) is None
    down(tmp_path)


def test_a_changed_pin_is_another_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What was built from other pins, or by another Go, is never started."""
    (tmp_path / "etcd").mkdir()
    monkeypatch.setattr(build, "MODULES", tmp_path)
    places = set()
    for pin, release in (("a", "go1.26.0"), ("b", "go1.26.0"), ("a", "go1.27.0")):
        for name in ("go.mod", "go.sum"):
            (tmp_path / "etcd" / name).write_text(pin)
        places.add(build.place(build.ETCD, release))
    assert len(places) == 3


def test_modules_pin_what_is_built() -> None:
    """Every program names a module that exists, with the checksums beside it, and Kubernetes in the version it reports."""
    for program in (*build.CONTROL_PLANE_PROGRAMS, *build.CHART_PROGRAMS, *build.WORKFLOW_PROGRAMS):
        folder = build.MODULES / program.module
        assert f"tool {program.package}" in (text := (folder / "go.mod").read_text()) or f"\t{program.package}\n" in text
        assert (folder / "go.sum").stat().st_size > 500
    assert f"k8s.io/kubernetes {build.KUBERNETES_VERSION}" in (build.MODULES / "kubernetes/go.mod").read_text()
