"""`tradingsystem learn` says in one message what is in the way, and does a job once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.world.learning_data import some_days
from tradingsystem.cli.application import application
from tradingsystem.domain.errors import InvalidInput
from tradingsystem.learning.ledger import FILE_NAME, Ledger, Trial
from tradingsystem.world import learning_days
from tradingsystem.world.learning_store import KEY_NAME, PUBLIC_KEY_NAME, NotAuthorized, gather, signing_key


def run(*words: str) -> tuple[int, str]:
    """Exit status and what was printed."""
    found = CliRunner().invoke(application("learn"), ["learn", *words], catch_exceptions=False)
    return found.exit_code, found.output


def key_file(folder: Path) -> Path:
    """A private key as a person would keep it."""
    path = folder / "key"
    path.write_text("07" * 32 + "\n", encoding="ascii")
    path.chmod(0o600)
    return path


def test_an_empty_folder_is_an_empty_window(tmp_path: Path) -> None:
    """No recordings: the outcome by name, a page, and no candidate; asked for again it is the same."""
    (tmp_path / "runs").mkdir()
    words = ("incremental", "--runs", str(tmp_path / "runs"), "--store", str(tmp_path / "store"), "--key", str(key_file(tmp_path)))
    for _ in range(2):
        status, told = run(*words, "--report", str(tmp_path / "reports"), "--scheduled-at", "2026-03-02T23:30")
        assert (status, "EmptyWindow" in told) == (0, True)
    assert (tmp_path / "reports" / "learn-incremental.html").is_file()
    assert [path.name for path in (tmp_path / "store").iterdir() if path.name.isdecimal()] == ["1"]


def test_torch_that_is_not_there_is_said_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that fitted with something else than it was told would not be the one that was asked for."""
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InvalidInput, match="PyTorch cannot be loaded"):
        run("retrain", "--torch", "--runs", str(tmp_path), "--store", str(tmp_path / "store"))
    assert not (tmp_path / "store").exists()


def test_without_a_key_another_try_is_worth_it(tmp_path: Path) -> None:
    """NoKey ends with 1, so that the cluster tries again, and says where the key would have to be."""
    (tmp_path / "runs").mkdir()
    status, told = run(
        "retrain", "--runs", str(tmp_path / "runs"), "--store", str(tmp_path / "store"), "--report", str(tmp_path / "reports")
    )
    assert (status, "NoKey" in told, "--key" in told) == (1, True, True)


def test_recordings_become_one_candidate_an_hour_which_a_backtest_looks_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Published once; run again for its hour nothing is done; then a look at it is counted."""
    days = some_days(5, 800, 0.6)
    monkeypatch.setattr(learning_days, "load_days", lambda *_: days)
    (tmp_path / "runs").mkdir()
    folders = ("--runs", str(tmp_path / "runs"), "--store", str(tmp_path / "store"))
    words = (
        "retrain",
        *folders,
        "--key",
        str(key_file(tmp_path)),
        "--report",
        str(tmp_path / "reports"),
        "--scheduled-at",
        "2026-03-02T23:30",
    )
    status, told = run(*words)
    assert (status, "Published version 2" in told) == (0, True), told
    assert "AlreadyPublished: version 2" in run(*words)[1]
    status, told = run("backtest", *folders, "--version", "2")
    assert (status, "look 2 at these sessions" in told) == (0, True), told
    assert [trial.job for trial in Ledger(tmp_path / "store" / FILE_NAME).trials()] == ["retrain", "backtest"]


def test_a_version_that_is_not_there_is_said(tmp_path: Path) -> None:
    """One message, no traceback."""
    (tmp_path / "runs").mkdir()
    with pytest.raises(InvalidInput, match="No such file"):
        run("backtest", "--runs", str(tmp_path / "runs"), "--store", str(tmp_path), "--version", "9")
    with pytest.raises(InvalidInput, match="no such folder"):
        run("incremental", "--runs", str(tmp_path / "none"), "--store", str(tmp_path / "store"))
    with pytest.raises(InvalidInput, match="not a time like"):
        run("incremental", "--runs", str(tmp_path / "runs"), "--store", str(tmp_path / "store"), "--scheduled-at", "tonight")


def test_a_key_that_others_can_read_or_that_is_none_is_refused(tmp_path: Path) -> None:
    """The remedy is in the message, the key is not."""
    path = key_file(tmp_path)
    path.chmod(0o644)
    with pytest.raises(NotAuthorized, match="chmod 600"):
        signing_key(path, "")
    path.chmod(0o600)
    path.write_text("zz" * 32, encoding="ascii")
    with pytest.raises(NotAuthorized, match="tradingsystem learn key") as refused:
        signing_key(path, "")
    assert "zz" not in str(refused.value)
    secret = tmp_path / "momentum-bundle-signing"
    secret.mkdir()
    (secret / KEY_NAME).write_text("07" * 32, encoding="ascii")
    assert signing_key(None, "momentum", tmp_path).private_bytes_raw().hex() == "07" * 32


def test_a_key_is_made_once(tmp_path: Path) -> None:
    """The private half for its owner alone, the public half for the pods that verify; asked again, both are as they were."""
    folder = tmp_path / "keys"
    assert "made" in run("key", str(folder))[1]
    private, public = folder / KEY_NAME, folder / PUBLIC_KEY_NAME
    before = private.read_text()
    assert private.stat().st_mode & 0o777 == 0o600
    assert signing_key(private, "").public_key().public_bytes_raw().hex() == public.read_text().strip()
    public.unlink()
    assert "kept" in run("key", str(folder))[1]
    assert (private.read_text(), len(public.read_text().strip())) == (before, 64)


def test_what_demos_noted_counts_among_the_trials(tmp_path: Path) -> None:
    """A run's own ledger is taken over once."""
    run_folder, store = tmp_path / "demo-1", tmp_path / "store"
    Ledger(run_folder / FILE_NAME).append(
        [Trial(identity="demo/a", job="demo", data_kind="recorded", sessions=("2013-10-07",), outcome="Looked")]
    )
    assert gather([run_folder], store) == 1
    assert gather([run_folder], store) == 0
    assert [trial.identity for trial in Ledger(store / FILE_NAME).trials()] == ["demo/a"]
