"""`tradingsystem models`: what a store holds, what is wrong in it, how versions differ, and what may go."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from tests.bundles.test_bundle import manifest
from tests.bundles.test_evidence import evidence
from tests.bundles.test_publishing import KEY, PUBLIC
from tests.promises.model_server import good_bundle, poisoned, wrong_bundle
from tradingsystem.bundles.bundle import Bundle
from tradingsystem.bundles.publishing import Draft, publish, version_numbers
from tradingsystem.cli.application import application
from tradingsystem.domain.errors import InvalidInput
from tradingsystem.features.catalogue import schema_hash
from tradingsystem.process.serving import PUBLIC_KEY_FILE
from tradingsystem.spec.load import load_file

SAMPLE = Path(__file__).parents[2] / "manifests" / "samples" / "simulation.yaml"


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No system of this machine is asked."""
    monkeypatch.setenv("TRADINGSYSTEM_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "250")


def run(*words: object) -> tuple[int, str]:
    """Exit status and what was printed."""
    found = CliRunner().invoke(application("models"), ["models", *map(str, words)], catch_exceptions=False)
    return found.exit_code, found.output


def put(store: Path, bundle: Bundle, schema: str = "", with_evidence: bool = False) -> int:
    """Publish it as the next version."""
    own = msgspec.structs.replace(
        manifest(), version=0, feature_schema=schema or schema_hash(), created=f"2026-03-0{bundle.manifest.version}"
    )
    draft = Draft(own, bundle.int8_graph, bundle.float_graph, bundle.golden, evidence() if with_evidence else None, "")
    return publish(store, draft, KEY).version


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Versions 1 to 3, all good and all different; 3 carries evidence."""
    folder = tmp_path / "store"
    for version in (1, 2, 3):
        put(folder, good_bundle(version, seed=version), with_evidence=version == 3)
    (folder / PUBLIC_KEY_FILE).write_text(PUBLIC.hex(), encoding="ascii")
    return folder


def test_a_list_says_what_would_serve_and_why_the_rest_may_not(store: Path) -> None:
    """The highest that verifies; a damaged one is named with its file, and its figures are not believed."""
    (store / "3" / "golden.npz").write_bytes(b"garbage")
    status, told = run("list", "--store", store)
    assert status == 0, told
    lines = {line.split()[0]: line for line in told.splitlines() if "may not serve:" not in line}
    assert "the next best; verified" in lines["1"]
    assert "would serve; verified" in lines["2"]
    assert "may NOT serve" in lines["3"]
    assert f"3 may not serve: {store}/3/golden.npz: sha256 is" in told
    assert "2026-03-03" not in lines["3"]
    found = {one["version"]: one for one in json.loads(run("list", "--store", store, "--json")[1])}
    assert [found[version]["verified"] for version in (1, 2, 3)] == [True, True, False]
    assert "golden.npz" in found[3]["reason"]
    assert (found[2]["roles"], found[2]["created"], found[2]["logLoss"]) == (["would serve"], "2026-03-02", 0.69)


def test_the_packages_own_versions_are_what_is_looked_at_unless_another_store_is_named() -> None:
    """Nothing runs and no folder is given: bundle 1, which verifies, and which nobody removes."""
    assert json.loads(run("list", "--json")[1])[0]["verified"]
    assert run("verify")[0] == 0
    assert "simulated data" in run("show", 1)[1]
    with pytest.raises(InvalidInput, match="belong to the package"):
        run("gc", "--keep", 1)


def test_a_version_tells_what_it_shows_for_itself(store: Path) -> None:
    """Manifest, calibration, quantisation and the evidence in a few numbers; one without evidence says so."""
    status, told = run("show", 3, "--store", store)
    assert status == 0, told
    for said in ("standard error 0.1", "rank correlation 1.0", "against version 1, simulated data", "0.97", "blocks with trades"):
        assert said in " ".join(told.split()), said
    shown = json.loads(run("show", 3, "--store", store, "--json")[1])
    assert shown["manifest"]["version"] == 3
    assert shown["evidence"]["mean difference, basis points a block"] == 1.0
    assert "only a person can promote it" in run("show", 1, "--store", store)[1]
    with pytest.raises(InvalidInput, match="No such file"):
        run("show", 9, "--store", store)


def test_each_fault_is_found_and_named_with_its_file(store: Path) -> None:
    """A changed byte, a foreign signature, other features, a graph that does not run, answers that were not signed, answers that are none: status 1."""
    assert run("verify", "--store", store)[0] == 0
    good = good_bundle(4)
    put(store, good, schema="0" * 64)
    put(store, Bundle(good.manifest, b"garbage", good.float_graph, good.golden))
    put(store, wrong_bundle(4))
    put(store, Bundle(good.manifest, poisoned(good.int8_graph), good.float_graph, good.golden))
    for name in ("fused.int8.onnx", "golden.npz"):
        (store / "1" / name).write_bytes(b"garbage")
    (store / "2" / "manifest.sig").write_bytes(bytes(64))
    status, told = run("verify", "--store", store)
    assert status == 1
    for said in (
        f"Corrupt: {store}/1/fused.int8.onnx: sha256 is",
        f"Corrupt: {store}/1/golden.npz: sha256 is",
        f"Unsigned: {store}/2/manifest.json: the signature does not match",
        "3: as it was signed",
        f"WrongSchema: {store}/4/manifest.json: it was trained on another set of features",
        f"Corrupt: {store}/5/fused.int8.onnx: onnxruntime refuses",
        f"WrongAnswers: {store}/6/golden.npz: bundle 6: golden vectors differ",
        f"NotFinite: {store}/7/golden.npz: bundle 7: a golden vector's answer is no probability",
    ):
        assert said in told, told
    assert run("verify", 3, "--store", store)[0] == 0
    status, told = run("verify", 3, 9, "--store", store)
    assert (status, "VersionNotFound" in told) == (1, True), told


def test_two_versions_are_held_against_each_other(store: Path) -> None:
    """What they say and what they answer; a version differs from itself in nothing."""
    status, told = run("diff", 1, 2, "--store", store)
    assert status == 0, told
    assert "created" in told
    assert "files.fused.int8.onnx" in told
    answers = json.loads(run("diff", 1, 2, "--store", store, "--json")[1])["answers"]
    assert answers["rows"] == 16
    assert -1.0 <= answers["rank_correlation"] < 1.0
    assert 0.0 < answers["difference_max"] <= 1.0
    same = json.loads(run("diff", 1, 1, "--store", store, "--json")[1])
    assert (same["fields"], same["answers"]["rank_correlation"], same["answers"]["decisions_changed"]) == ({}, pytest.approx(1.0), 0.0)
    number = put(store, good_bundle(4), schema="0" * 64)
    assert "No answers are compared" in run("diff", 1, number, "--store", store)[1]


def test_a_pin_is_printed_and_written_only_when_asked(store: Path, tmp_path: Path) -> None:
    """The edit, and what applies it here and in a cluster; a version that may not serve from the named store is refused."""
    file = tmp_path / "system.yaml"
    shutil.copy(SAMPLE, file)
    status, told = run("pin", 2, file)
    assert status == 0, told
    assert "+  models: {pinnedVersion: 2}" in told
    assert (
        """kubectl patch tradingsystem simulation --namespace default --type merge --patch '{"spec":{"models":{"pinnedVersion":2}}}'"""
        in told
    )
    assert file.read_bytes() == SAMPLE.read_bytes()
    with pytest.raises(InvalidInput, match="version 9 may not serve"):
        run("pin", 9, file, "--write", "--store", store)
    assert file.read_bytes() == SAMPLE.read_bytes()
    run("pin", 2, file, "--write", "--store", store)
    assert load_file(file).spec.models.pinned_version == 2
    assert "pinned already" in run("pin", 2, file)[1]


def test_room_is_made_of_what_nobody_needs(store: Path) -> None:
    """The newest, what would serve, what would serve in its place and a given pin stay; a dry run only says it."""
    for seed in (4, 5, 6):
        put(store, good_bundle(seed, seed=seed))
    for version in ("5", "6"):
        (store / version / "golden.npz").write_bytes(b"garbage")  # 4 would serve, in its place 3
    words = ("gc", "--keep", 1, "--pinned", 1, "--store", store)
    assert "would remove: 2, 5\n" in run(*words, "--dry-run")[1]
    assert version_numbers(store) == [1, 2, 3, 4, 5, 6]
    status, told = run(*words)
    assert status == 0, told
    assert version_numbers(store) == [1, 3, 4, 6]
    assert "removed: none" in run(*words)[1]


def test_what_is_no_store_is_said(tmp_path: Path) -> None:
    """One message that names the folder and what would be right."""
    for verb in (("list",), ("verify",), ("show", 1), ("diff", 1, 2), ("gc", "--keep", 1)):
        with pytest.raises(InvalidInput, match="no such folder"):
            run(*verb, "--store", tmp_path / "none")
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(InvalidInput, match="holds no version"):
            run(*verb, "--store", tmp_path / "empty")
    (tmp_path / "empty" / "1").mkdir()
    (tmp_path / "empty" / PUBLIC_KEY_FILE).write_text("no key", encoding="ascii")
    with pytest.raises(InvalidInput, match=PUBLIC_KEY_FILE):
        run("list", "--store", tmp_path / "empty")


@pytest.mark.parametrize("verb", ["list", "show", "verify", "diff", "pin", "gc"])
def test_help_teaches_with_an_example(verb: str) -> None:
    """Of every command."""
    assert f"Example: tradingsystem models {verb}" in " ".join(run(verb, "--help")[1].split())
