"""The resource that describes a trading system: typed, checked, planned. Pure; it starts nothing and reads no secret.

``load`` reads one, ``warnings`` says what in it cannot add up, ``plan`` says what would run.
"""

from tradingsystem.spec.advice import Advice, warnings
from tradingsystem.spec.hashing import canonical_json, content_hash
from tradingsystem.spec.load import from_document, load, load_file
from tradingsystem.spec.plan import Placement, Plan, PlanRow, Workload, WorkloadKind, explain, plan
from tradingsystem.spec.problems import InvalidSpec, Problem
from tradingsystem.spec.resource import Metadata, Mode, TradingSystem, TradingSystemSpec, to_document
from tradingsystem.spec.secrets import SecretKey, SecretNeed
from tradingsystem.spec.slices import SLICE_OF, LiveSettings, Slice, slice_of

__all__ = [
    "SLICE_OF",
    "Advice",
    "InvalidSpec",
    "LiveSettings",
    "Metadata",
    "Mode",
    "Placement",
    "Plan",
    "PlanRow",
    "Problem",
    "SecretKey",
    "SecretNeed",
    "Slice",
    "TradingSystem",
    "TradingSystemSpec",
    "Workload",
    "WorkloadKind",
    "canonical_json",
    "content_hash",
    "explain",
    "from_document",
    "load",
    "load_file",
    "plan",
    "slice_of",
    "to_document",
    "warnings",
]
