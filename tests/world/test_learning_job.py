"""A learning job ends with one signed candidate or with the name of what was in the way, and says honestly what it found."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.bundles.test_publishing import fill, tiny_disk
from tests.world.learning_data import rows_of, some_days
from tradingsystem.bundles.bundle import Bundle, read_bundle
from tradingsystem.learning.ledger import FILE_NAME, Ledger
from tradingsystem.world.learning_days import Days
from tradingsystem.world.learning_job import Job, Learned, Outcome, learn
from tradingsystem.world.learning_page import render
from tradingsystem.world.learning_store import champion_of, earlier, prepare

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
TOLD = some_days(6, 900, 0.6)


def job(store: Path, hour: str = "2026-03-10T23:30", key: Ed25519PrivateKey | None = KEY, window: int = 0) -> Job:
    """A retraining of that hour, beside bundle 1."""
    prepare(store, key)
    champion: Bundle = champion_of(store, 1, key)
    return Job(
        name="retrain", identity=f"test/retrain/{hour}", store=store, key=key, champion=champion, window=window, created=date(2026, 3, 10)
    )


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Learned]:
    """A store after one job on days that have something to say."""
    store = tmp_path_factory.mktemp("store")
    return store, learn(job(store), TOLD)


def test_days_with_something_to_say_give_a_candidate_with_evidence(published: tuple[Path, Learned]) -> None:
    """The candidate verifies, is better than the base rate on later rows, names its data, and holds itself against what serves, block by block."""
    store, learned = published
    assert learned.outcome is Outcome.PUBLISHED, learned.why
    bundle = read_bundle(store / str(learned.version), KEY.public_key().public_bytes_raw())
    assert (learned.version, bundle.manifest.training_data_kind, bundle.manifest.valid_until) == (2, "recorded", "2026-03-24")
    assert bundle.manifest.metrics.log_loss < bundle.manifest.metrics.log_loss_base - 0.01
    assert bundle.manifest.quantisation.rank_correlation > 0.99
    assert set(bundle.manifest.quantisation.calibration_rows) == {"Bull", "Bear", "Neutral"}
    assert bundle.manifest.quantisation.latency[0].rows == 1
    assert bundle.evidence is not None
    assert bundle.evidence.champion == 1
    assert len(bundle.evidence.blocks) > 78
    assert sum(block.challenger_return_basis_points for block in bundle.evidence.blocks) > 0
    assert len(learned.folds) == 4
    assert learned.traded[0].challenger.sum_basis_points > learned.traded[1].challenger.sum_basis_points


def test_the_same_job_of_the_same_hour_gives_one_candidate_and_one_trial(published: tuple[Path, Learned]) -> None:
    """Run again after a crash it finds its own; another hour is another trial, and knows of the first."""
    store, learned = published
    again = learn(job(store), TOLD)
    assert (again.outcome, again.version) == (Outcome.ALREADY_PUBLISHED, learned.version)
    assert earlier(store, learned.identity) == learned.version
    other = learn(job(store, hour="2026-03-11T23:30"), TOLD)
    assert other.version == learned.version + 1
    assert learned.evidence is not None
    assert other.evidence is not None
    assert (learned.evidence.trials, other.evidence.trials) == (1, 2)
    assert len(Ledger(store / FILE_NAME).trials()) == 2


def test_the_report_says_what_was_found(published: tuple[Path, Learned]) -> None:
    """The page needs nothing from outside and leads with the findings."""
    page = render(published[1])
    assert "below the base rate" in page
    assert "tried on these sessions" in page
    assert "the gate, asked beforehand" in page
    assert "http-equiv" not in page


def test_noise_is_called_noise(tmp_path: Path) -> None:
    """Where features know nothing the candidate says so, and what it shows does not pass for better."""
    learned = learn(job(tmp_path), some_days(6, 600, 0.0))
    assert learned.outcome is Outcome.PUBLISHED
    assert learned.metrics is not None
    assert learned.metrics.log_loss > learned.metrics.log_loss_base - 0.005
    assert abs(learned.metrics.area_under_curve - 0.5) < 0.06
    assert learned.gate.startswith(("NotEnoughData", "NotBetter"))


CASES = {
    "no session": (Days((), ()), Outcome.EMPTY_WINDOW),
    "no row": (Days(tuple(replace(day, rows=day.rows.take(np.zeros(0, np.intp))) for day in TOLD.days), ()), Outcome.EMPTY_WINDOW),
    "one outcome": (some_days(3, 300, 0.0, reach=0.0), Outcome.ONE_CLASS),
    "hardly a row": (some_days(3, 40, 0.5), Outcome.NOT_ENOUGH_DATA),
    "labels in a feature": (some_days(4, 500, 0.2, leak=1.0), Outcome.LEAKED_LABELS),
    "nothing moves": (
        Days(tuple(replace(day, rows=replace(day.rows, features=np.ones_like(day.rows.features))) for day in TOLD.days), ()),
        Outcome.CONSTANT_FEATURES,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_data_that_gives_no_model_has_a_named_outcome(tmp_path: Path, case: str) -> None:
    """Nothing is published, and the reason is in the report."""
    days, outcome = CASES[case]
    learned = learn(job(tmp_path), days)
    assert learned.outcome is outcome, learned.why
    assert learned.why
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.isdecimal()) == ["1"]
    assert outcome.value in render(learned)


def test_a_leak_is_refused_by_the_name_of_its_test(tmp_path: Path) -> None:
    """The person sees which feature, by which test, and how far above the bound."""
    learned = learn(job(tmp_path), CASES["labels in a feature"][0])
    assert learned.why[0].startswith("single-feature rank: microprice_offset alone orders the outcomes with area 0.9")


def test_without_a_key_nothing_is_learned(tmp_path: Path) -> None:
    """An unsigned candidate would load nowhere."""
    assert learn(job(tmp_path, key=None), TOLD).outcome is Outcome.NO_KEY


def test_a_store_that_cannot_be_written_is_told_and_stays_as_it_was(tmp_path: Path) -> None:
    """A file stands where the job stages its bundle: no candidate, the reason by name."""
    work = job(tmp_path)
    (tmp_path / FILE_NAME).mkdir()
    learned = learn(work, TOLD)
    assert learned.outcome is Outcome.NOT_PUBLISHED
    assert FILE_NAME in learned.why[0]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.isdecimal()) == ["1"]


def test_one_simulated_day_makes_all_of_it_simulated(tmp_path: Path) -> None:
    """What is learned from a generated market opens nothing outside Simulation, however many real days are beside it."""
    one = some_days(1, 900, 0.6, kind="simulated").days
    learned = learn(job(tmp_path), Days((*one, *TOLD.days[1:]), ()))
    bundle = read_bundle(tmp_path / str(learned.version), KEY.public_key().public_bytes_raw())
    assert bundle.manifest.simulated


def test_what_is_older_than_the_window_is_kept_as_a_sample(tmp_path: Path) -> None:
    """An incremental job learns from its window and from the reservoir of what is older."""
    learned = learn(job(tmp_path, window=4), TOLD)
    assert learned.kept_rows == 1_800
    assert sum(learned.parts) < 4 * 900


def test_rows_are_made_of_seed_alone() -> None:
    """These tests see the same rows every time."""
    session = TOLD.days[0].session
    assert rows_of(session, 50, 3, 0.5).digest() == rows_of(session, 50, 3, 0.5).digest()


__all__ = ["tiny_disk"]  # a fixture, found by its name


@pytest.mark.tmpfs
def test_a_full_disk_publishes_nothing_and_counts_once(tiny_disk: Path) -> None:
    """Named, the store as it was; with room again the same job publishes, and is one trial."""
    store = tiny_disk / "store"
    work = job(store)
    ballast = fill(tiny_disk)
    learned = learn(work, TOLD)
    assert learned.outcome is Outcome.NOT_PUBLISHED
    assert "No space left on device" in learned.why[0]
    ballast.unlink()
    assert learn(work, TOLD).version == 2
    assert len(Ledger(store / FILE_NAME).trials()) == 1


class KilledWhileSigning:
    """A key of a job that dies in the moment in which it would sign."""

    def public_key(self) -> object:
        """The other half, which is asked for before."""
        return KEY.public_key()

    def sign(self, _: bytes) -> bytes:
        """Never returns."""
        raise KeyboardInterrupt


def test_a_job_that_is_killed_has_been_counted_and_gives_one_candidate_when_it_runs_again(tmp_path: Path) -> None:
    """Killed at the last moment, its trial is in the ledger and nothing is in the store; run again, there is one of each."""
    work = job(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        learn(replace(work, key=KilledWhileSigning()), TOLD)  # type: ignore[arg-type]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.isdecimal()) == ["1"]
    assert len(Ledger(tmp_path / FILE_NAME).trials()) == 1
    assert learn(work, TOLD).version == 2
    assert len(Ledger(tmp_path / FILE_NAME).trials()) == 1
