"""Which port each workload listens on. In pods every workload has its own address and the same numbers; locally a block of 40 is shared.

The numbers are fixed and printed, never searched for: a port that is taken is an error that names it, not a surprise at another address.
"""

import msgspec

BLOCK = 40
"""Local ports per system; ``telemetry.metricsPort`` is the first of the block."""

POD_METRICS_PORT = 8_000
SHARED_POD_METRICS_PORT = 9_002


class Port(msgspec.Struct, frozen=True, kw_only=True):
    """One TCP port of a workload. ``metrics`` serves /metrics, /healthz and /readyz."""

    name: str
    number: int


_LOCAL_OFFSETS: dict[str, dict[str, int]] = {
    "monitor": {"metrics": 0},
    "ingestion": {"metrics": 1},
    "filter": {"metrics": 2},
    "execution": {"metrics": 3},
    "recorder": {"metrics": 4},
    "models": {"metrics": 5},
    "simulator": {"metrics": 6, "venues": 20},
    "learning-incremental": {"metrics": 7},
    "learning-retrain": {"metrics": 8},
    "watcher": {"metrics": 9},
    "nats": {"client": 22, "monitoring": 23},
    "triton": {"http": 24, "grpc": 25, "metrics": 26},
}

_POD_PORTS: dict[str, dict[str, int]] = {
    "simulator": {"metrics": POD_METRICS_PORT, "venues": 8_090},
    "nats": {"client": 4_222, "monitoring": 8_222},
    # Triton's own HTTP default is 8000, where every pod of ours has its metrics.
    "triton": {"http": 9_000, "grpc": 9_001, "metrics": POD_METRICS_PORT},
}


def ports_of(workload: str, base: int, *, in_pods: bool, shared: bool = False) -> tuple[Port, ...]:
    """The ports of a workload; ``base`` is the first of the local block. ``shared``: its pod is another's, whose metrics stay where they are."""
    if in_pods:
        numbers = _POD_PORTS.get(workload, {"metrics": POD_METRICS_PORT})
        if shared:
            numbers = numbers | {"metrics": SHARED_POD_METRICS_PORT}
        return tuple(Port(name=name, number=number) for name, number in numbers.items())
    return tuple(Port(name=name, number=base + offset) for name, offset in _LOCAL_OFFSETS[workload].items())
