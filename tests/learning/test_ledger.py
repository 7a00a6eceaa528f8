"""The ledger forgets no trial and lets none be removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tradingsystem.learning.ledger import DamagedLedger, Ledger, Trial, ratios_of, tried_on


def trial(name: str, session: str = "2026-03-02", sharpe: float | None = 0.1) -> Trial:
    """A trial on one session."""
    return Trial(identity=name, job="retrain", data_kind="recorded", sessions=(session,), outcome="Published", sharpe=sharpe)


def test_a_trial_is_counted_once_however_often_its_job_ran(tmp_path: Path) -> None:
    """The same identity again adds nothing, a new one does."""
    ledger = Ledger(tmp_path / "deeper" / "trials.jsonl")
    assert ledger.trials() == ()
    assert ledger.append([trial("a"), trial("b"), trial("a")]) == 2
    assert ledger.append([trial("b"), trial("c", "2026-03-03", None)]) == 1
    assert [one.identity for one in ledger.trials()] == ["a", "b", "c"]
    assert [one.identity for one in tried_on(ledger.trials(), ["2026-03-02"])] == ["a", "b"]
    assert ratios_of(ledger.trials()).tolist() == [0.1, 0.1]


def test_a_crash_in_the_middle_of_a_line_loses_that_line_only(tmp_path: Path) -> None:
    """Half a line at the end is no trial, and the next one takes its place."""
    path = tmp_path / "trials.jsonl"
    Ledger(path).append([trial("a"), trial("b")])
    path.write_bytes(path.read_bytes()[:-7])
    assert [one.identity for one in Ledger(path).trials()] == ["a"]
    Ledger(path).append([trial("c")])
    assert [one.identity for one in Ledger(path).trials()] == ["a", "c"]


@pytest.mark.parametrize(
    "change", [lambda lines: lines[1:], lambda lines: [lines[0], lines[2]], lambda lines: [lines[0].replace(b"0.1", b"0.9"), *lines[1:]]]
)
def test_a_removed_or_altered_trial_is_found(tmp_path: Path, change: object) -> None:
    """Who takes a bad trial out of the ledger is told on."""
    path = tmp_path / "trials.jsonl"
    Ledger(path).append([trial(name) for name in "abc"])
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))  # type: ignore[operator]
    with pytest.raises(DamagedLedger, match="line"):
        Ledger(path).trials()
    with pytest.raises(DamagedLedger):
        Ledger(path).append([trial("d")])
