"""What a node is told, and what the API server is told about it: configuration files and objects as values.

Volumes are made ahead: as many local volumes as `VOLUMES` says, each a folder of the cluster, retained when their claim goes, of the default
StorageClass `standard`. Nothing here starts a process.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.cluster.api import Api
from tests.cluster.docker_archive import PAUSE_IMAGE
from tests.cluster.link import Link

Object = dict[str, Any]

NODE_NAME = "node-0"
CONTAINERD_SOCKET = "/run/containerd.sock"  # within the node: a path of the machine may be longer than a socket's name can be
DNS_PORT = 5_353
DNS_ADDRESS = "10.96.0.10"
VOLUMES = 24
VOLUME_SIZE = "200Gi"
STORAGE_CLASS = "standard"


def files(folder: Path, link: Link, group: str) -> dict[str, str]:
    """The node's configuration files by name."""
    return {
        "containerd.toml": _containerd(folder / "node"),
        "cni/10-pods.conflist": json.dumps(_network(folder / "node", link)),
        "kubelet.json": json.dumps(_kubelet(folder, group)),
        "Corefile": _corefile(folder, link),
        "resolv.conf": "# pods reach nothing outside the cluster, so there is nobody to ask\n",
    }


def _containerd(folder: Path) -> str:
    # Without CAP_SYS_RESOURCE a process may not lower its oom_score_adj; restrict_oom_score_adj keeps containers from trying.
    return f"""version = 2
root = "{folder}/containerd/root"
state = "/run/containerd-state"
[grpc]
address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_IMAGE}"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{folder}/cni"
"""


def _network(folder: Path, link: Link) -> Object:
    ranges = [[{"subnet": link.pods}]]
    memory = {"type": "host-local", "dataDir": f"{folder}/addresses", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]}
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "ptp", "ipMasq": False, "ipam": memory}]}


def _kubelet(folder: Path, group: str) -> Object:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": False,
        "failSwapOn": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{group}",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": "cluster.local",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{folder}/keys/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "resolvConf": f"{folder}/node/resolv.conf",
        "podLogsDir": f"{folder}/log/pods",
        "volumePluginDir": f"{folder}/node/volume-plugins",
        "serializeImagePulls": False,
        "crashLoopBackOff": {"maxContainerRestartPeriod": "2s"},  # who is killed ten times by a test is not waited for ten minutes
    }


def _corefile(folder: Path, link: Link) -> str:
    return f""".:{DNS_PORT} {{
    bind {link.node}
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {folder}/admin.conf
    }}
}}
"""


def create(api: Api, folder: Path, link: Link) -> None:
    """DNS and volumes."""
    for path, body in (*_dns(link), *_volumes(folder)):
        status, answer = api.ask("POST", path, body)
        assert status == 201, answer


def ready(api: Api) -> bool:
    """Whether the node says so itself."""
    status, node = api.ask("GET", f"/api/v1/nodes/{NODE_NAME}")
    conditions = node["status"].get("conditions", []) if status == 200 else []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _dns(link: Link) -> list[tuple[str, Object]]:
    ports = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns"},
        "spec": {"clusterIP": DNS_ADDRESS, "ports": [port | {"targetPort": DNS_PORT} for port in ports]},
    }
    slice_ = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "kube-dns-node", "labels": {"kubernetes.io/service-name": "kube-dns"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [link.node], "conditions": {"ready": True}}],
        "ports": [port | {"port": DNS_PORT} for port in ports],
    }
    return [
        ("/api/v1/namespaces/kube-system/services", service),
        ("/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices", slice_),
    ]


def _volumes(folder: Path) -> list[tuple[str, Object]]:
    storage_class = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": STORAGE_CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    here = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE_NAME]}]}
    made: list[tuple[str, Object]] = [("/apis/storage.k8s.io/v1/storageclasses", storage_class)]
    for number in range(VOLUMES):
        spec = {
            "capacity": {"storage": VOLUME_SIZE},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": STORAGE_CLASS,
            "local": {"path": f"{folder}/volumes/{number:02}"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [here]}},
        }
        volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"volume-{number:02}"}, "spec": spec}
        made.append(("/api/v1/persistentvolumes", volume))
    return made
