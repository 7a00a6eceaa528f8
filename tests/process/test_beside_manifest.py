"""What a manifest names that others made, as files beside it: read as they stand, and every mistake in them told before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.spec.documents import system
from tradingsystem.domain.errors import InvalidInput
from tradingsystem.process.beside_manifest import recorded_folder, with_listed_symbols
from tradingsystem.spec import Placement, plan
from tradingsystem.spec.universe import Selection

MAPPED = system({"spec.universe": {"selection": "ConfigMap", "configMapRef": {"name": "my-list"}, "symbolsMax": 3}})
RECORDED = system({"spec.simulation": {"source": "Recorded", "dataClaimName": "days", "data": "2013/lean"}})


def test_the_file_beside_the_manifest_is_the_universe(tmp_path: Path) -> None:
    """Comments, blank lines and repeats are nothing. What is planned holds the symbols: another list is another boot configuration."""
    manifest = tmp_path / "system.yaml"
    (tmp_path / "my-list").write_text("# ours\nAAPL\n\n BRK.B  # class B\nAAPL\n", encoding="utf-8")
    listed = with_listed_symbols(MAPPED, manifest)
    assert (listed.spec.universe.selection, listed.spec.universe.symbols) == (Selection.LIST, ("AAPL", "BRK.B"))
    (tmp_path / "my-list").write_text("AAPL\n", encoding="utf-8")
    hashes = {plan(one, Placement.PROCESSES).boot_hash for one in (listed, with_listed_symbols(MAPPED, manifest))}
    assert len(hashes) == 2
    for other in (system(), system({"spec.universe": {"selection": "List", "symbols": ["SPY"]}})):
        assert with_listed_symbols(other, manifest) == other


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, ["my-list: cannot read the list of symbols (No such file or directory)"]),
        (b"\xff\xfe", ["it is not text"]),
        (b"# nothing\n", ["it names no symbol"]),
        (b"AAPL\nnot a symbol\n$$$\n", ["my-list, line 2: 'not a symbol'", "my-list, line 3: '$$$'"]),
        (b"A\nB\nC\nD\n", ["4 symbols, and universe.symbolsMax allows 3"]),
        (b"$\n" * 21, ["line 20: ", "and 1 more"]),
    ],
)
def test_what_is_wrong_with_the_list_is_told_before_anything_starts(tmp_path: Path, content: bytes | None, told: list[str]) -> None:
    """All at once, with file and line."""
    if content is not None:
        (tmp_path / "my-list").write_bytes(content)
    with pytest.raises(InvalidInput) as refused:
        with_listed_symbols(MAPPED, tmp_path / "system.yaml")
    assert [words for words in told if words not in str(refused.value)] == []


def test_a_volume_claim_is_a_folder_of_its_name_beside_the_manifest(tmp_path: Path) -> None:
    """The same file runs here and in a cluster; who names a path of this machine, or plays nothing recorded, has no such folder."""
    manifest = tmp_path / "system.yaml"
    with pytest.raises(InvalidInput, match=r"dataClaimName: .*/days: no such folder"):
        recorded_folder(RECORDED, manifest)
    (tmp_path / "days").mkdir()
    with pytest.raises(InvalidInput, match=r"simulation\.data: .*/days/2013/lean: not in the folder"):
        recorded_folder(RECORDED, manifest)
    (tmp_path / "days/2013/lean").mkdir(parents=True)
    assert recorded_folder(RECORDED, manifest) == tmp_path / "days/2013/lean"
    for other in ({}, {"spec.simulation": {"source": "Recorded", "data": "/somewhere"}}):
        assert recorded_folder(system(other), manifest) is None
