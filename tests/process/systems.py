"""Small real systems for tests: a message server, the monitor and the recorder, on free ports in a folder of the test's own."""

from __future__ import annotations

import socket
from pathlib import Path

import msgspec

from tradingsystem.process.build import build_digest
from tradingsystem.process.local import LocalRun
from tradingsystem.process.state import StateFolder
from tradingsystem.spec import Placement, Plan, load, plan
from tradingsystem.spec.ports import BLOCK

PARTS = ("nats", "recorder", "monitor")


def free_block() -> int:
    """The first of a block of ports nobody listens on now."""
    for base in range(20_000, 58_000, BLOCK):
        sockets = []
        try:
            for number in range(base, base + BLOCK):
                probe = socket.socket()
                sockets.append(probe)
                probe.bind(("127.0.0.1", number))
            return base
        except OSError:
            continue
        finally:
            for probe in sockets:
                probe.close()
    raise AssertionError("no block of ports is free")


def resource(base: int, name: str = "testing", messaging: str = "{}") -> str:
    """A simulated system as YAML; its journal is small, since the disk of a test machine is."""
    return f"""
apiVersion: tradingsystem.dev/v1alpha1
kind: TradingSystem
metadata: {{name: {name}}}
spec:
  telemetry: {{metricsPort: {base}}}
  storage: {{journal: {{size: 256Mi}}}}
  messaging: {messaging}
"""


def small_plan(placement: Placement = Placement.PROCESSES, parts: tuple[str, ...] = PARTS, messaging: str = "{}") -> Plan:
    """The plan of a simulated system, cut down to services that need no venue."""
    whole = plan(load(resource(free_block(), messaging=messaging)), placement, build=build_digest())
    kept = tuple(
        msgspec.structs.replace(workload, after=tuple(name for name in workload.after if name in parts))
        for workload in whole.workloads
        if workload.name in parts
    )
    simulator = whole.workload("simulator")
    return msgspec.structs.replace(whole, workloads=(*kept, msgspec.structs.replace(simulator, kind="Job", ports=simulator.ports)))


def small_run(folder: Path, placement: Placement = Placement.PROCESSES, parts: tuple[str, ...] = PARTS, messaging: str = "{}") -> LocalRun:
    """A run of that plan."""
    state = StateFolder(folder / "state" / "testing")
    state.path.mkdir(parents=True, exist_ok=True)
    return LocalRun(plan=small_plan(placement, parts, messaging), state=state, folder=state.new_run())
