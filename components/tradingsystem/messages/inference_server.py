"""How a tritonserver is told what it may do, on one machine and in pods alike: it loads only what it is told to, and who tells it needs a key.

tritonserver takes the key on its command line and from nowhere else. This writes no file, chooses no key and knows no model.
"""

from __future__ import annotations

from collections.abc import Mapping

KEY_NAME = "tradingsystem-key"
KEY_HEADER = f"triton-grpc-protocol-{KEY_NAME}"
"""Under which metadata a gRPC client shows the key."""

RESTRICTED = "model-repository,shared-memory,model-config,trace,logging"
"""What asks for the key. Questions, health and statistics do not: who may ask at all is the network's business."""

EXIT_SECONDS = 3


def flags(*, repository: str, backends: str, address: str, ports: Mapping[str, int], configuration: str, regions: str) -> list[str]:
    """The flags but those with the key. ``ports``: http, grpc and metrics; ``configuration`` names the backend's files; ``regions`` the prefix of the python
    backend's own shared memory, so that a killed server's can be swept."""
    return [
        f"--model-repository={repository}",
        f"--backend-directory={backends}",
        f"--model-config-name={configuration}",
        "--model-control-mode=explicit",
        "--disable-auto-complete-config",
        "--strict-readiness=false",
        *(f"--{name}-address={address}" for name in ("http", "grpc", "metrics")),
        *(f"--{name}-port={ports[name]}" for name in ("http", "grpc", "metrics")),
        "--metrics-config=summary_latencies=true",
        f"--backend-config=python,shm-region-prefix-name={regions}",
        f"--exit-timeout-secs={EXIT_SECONDS}",
    ]


def restricted(key: str) -> list[str]:
    """The flags that put what changes the server behind the key, on both protocols. ``key`` may be the words by which a shell reads it."""
    return [f"--http-restricted-api={RESTRICTED}:{KEY_NAME}={key}", f"--grpc-restricted-protocol={RESTRICTED}:{KEY_NAME}={key}"]
