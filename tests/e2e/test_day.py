"""A whole simulated day through real processes: it trades, ends flat, the wire auditor agrees, and it can be made again byte for byte.

On the way another model version takes over, and the venues' raw frames are kept.
"""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import yaml

from tests.e2e.commands import command
from tests.e2e.running import PROGRAM, Running, manifest
from tradingsystem.bundles.bundle import read_bundle, write_bundle
from tradingsystem.domain.signals import Cut
from tradingsystem.messages.codec import decode
from tradingsystem.process.serving import PUBLIC_KEY_FILE, SHIPPED_MODELS, shipped_key
from tradingsystem.world.recipe import recipe_key
from tradingsystem.world.replay import journal_of

SPEED = 300
COVER_SECONDS = 3 + SPEED * 0.05

pytestmark = [pytest.mark.nats, pytest.mark.slow, pytest.mark.timeout(600)]


def two_versions(folder: Path) -> Path:
    """A models' folder with the shipped bundle as version 1 and as version 2."""
    shutil.copytree(SHIPPED_MODELS, folder)
    shipped = read_bundle(folder / "1", shipped_key())
    second = msgspec.structs.replace(shipped.manifest, version=2)
    write_bundle(folder / "2", second, shipped.int8_graph, shipped.float_graph, shipped.golden, recipe_key())
    assert (folder / PUBLIC_KEY_FILE).is_file()
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions that may serve."""
    return two_versions(tmp_path_factory.mktemp("bundles") / "models")


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Running]:
    """A finished day with probes as signals, in which a person pinned a version, and one that is not there."""
    folder = tmp_path_factory.mktemp("day")
    document = manifest("day", seed=11, speed=SPEED, symbols=120, signals="Probe")
    for source in document["spec"]["sources"]:
        source["recordFrames"] = True
    running = Running.start(document, folder, "--models", str(models))
    try:
        running.wait_for("all ready")
        said = []
        for version in (1, 9):
            document["spec"]["models"] = {"pinnedVersion": version}
            file = folder / f"pinned-{version}.yaml"
            file.write_text(yaml.safe_dump(document))
            said.append(command("apply", str(file), state=running.state.parent))
        assert said[0].returncode == 0, said[0].stderr
        assert "generation 1 is in force (trading.state Active, model 1)" in said[0].stdout
        assert said[1].returncode == 2
        assert "9 may not serve, and version 1 goes on serving" in said[1].stderr
        assert running.finish() == 0, "\n".join(running.lines)
        yield running
    finally:
        running.stop()


def test_the_day_trades_and_ends_flat_by_the_auditor_s_word(day: Running) -> None:
    """Orders were filled, nothing was sold twice or left uncovered, and nothing is held."""
    found = day.audit(COVER_SECONDS)
    assert found["executions"] >= 2, found
    assert found["flat"]


def test_no_process_is_left(day: Running) -> None:
    """What was started has ended with it: no pid of the run is alive."""
    output = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(day.run_folder) not in output


def test_the_pinned_model_took_over_at_one_cut(day: Running) -> None:
    """Version 2, the newest, until the pin stood on the tape; version 1 from then on, also after a pin that may not serve."""
    journal = journal_of(day.run_folder / "recording")
    cuts = [cut for record in journal if record.subject.endswith(".cut") for cut in decode(record.payload, list[Cut])]
    assert [version for version, _ in itertools.groupby(cut.model for cut in cuts)] == [2, 1]


def replay(folder: Path, *options: str) -> str:
    """The hash that a replay prints; fails when anything differs."""
    result = subprocess.run([str(PROGRAM), "replay", str(folder), *options], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout.split()[-1]


def test_replayed_in_one_process_and_in_several_it_is_the_same_day(day: Running, models: Path) -> None:
    """Every cut, signal and action comes out again with the same bytes, whatever pauses are put in between."""
    once = replay(day.run_folder, "--models", str(models))
    assert replay(day.run_folder, "--models", str(models), "--processes", "--times", "2", "--delays", "5") == once


def test_its_raw_frames_play_again(day: Running) -> None:
    """The run's folder is a recorded day like any other: every symbol, trades, quotes and bars, VIX as it was told, and nothing that cannot be played."""
    answer = command("data", "import", str(day.run_folder), state=day.state.parent)
    assert answer.returncode == 0, answer.stderr
    assert "It can be played" in answer.stdout
    for words in ("trades", "quotes", "second bars", "minute bars", "indexs"):
        assert words in answer.stdout
    assert "noticed" not in answer.stdout
