"""What training hands over: the numbers from which both graphs are built."""

from __future__ import annotations

from dataclasses import dataclass

from tradingsystem.domain.rows import F32

LOGIT_MAX = 8.0  # of a member, where members are blended


@dataclass(frozen=True, slots=True)
class Stump:
    """One split of one raw feature: ``below`` and ``above`` are logits on either side of ``threshold``."""

    feature: int
    threshold: float
    below: float
    above: float


@dataclass(frozen=True, slots=True)
class FusedWeights:
    """Linear members as columns of one matrix, the stump beside them, the blend after them.

    ``low`` and ``high`` F32[50] bound each raw feature, which makes a hinge of one whose middle says nothing; ``mean`` and ``scale`` F32[50] standardise
    what is left, ``clip`` bounds the result symmetrically; ``linear`` F32[50, 2] and ``bias`` F32[2] are the linear members; ``blend`` F32[3] weighs the
    members' logits; ``slope`` and ``intercept`` calibrate.
    """

    low: F32
    high: F32
    mean: F32
    scale: F32
    clip: float
    linear: F32
    bias: F32
    stump: Stump
    blend: F32
    slope: float
    intercept: float
