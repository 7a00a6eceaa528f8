"""Evidence that contradicts itself never reaches the gate."""

from __future__ import annotations

import math

import msgspec
import pytest

from tradingsystem.bundles.evidence import Block, Evidence, InvalidEvidence, check_evidence

HOUR_NS = 3_600_000_000_000


def evidence(blocks: int = 3, champion: int = 1) -> Evidence:
    """One block an hour, the challenger a little ahead."""
    return Evidence(
        champion=champion,
        data_kind="simulated",
        block_seconds=3600,
        blocks=tuple(
            Block(
                session="2026-03-02", start_ns=at * HOUR_NS, trades=4, champion_return_basis_points=1.0, challenger_return_basis_points=2.0
            )
            for at in range(blocks)
        ),
        trials=1,
        deflated_sharpe=0.97,
    )


def test_whole_evidence_passes() -> None:
    """Also without any block: that is too little, which the gate says, and no contradiction."""
    check_evidence(evidence())
    check_evidence(evidence(blocks=0))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"champion": 0}, "no version"),
        ({"data_kind": "invented"}, "none of simulated"),
        ({"block_seconds": 0}, "block_seconds"),
        ({"trials": 0}, "trials"),
        ({"deflated_sharpe": math.nan}, "deflated_sharpe"),
        ({"block_seconds": 3601}, "before the one before it ends"),
    ],
)
def test_what_cannot_be_is_named(change: dict[str, object], why: str) -> None:
    """One wrong number is enough."""
    with pytest.raises(InvalidEvidence, match=why):
        check_evidence(msgspec.structs.replace(evidence(), **change))


@pytest.mark.parametrize(("field", "value"), [("challenger_return_basis_points", math.inf), ("trades", -1)])
def test_a_block_that_cannot_be_is_named(field: str, value: float) -> None:
    """With its place, and together with everything else that is wrong."""
    whole = evidence()
    blocks = (whole.blocks[0], msgspec.structs.replace(whole.blocks[1], **{field: value}))
    with pytest.raises(InvalidEvidence, match=r"trials.*block 1"):
        check_evidence(msgspec.structs.replace(whole, blocks=blocks, trials=0))
