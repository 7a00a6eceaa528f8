"""Raw objects and messages that operator tests start from: as the API server and the services would say them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tradingsystem.domain.calendar import session
from tradingsystem.domain.control import Beat
from tradingsystem.domain.time import NS_PER_MINUTE, to_datetime
from tradingsystem.domain.trading import Latch, PositionView, TradingState, TradingStatus
from tradingsystem_operator.objects import COMPONENT_LABEL, REVISION_ANNOTATION, Object, Owner, labels_of
from tradingsystem_operator.release import Release

OWNER = Owner(name="momentum", namespace="trading", uid="0b5c1b9e-6d1e-4a0c-9a57-000000000001")
RELEASE = Release(
    version="1.2.3",
    build="1.2.3+abc",
    components_image="example.org/components:1.2.3",
    triton_image="example.org/triton:1.2.3",
    triton_cpu_image="example.org/triton-cpu:1.2.3",
    components_gpu_image="example.org/components-gpu:1.2.3",
)
DAY = session(to_datetime(1_772_496_000_000_000_000).date())  # an ordinary Tuesday
NOON_NS = DAY.open_ns + 120 * NS_PER_MINUTE
EVENING_NS = DAY.close_ns + 60 * NS_PER_MINUTE


def position(symbol: str = "AAA", quantity: int = 10, protected: int = 10) -> PositionView:
    """One position."""
    return PositionView(
        symbol=symbol, quantity=quantity, average_price=Decimal(10), mark=None, unrealised=Decimal(0), protected_quantity=protected
    )


def trading(
    state: TradingState = TradingState.ACTIVE,
    *,
    at_ns: int = NOON_NS,
    positions: tuple[PositionView, ...] = (),
    latches: tuple[Latch, ...] = (),
    profit: str = "0",
    confirmed: bool = True,
    why: str = "",
) -> TradingStatus:
    """What execution says."""
    return TradingStatus(
        at_ns=at_ns,
        state=state,
        since_ns=at_ns,
        why=why,
        latches=latches,
        positions=positions,
        day_realised=Decimal(profit),
        day_unrealised=Decimal(0),
        day_fees=Decimal(0),
        equity=Decimal(50_000),
        drawdown_percent=0.0,
        signals_seen=0,
        orders_sent=0,
        orders_filled=0,
        orders_refused={},
        unknown_orders=0,
        unprotected_shares=0,
        reconciled=True,
        halt_confirmed=confirmed,
    )


def beat(service: str, *, generation: int = 0, boot_hash: str = "ab" * 32) -> Beat:
    """A service's heartbeat."""
    return Beat(
        service=service,
        instance="one",
        build="1",
        schema=1,
        boot_hash=boot_hash,
        live_generation=generation,
        phase="ready",
        applied_ns=0,
        detail={},
    )


def pod(workload: str, name: str = "", **status: Any) -> Object:
    """A pod of one workload, with that status."""
    metadata = {"name": name or f"{OWNER.name}-{workload}-0", "uid": f"uid-{workload}", "labels": labels_of(OWNER.name, workload)}
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata | {"namespace": OWNER.namespace}, "spec": {}, "status": status}


def claim(workload: str, *, phase: str, storage_class: str | None) -> Object:
    """A volume claim of one workload."""
    metadata = {"name": f"data-{workload}", "labels": {COMPONENT_LABEL: workload}}
    spec: Object = {"resources": {"requests": {"storage": "10Gi"}}}
    return {
        "kind": "PersistentVolumeClaim",
        "metadata": metadata,
        "spec": spec | ({"storageClassName": storage_class} if storage_class else {}),
        "status": {"phase": phase},
    }


def workload_object(kind: str, workload: str, *, revision: int = 1, image: str = "one", after: str = "", **more: Any) -> Object:
    """A workload as it would be rendered."""
    annotations = {"tradingsystem.dev/after": after} if after else {}
    metadata: Object = {
        "name": f"{OWNER.name}-{workload}",
        "namespace": OWNER.namespace,
        "labels": labels_of(OWNER.name, workload),
        "annotations": annotations,
        "ownerReferences": [OWNER.reference()],
    }
    del revision
    template = {"spec": {"containers": [{"name": workload, "image": image}]}}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": {"replicas": 1, "template": template} | more}


def observed(thing: Object, *, revision: int, ready: bool = True) -> Object:
    """The same as the API server would show it, once a controller has seen to it."""
    count = 1 if ready else 0
    annotations = thing["metadata"].get("annotations", {}) | {REVISION_ANNOTATION: str(revision)}
    metadata = thing["metadata"] | {
        "annotations": annotations,
        "generation": 3,
        "uid": f"uid-{thing['metadata']['name']}",
        "resourceVersion": "7",
    }
    status = {
        "observedGeneration": 3,
        "replicas": 1,
        "updatedReplicas": 1,
        "readyReplicas": count,
        "availableReplicas": count,
        "currentRevision": "r1",
        "updateRevision": "r1",
    }
    return thing | {"metadata": metadata, "status": status}
