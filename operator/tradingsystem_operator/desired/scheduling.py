"""On which nodes a pod may run, and what it asks of them. A GPU is asked for by what it can do, never by product name, which differs from vendor to vendor.

The labels are those of NVIDIA's GPU feature discovery. A slice of a GPU (MIG) is a resource of its own, whose memory stands under its own label.
"""

from __future__ import annotations

from tradingsystem.spec import Plan, Workload
from tradingsystem.spec.components import Toleration
from tradingsystem.spec.inference import Gpu
from tradingsystem_operator.objects import Object, Owner, labels_of

GPU_TAINT = "nvidia.com/gpu"
_OWN_TOLERATION = {"key": GPU_TAINT, "operator": "Exists", "effect": "NoSchedule"}


def resources(workload: Workload, gpu: Gpu | None) -> Object:
    """Requests and limits; an extended resource is asked for as a limit, which makes it a request too."""
    asked, limits = workload.resources.requests, workload.resources.limits
    found: Object = {
        "requests": {"cpu": asked.cpu, "memory": asked.memory},
        "limits": {name: value for name, value in (("cpu", limits.cpu), ("memory", limits.memory)) if value},
    }
    if gpu is not None:
        found["limits"][gpu.resource_name] = "1"
    return found


def placement(workload: Workload, gpu: Gpu | None) -> Object:
    """``nodeSelector``, ``tolerations`` and ``affinity`` of a pod, each only where it says something."""
    found: Object = {}
    if workload.component.node_selector:
        found["nodeSelector"] = dict(workload.component.node_selector)
    tolerations = [_toleration(each) for each in workload.component.tolerations]
    if gpu is not None:
        tolerations += [dict(_OWN_TOLERATION)] if _OWN_TOLERATION not in tolerations else []
        terms = {"nodeSelectorTerms": _terms(gpu)}
        found["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    if tolerations:
        found["tolerations"] = tolerations
    return found


def beside(owner: Owner, workload: Workload, made: Plan) -> Object:
    """As ``placement``, on the node of the workload it is pinned to where that can be: a wish, since that one may have no node and this one must run."""
    found = placement(workload, None)
    term = {"labelSelector": {"matchLabels": labels_of(owner.name, workload.pinned_to)}, "topologyKey": "kubernetes.io/hostname"}
    found["affinity"] = {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": term}]}}
    if made.workload(workload.pinned_to).gpus and _OWN_TOLERATION not in found.get("tolerations", []):
        found["tolerations"] = [*found.get("tolerations", []), dict(_OWN_TOLERATION)]
    return found


def _toleration(asked: Toleration) -> Object:
    given = {"key": asked.key, "operator": asked.operator.value, "value": asked.value, "effect": asked.effect.value}
    return {name: value for name, value in given.items() if value}


def _terms(gpu: Gpu) -> list[Object]:
    """At least this compute capability: the same major with at least the minor, or any later major. Terms are alternatives."""
    major, minor = gpu.compute_capability.split(".")
    memory = {"key": f"{gpu.resource_name}.memory", "operator": "Gt", "values": [str(gpu.memory_mib_min - 1)]}
    same: list[Object] = [{"key": "nvidia.com/gpu.compute.major", "operator": "In", "values": [str(int(major))]}]
    if int(minor):
        same.append({"key": "nvidia.com/gpu.compute.minor", "operator": "Gt", "values": [str(int(minor) - 1)]})
    later: list[Object] = [{"key": "nvidia.com/gpu.compute.major", "operator": "Gt", "values": [str(int(major))]}]
    return [{"matchExpressions": [*same, memory]}, {"matchExpressions": [*later, memory]}]
