"""The samples in manifests/samples load without a problem and show what they are for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tradingsystem.spec import Mode, Placement, load_file, plan
from tradingsystem.spec.inference import Runtime

SAMPLES = Path(__file__).parents[2] / "manifests" / "samples"


@pytest.mark.parametrize("name", ["minimal", "simulation", "paper", "gpu"])
def test_sample_loads_and_can_be_planned(name: str) -> None:
    """A sample with a mistake would be the first thing a newcomer meets."""
    made = load_file(SAMPLES / f"{name}.yaml")
    assert plan(made, Placement.KUBERNETES).workloads


def test_no_sample_goes_untested() -> None:
    """Each file in the folder is a sample, and none trades money."""
    found = sorted(SAMPLES.iterdir())
    assert [path.name for path in found] == ["gpu.yaml", "minimal.yaml", "paper.yaml", "simulation.yaml"]
    assert all(load_file(path).spec.mode is not Mode.LIVE for path in found)


def test_samples_are_what_their_names_say() -> None:
    """Minimal is all defaults, paper writes every section's defaults out, gpu serves by Triton."""
    minimal, paper, gpu = (load_file(SAMPLES / f"{name}.yaml").spec for name in ("minimal", "paper", "gpu"))
    assert minimal.mode is Mode.SIMULATION
    for section in ("universe", "cache", "filter", "ensemble", "sizing", "risk", "execution", "learning"):
        assert getattr(paper, section) == getattr(minimal, section), section
    assert gpu.inference.runtime is Runtime.TRITON
