"""The universe as a file beside the manifest: read as it stands, and every mistake in it told with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.spec.documents import system
from tradingsystem.domain.errors import InvalidInput
from tradingsystem.process.symbols_file import chosen_symbols, symbols_file_of
from tradingsystem.spec.universe import Universe


def universe(**changes: object) -> Universe:
    return system({f"spec.universe.{name}": value for name, value in changes.items()}).spec.universe


MAPPED = universe(selection="ConfigMap", configMapRef={"name": "my-list"}, symbolsMax=3)


def test_the_file_beside_the_manifest_is_the_universe(tmp_path: Path) -> None:
    """Comments, blank lines and repeats are nothing; no other selection looks for a file."""
    (tmp_path / "my-list").write_text("# ours\nAAPL\n\n BRK.B  # class B\nAAPL\n", encoding="utf-8")
    file = symbols_file_of(MAPPED, tmp_path / "system.yaml")
    assert file == tmp_path / "my-list"
    assert chosen_symbols(MAPPED, file) == {"AAPL", "BRK.B"}
    assert symbols_file_of(universe(), tmp_path / "system.yaml") is None
    assert chosen_symbols(universe(), None) is None
    assert chosen_symbols(universe(selection="List", symbols=["SPY"]), None) == {"SPY"}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, ["my-list: cannot read the list of symbols (No such file or directory)"]),
        (b"\xff\xfe", ["it is not text"]),
        (b"# nothing\n", ["it names no symbol"]),
        (b"AAPL\nnot a symbol\n$$$\n", ["my-list, line 2: 'not a symbol'", "my-list, line 3: '$$$'"]),
        (b"A\nB\nC\nD\n", ["4 symbols, and universe.symbolsMax allows 3"]),
    ],
)
def test_what_is_wrong_with_it_is_told_before_anything_starts(tmp_path: Path, content: bytes | None, told: list[str]) -> None:
    """All at once, with file and line."""
    if content is not None:
        (tmp_path / "my-list").write_bytes(content)
    with pytest.raises(InvalidInput) as refused:
        symbols_file_of(MAPPED, tmp_path / "system.yaml")
    assert [words for words in told if words not in str(refused.value)] == []
