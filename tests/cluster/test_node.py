"""A cluster with a node: pods run the project's own image with a volume, a Service and DNS, and nothing but logs stays afterwards."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import cgroups, images
from tests.cluster.api import Api
from tests.cluster.control_plane import NotStarted
from tests.cluster.link import Link
from tests.cluster.node import Cluster
from tests.cluster.packages import IMAGE_PACKAGES, lacking
from tests.cluster.run import started_at
from tests.cluster.waiting import until

DONE_WITHIN_SECONDS = 120.0
PODS = "/api/v1/namespaces/default/pods"
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def pod(name: str, *words: str, volumes: list[dict[str, Any]], mounts: dict[str, str]) -> dict[str, Any]:
    """One container of the components image, as strict as the operator's pods."""
    container = {
        "name": "main",
        "image": images.COMPONENTS.name,
        "imagePullPolicy": "Never",
        "command": list(words),
        "securityContext": RESTRICTED,
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, *({"name": key, "mountPath": path} for key, path in mounts.items())],
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {"fsGroup": 10_001, "fsGroupChangePolicy": "OnRootMismatch"},
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}, *volumes],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


def create(api: Api, path: str, body: dict[str, Any]) -> None:
    status, answer = api.ask("POST", path, body)
    assert status == 201, answer


def groups_of(link: Link) -> set[tuple[Path, int]]:
    """The control groups of a cluster, each with what tells it from another one of that name."""
    folders = [hierarchy / link.name for hierarchy in cgroups.hierarchies()]
    return {(folder, folder.stat().st_ino) for folder in folders if folder.exists()}


def phase(api: Api, name: str) -> str:
    found: str = api.ask("GET", f"{PODS}/{name}")[1]["status"].get("phase", "")
    return found


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cluster's; a test's own would be too long for the kubelet's sockets."""
    return tmp_path_factory.mktemp("node")


@pytest.mark.pods
@pytest.mark.timeout(600)
def test_pods_run_the_image_with_volume_service_and_names(folder: Path) -> None:
    """nats-server keeps a stream on a claimed volume; another pod reaches it by its Service's name; afterwards only logs are left."""
    assert not lacking(IMAGE_PACKAGES), "make images"
    images.build((images.COMPONENTS,), lambda _text: None)
    with Cluster(folder) as cluster, contextlib.closing(Api(cluster.kubeconfig)) as api:
        cluster.import_image(images.COMPONENTS.archive)
        claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}}
        create(api, f"{PODS.rpartition('/')[0]}/persistentvolumeclaims", {"metadata": {"name": "journal"}, "spec": claim})
        volume = {"name": "data", "persistentVolumeClaim": {"claimName": "journal"}}
        create(api, PODS, pod("nats", "nats-server", "-js", "-sd", "/data", "-m", "8222", volumes=[volume], mounts={"data": "/data"}))
        ports = [{"name": "client", "port": 4_222}, {"name": "monitor", "port": 8_222}]
        create(
            api,
            f"{PODS.rpartition('/')[0]}/services",
            {"metadata": {"name": "nats"}, "spec": {"selector": {"app": "nats"}, "ports": ports}},
        )
        create(api, PODS, pod("help", "tradingsystem", "--help", volumes=[], mounts={}))
        code = (
            "import urllib.request, time\n"
            "from tradingsystem.filter.warming import warm_up\n"
            "began = time.monotonic(); warm_up(); print('kernels ready after', round(time.monotonic() - began, 2))\n"
            "for _ in range(50):\n"
            "    try:\n"
            "        print(urllib.request.urlopen('http://nats.default.svc.cluster.local:8222/healthz', timeout=2).read()); break\n"
            "    except OSError: time.sleep(0.2)\n"
            "else: raise SystemExit('nats was not reached')\n"
        )
        create(api, PODS, pod("asks", "python", "-c", code, volumes=[], mounts={}))
        until("nats runs", lambda: phase(api, "nats") == "Running", DONE_WITHIN_SECONDS)
        for name, said in (("help", "tradingsystem"), ("asks", '{"status":"ok"}')):
            until(f"{name} ends", lambda name=name: phase(api, name) in {"Succeeded", "Failed"}, DONE_WITHIN_SECONDS)
            log = str(api.ask("GET", f"{PODS}/{name}/log")[1])
            assert phase(api, name) == "Succeeded", log
            assert said in log
        link, kubeconfig, index, groups = cluster.link, cluster.kubeconfig, cluster.link.index(), groups_of(cluster.link)
    assert not kubeconfig.exists()
    assert link.index() != index  # another cluster may have taken the number by now
    assert groups
    assert not groups_of(link) & groups
    assert str(folder) not in Path("/proc/self/mounts").read_text()
    assert {path.name for path in folder.iterdir()} == {"log"}


@pytest.mark.pods
@pytest.mark.timeout(300)
def test_a_killed_holder_takes_its_node_along(folder: Path) -> None:
    """kill -9 of what holds the cluster ends every process of the node, and the next start is not hindered."""
    words = ["from tests.cluster.node import Cluster", "from pathlib import Path", "import time"]
    words += [f"with Cluster(Path({str(folder)!r})) as c: print(c.link.number, c.parts[-1].process.pid, flush=True); time.sleep(300)"]
    with subprocess.Popen([sys.executable, "-c", "\n".join(words)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        number, pid = map(int, process.stdout.readline().split())
        started, index = started_at(pid), Link(number).index()
        process.send_signal(signal.SIGKILL)
    until("the node ends", lambda: started_at(pid) != started and Link(number).index() != index, DONE_WITHIN_SECONDS)
    with Cluster(folder):
        pass
    assert {path.name for path in folder.iterdir()} == {"log"}


def test_a_folder_that_is_too_long_is_refused() -> None:
    """Before anything is started, with what to do."""
    with pytest.raises(NotStarted, match="choose a shorter"):
        Cluster(Path("/somewhere") / ("long" * 20)).start()


def test_what_is_missing_is_named_with_its_package() -> None:
    """A machine without a program gets the package that has it, not a traceback."""
    assert lacking({"surely-no-such-program": "its-package", "sh": "dash"}) == ["its-package"]
