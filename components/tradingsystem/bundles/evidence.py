"""What a candidate shows for itself: how it and the version that serves would have traded on later data, block by block, net of costs.

It is part of the bundle, covered by the signed manifest. The job that trained the candidate writes it; ``gate`` judges it; nothing here does either.
"""

from __future__ import annotations

import math

import msgspec

BLOCKS_MAX = 20_000


class InvalidEvidence(ValueError):
    """The evidence contradicts itself; the text says where."""


class Block(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One stretch of open market, the same for both versions. A block in which nobody traded is a block too: its returns are 0."""

    session: str  # ISO date of the session that it lies in
    start_ns: int  # market time, ns since the epoch
    trades: int  # positions closed in it, by both versions together
    champion_return_basis_points: float  # sum over its positions of the returns net of spread and fees, of the version that serves
    challenger_return_basis_points: float  # the same, of the candidate


class Evidence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Blocks in order of time, on data later than the candidate's training data."""

    champion: int  # the version that served when the job ran
    data_kind: str  # simulated | recorded | live
    block_seconds: int  # length of each block
    blocks: tuple[Block, ...]
    trials: int  # candidates that the ledger says were tried on this data, this one included; at least 1
    deflated_sharpe: (
        float  # 0 to 1: probability that the Sharpe ratio of the differences is above what the best of ``trials`` shows by luck
    )


def check_evidence(evidence: Evidence) -> None:
    """Raises ``InvalidEvidence`` naming everything that cannot be."""
    wrong = []
    if evidence.champion < 1:
        wrong.append(f"champion {evidence.champion} is no version")
    if evidence.data_kind not in ("simulated", "recorded", "live"):
        wrong.append(f"data_kind {evidence.data_kind!r} is none of simulated, recorded, live")
    if evidence.block_seconds < 1:
        wrong.append(f"block_seconds is {evidence.block_seconds}")
    if evidence.trials < 1:
        wrong.append(f"trials is {evidence.trials}, but the candidate itself is one")
    if not 0.0 <= evidence.deflated_sharpe <= 1.0:
        wrong.append(f"deflated_sharpe is {evidence.deflated_sharpe}, not a probability")
    if len(evidence.blocks) > BLOCKS_MAX:
        wrong.append(f"{len(evidence.blocks)} blocks, at most {BLOCKS_MAX} are read")
    wrong.extend(_wrong_blocks(evidence))
    if wrong:
        raise InvalidEvidence("; ".join(wrong[:10]))


def _wrong_blocks(evidence: Evidence) -> list[str]:
    wrong = []
    earliest = 0
    for at, block in enumerate(evidence.blocks):
        if not (math.isfinite(block.champion_return_basis_points) and math.isfinite(block.challenger_return_basis_points)):
            wrong.append(f"block {at}: a return that is not finite")
        if block.trades < 0:
            wrong.append(f"block {at}: {block.trades} trades")
        if block.start_ns < earliest:
            wrong.append(f"block {at}: starts before the one before it ends")
        earliest = block.start_ns + evidence.block_seconds * 1_000_000_000
    return wrong
