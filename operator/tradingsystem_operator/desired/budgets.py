"""PodDisruptionBudgets: nobody drains the node of a pod that guards open positions while the market is open. At any other time one pod at a time may go.

The only objects that follow the day, so they are part of no revision; what the day is like is told, never looked up.
"""

from __future__ import annotations

from tradingsystem.spec import Plan, WorkloadKind
from tradingsystem_operator.desired.arguments import is_sidecar
from tradingsystem_operator.objects import DISRUPTION_BUDGET, Object, Owner, labels_of, make, name_of

GUARDING = frozenset({"nats", "simulator", "ingestion", "execution", "watcher"})
"""What exits and stops need: the journal, prices, the one writer, and who watches it. Without the filter there are only no new entries."""


def disruption_budgets(made: Plan, owner: Owner, *, in_session_with_positions: bool) -> tuple[Object, ...]:
    """One budget per workload that runs all the time."""
    return tuple(
        make(
            DISRUPTION_BUDGET,
            owner,
            name_of(owner.name, workload.name),
            workload.name,
            spec={
                "maxUnavailable": 0 if in_session_with_positions and workload.name in GUARDING else 1,
                "selector": {"matchLabels": labels_of(owner.name, workload.name)},
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
            },
        )
        for workload in made.workloads
        if workload.kind is not WorkloadKind.JOB and not (workload.service == "triton" and is_sidecar(made))
    )
