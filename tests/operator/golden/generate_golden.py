"""Writes what the operator renders for five systems, one YAML file per kind, so that a change of a template is seen as a change of a file.

Hashes and slices are left out: they change with every default of the resource, and the tests of the slices hold them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from tradingsystem.spec import from_document
from tradingsystem_operator.desired import build_all, disruption_budgets, plan_of
from tradingsystem_operator.desired.engine_build import builds_engines, engine_job
from tradingsystem_operator.objects import OWNED, Object, Owner
from tradingsystem_operator.release import Release

FOLDER = Path(__file__).parent
RELEASE = Release(
    version="1.2.3",
    build="1.2.3+abc",
    components_image="example.org/tradingsystem/components:1.2.3",
    triton_image="example.org/tradingsystem/triton:1.2.3",
    triton_cpu_image="example.org/tradingsystem/triton-cpu:1.2.3",
    components_gpu_image="example.org/tradingsystem/components-gpu:1.2.3",
)
_OF_EXTERNAL = frozenset({"momentum-execution", "momentum-monitor", "momentum-learning-retrain"})
UID = "00000000-0000-0000-0000-000000000007"

SPECS: dict[str, dict[str, Any]] = {
    "simulation": {},
    "paper": {
        "mode": "Paper",
        "sources": [
            {"name": "polygon", "type": "Polygon", "secretRef": {"name": "polygon"}},
            {"name": "flow", "type": "UnusualWhales", "secretRef": {"name": "unusual-whales"}},
        ],
        "universe": {"symbolsMax": 3000},
        "cache": {"type": "Redis", "address": "redis.data:6380", "secretRef": {"name": "redis"}},
        "execution": {"broker": {"secretRef": {"name": "alpaca"}, "watcherSecretRef": {"name": "alpaca-watcher"}}},
        "storage": {"onDelete": "Delete", "storageClassName": "fast", "journal": {"size": "2Gi"}},
        "components": {
            "execution": {
                "resources": {"requests": {"cpu": "2", "memory": "1Gi"}, "limits": {"cpu": "4"}},
                "nodeSelector": {"pool": "trading"},
                "tolerations": [{"key": "trading", "operator": "Exists"}],
            },
        },
        "telemetry": {"otlpEndpoint": "http://collector.monitoring:4318"},
    },
    "external": {
        "messaging": {
            "type": "External",
            "urls": ["tls://nats-0.messages:4222", "tls://nats-1.messages:4222", "tls://nats-2.messages:4223"],
            "secretRef": {"name": "nats-users"},
            "caSecretRef": {"name": "nats-authorities"},
            "replicas": 3,
        },
    },
    "sidecar": {"inference": {"runtime": "Triton", "placement": "Sidecar", "gpu": {"count": 0}}},
    "gpu": {"inference": {"runtime": "Triton", "gpu": {"resourceName": "nvidia.com/mig-3g.20gb", "memoryMiBMin": 19000}}},
}


def rendered(name: str) -> tuple[Object, ...]:
    """Everything that is applied for one of the systems."""
    kind = {"apiVersion": "tradingsystem.dev/v1alpha1", "kind": "TradingSystem"}
    system = from_document({**kind, "metadata": {"name": "momentum", "namespace": "trading"}, "spec": SPECS[name]})
    owner = Owner(name="momentum", namespace="trading", uid=UID)
    made = plan_of(system, RELEASE)
    jobs = (
        [engine_job(version, made, RELEASE, owner, system.spec.inference.gpu, suspended=version > 1) for version in (1, 2)]
        if builds_engines(made, RELEASE)
        else []
    )
    return (*build_all(system, RELEASE, owner), *jobs, *disruption_budgets(made, owner, in_session_with_positions=True))


def texts() -> dict[str, str]:
    """File name and content of each snapshot. Of systems with Triton only it and those who speak with it differ from the simulation; of
    one with an External message server, everybody who speaks does in the same way: two of them are shown, and a job."""
    found = {}
    for name in SPECS:
        things = rendered(name)
        for kind in OWNED:
            chosen = [thing for thing in things if thing["kind"] == kind.kind]
            if name in {"gpu", "sidecar"}:
                chosen = [thing for thing in chosen if _of_triton(thing)]
            if name == "external":
                chosen = [thing for thing in chosen if kind.kind != "ConfigMap" and thing["metadata"]["name"] in _OF_EXTERNAL]
            if chosen:
                found[f"{name}-{kind.kind}.yaml"] = _text(chosen)
    return found


def _of_triton(thing: Object) -> bool:
    named = {f"momentum-{name}" for name in ("triton", "filter", "models", "engine")}
    if thing["kind"] == "Job":
        return True
    return thing["metadata"]["name"] in (named if thing["kind"] in {"Deployment", "NetworkPolicy"} else {"momentum-triton"})


class _Plain(yaml.SafeDumper):
    """Writes equal values out each time, as a reader expects them."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(things: list[Object]) -> str:
    shown = [_without_slice(thing) for thing in things]
    text = yaml.dump_all(shown, Dumper=_Plain, sort_keys=False, width=160, explicit_start=True)
    return re.sub(r"\b[0-9a-f]{64}\b", "<hash>", text)


def _without_slice(thing: Object) -> Object:
    return {**thing, "data": {"slice.json": "<slice>"}} if "slice.json" in thing.get("data", {}) else thing


def main() -> None:
    """Write every snapshot; one that is no longer made is removed."""
    made = texts()
    for path in FOLDER.glob("*.yaml"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
