"""`tradingsystem models build-engine`: what it would build is said anywhere; where it cannot build it says all that is missing, and leaves nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tradingsystem.cli.application import application
from tradingsystem.cli.main import main
from tradingsystem.process.serving import SHIPPED_MODELS


@pytest.fixture(autouse=True)
def neither_tensorrt_nor_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    """On every machine, also on one that has both."""
    for name in ("tensorrt", "cupy"):
        monkeypatch.setitem(sys.modules, name, None)


def run(*words: object) -> str:
    """What was printed, of a command that ends well."""
    found = CliRunner().invoke(application("models"), ["models", "build-engine", *map(str, words)], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output


def test_a_plan_is_printed_without_a_gpu(tmp_path: Path) -> None:
    """Whoever renders a job or reviews a bundle sees what the GPU's node will be told."""
    told = run("--models", SHIPPED_MODELS, "--version", 1, "--out", tmp_path / "engines", "--plan")
    assert "engine of          fused, version 1, INT8" in told
    assert "profile 4          2,049 to 12,288 rows, best at 12,288" in told
    assert "No module named 'tensorrt'" in told or "import of tensorrt" in told
    assert not (tmp_path / "engines").exists()


def test_a_plan_as_json_says_the_same_and_names_what_is_missing(tmp_path: Path) -> None:
    """A program reads it; the newest version that may serve is taken when none is named."""
    told = json.loads(run("--models", SHIPPED_MODELS, "--out", tmp_path, "--plan", "--json"))
    assert told["plan"]["bundle_version"] == 1
    assert [profile["rows_best"] for profile in told["plan"]["profiles"]] == [1, 64, 512, 2_048, 12_288]
    assert told["target"] is None
    assert told["key"] == ""


def test_the_float_twin_has_a_plan_of_its_own(tmp_path: Path) -> None:
    """INT8 is measured against it."""
    words = ("--models", SHIPPED_MODELS, "--out", tmp_path, "--plan", "--json")
    assert json.loads(run(*words))["plan"]["graph_sha256"] != json.loads(run(*words, "--float"))["plan"]["graph_sha256"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--models", str(SHIPPED_MODELS)), "no engine can be built here: TensorRT for Python cannot be loaded"),
        (("--models", str(SHIPPED_MODELS)), "CuPy cannot be loaded"),
        (("--models", str(SHIPPED_MODELS), "--version", "7"), "7"),
        (("--models", "nowhere"), "nowhere: no such folder"),
    ],
    ids=["no TensorRT", "no CuPy", "no such version", "no such store"],
)
def test_what_cannot_be_built_is_one_message(
    words: tuple[str, ...], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2, no traceback, and no folder that looks like an engine's."""
    out = tmp_path / "engines"
    monkeypatch.setattr(sys, "argv", ["tradingsystem", "models", "build-engine", *words, "--out", str(out)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert says in told
    assert "Traceback" not in told
    assert not out.exists()
