"""`report`, `data import` and `doctor`: what they print, and that every mistake is a sentence with status 1 or 2."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import typer

from tests.cli.test_commands import SAMPLES, command
from tests.world.recordings import record, traded_day
from tradingsystem.cli.data import import_folder
from tradingsystem.cli.doctor import doctor
from tradingsystem.cli.report import report
from tradingsystem.domain.errors import InvalidInput


def test_report_writes_a_page_and_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """RUN in, one file out, its folder made."""
    target = tmp_path / "new" / "page.html"
    report(record(tmp_path, traded_day()), target)
    told = capsys.readouterr().out
    assert "1 signals, 1 orders, 2 executions." in told
    assert f"Look: {target}" in told
    assert target.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_report_to_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """The path and the reason, no traceback."""
    with pytest.raises(InvalidInput, match="cannot be written"):
        report(record(tmp_path, traded_day()), tmp_path / "recording")


def lean_day(folder: Path, rows: str) -> None:
    """One symbol's trades of one day in LEAN's form."""
    (folder / "tick").mkdir(parents=True)
    with zipfile.ZipFile(folder / "tick" / "abc-20131007_trade.zip", "w") as archive:
        archive.writestr("20131007_abc_Trade_Tick.csv", rows)


def test_import_says_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Days, symbols, rows, and the command that plays them."""
    lean_day(tmp_path, "34200000,100000,100,P,0,0\n34201000,100100,200,P,0,0\n")
    import_folder(tmp_path)
    told = capsys.readouterr().out
    for words in ("2013-10-07", "1 symbols: ABC", "2 trades", f"tradingsystem demo --data {tmp_path} --date 2013-10-07"):
        assert words in told


def test_import_names_file_and_line_of_damage(tmp_path: Path) -> None:
    """As a process: status 2, no traceback; a day that cannot be played is not called valid."""
    lean_day(tmp_path, "34200000,100000,100,P,0,0\n34201000,-5,200,P,0,0\n")
    answer = command("data", "import", str(tmp_path))
    assert answer.returncode == 2
    assert "abc-20131007_trade.zip, line 2" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_import_of_an_empty_folder_says_what_was_expected(tmp_path: Path) -> None:
    """The forms it can read, by name."""
    with pytest.raises(InvalidInput, match="trades_v1"):
        import_folder(tmp_path)
    with pytest.raises(InvalidInput, match="no such folder"):
        import_folder(tmp_path / "none")


def test_doctor_of_a_simulation_needs_no_keys(capsys: pytest.CaptureFixture[str]) -> None:
    """The message server is there, no key is asked for, and the status says whether anything is wrong."""
    with pytest.raises(typer.Exit) as ended:
        doctor(SAMPLES / "simulation.yaml")
    told = capsys.readouterr().out
    assert "ok     keys: none are needed" in told
    assert "ok     message server" in told
    assert (ended.value.exit_code == 1) == ("wrong" in told)
