"""The parts of a process: its life, its secrets, what it is told, where it is found."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.process.systems import small_run
from tradingsystem.domain.errors import BrokenInvariant, InvalidInput, NotAuthorized
from tradingsystem.process.assignment import Assignment, parse
from tradingsystem.process.build import build_digest
from tradingsystem.process.lifecycle import Lifecycle, Phase
from tradingsystem.process.secrets import Secrets
from tradingsystem.process.state import StateFolder, find_running
from tradingsystem.process.supervisor import last_reason
from tradingsystem.process.venues import SIMULATED_KEY, venues_of
from tradingsystem.spec import Mode, SecretKey, SecretNeed

CANARY = "canary-7f3a"


def test_a_life_goes_one_way() -> None:
    """Nothing returns from stopped or failed, and nothing is ready that did not start."""
    allowed = {
        (Phase.STARTING, Phase.READY),
        (Phase.STARTING, Phase.DRAINING),
        (Phase.STARTING, Phase.STOPPED),
        (Phase.STARTING, Phase.FAILED),
        (Phase.READY, Phase.DRAINING),
        (Phase.READY, Phase.STOPPED),
        (Phase.READY, Phase.FAILED),
        (Phase.DRAINING, Phase.STOPPED),
        (Phase.DRAINING, Phase.FAILED),
    }
    for first, second in itertools.permutations(Phase, 2):
        lifecycle = Lifecycle(lambda *_: None)
        lifecycle.phase = first
        if (first, second) in allowed:
            lifecycle.move(second)
            assert lifecycle.phase is second
        else:
            with pytest.raises(BrokenInvariant):
                lifecycle.move(second)


def test_only_ready_is_ready_and_only_failed_is_dead() -> None:
    """A draining service must get no work and must not be killed for it."""
    for phase in Phase:
        lifecycle = Lifecycle(lambda *_: None)
        lifecycle.phase = phase
        assert lifecycle.ready == (phase is Phase.READY)
        assert lifecycle.alive == (phase is not Phase.FAILED)


def test_a_file_goes_before_the_environment(tmp_path: Path) -> None:
    """Locally a private file wins; the founding variable stands in only where no file is."""
    secrets = Secrets(tmp_path, environment={"POLYGON_API_KEY": "from the environment"})
    assert secrets.value("polygon", "apiKey", "POLYGON_API_KEY") == "from the environment"
    path = tmp_path / "polygon" / "apiKey"
    path.parent.mkdir()
    path.touch(mode=0o600)
    path.write_text("from the file\n")
    assert secrets.value("polygon", "apiKey", "POLYGON_API_KEY") == "from the file"


def test_a_file_others_can_read_is_refused(tmp_path: Path) -> None:
    """With the command that mends it; a pod's mount is the cluster's business."""
    path = tmp_path / "alpaca" / "apiKey"
    path.parent.mkdir()
    path.write_text(CANARY)
    path.chmod(0o644)
    with pytest.raises(NotAuthorized, match=r"chmod 600") as caught:
        Secrets(tmp_path, environment={}).value("alpaca", "apiKey")
    assert CANARY not in str(caught.value)
    assert Secrets(tmp_path, mounted=True).value("alpaca", "apiKey") == CANARY


def test_pods_never_read_secrets_from_the_environment(tmp_path: Path) -> None:
    """What stands in a pod's environment stands in its description for everybody."""
    with pytest.raises(NotAuthorized):
        Secrets(tmp_path, mounted=True, environment={"POLYGON_API_KEY": CANARY}).value("polygon", "apiKey", "POLYGON_API_KEY")


def test_every_missing_key_is_named_at_once(tmp_path: Path) -> None:
    """One start, one list; no values in it."""
    keys = (SecretKey(name="apiKey", environment="ALPACA_API_KEY"), SecretKey(name="apiSecret", environment="ALPACA_API_SECRET"))
    need = SecretNeed(name="alpaca", keys=keys)
    problems = Secrets(tmp_path, environment={}).missing((need,))
    assert len(problems) == 2
    assert "ALPACA_API_KEY" in problems[0]
    assert "ALPACA_API_SECRET" in problems[1]


def test_an_assignment_survives_the_command_line(tmp_path: Path) -> None:
    """What the supervisor means is what the process reads, field by field."""
    local = small_run(tmp_path)
    for workload in local.services:
        assignment = local.assignment(workload)
        assert parse(assignment.arguments()) == assignment
        assert assignment.read_slice() == workload.slice


def test_a_damaged_slice_is_named(tmp_path: Path) -> None:
    """The file and what is wrong with it."""
    path = tmp_path / "filter.json"
    path.write_text('{"system": 1}')
    assignment = Assignment(
        service="filter", slice_file=path, boot_hash="b", build="b", nats_url="nats://x", state_folder=tmp_path, run_folder=tmp_path
    )
    with pytest.raises(InvalidInput, match=r"filter\.json: not a slice"):
        assignment.read_slice()


def test_one_system_runs_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two supervisors of one system would be two owners of its journal; a stale note of a killed one is not a running system."""
    monkeypatch.setenv("TRADINGSYSTEM_STATE", str(tmp_path / "state"))
    local = small_run(tmp_path)
    local.state.write_note(local.note(1, {}))
    with pytest.raises(InvalidInput, match="running: none"):
        find_running(None)
    with local.state.lock():
        with pytest.raises(InvalidInput, match="is running already"):
            local.state.lock()
        assert find_running(None).system == find_running("testing").system == "testing"
        with pytest.raises(InvalidInput, match="running: testing"):
            find_running("other")


def test_runs_have_folders_of_their_own(tmp_path: Path) -> None:
    """Two runs within a second do not share recordings."""
    state = StateFolder(tmp_path)
    assert state.new_run() != state.new_run()


def test_simulated_venues_are_never_real() -> None:
    """In Simulation every address is the simulator's; without one, or with one in Paper or Live, nothing starts."""
    simulated = venues_of(Mode.SIMULATION, "http://127.0.0.1:8020/")
    addresses = [getattr(simulated, name) for name in simulated.__slots__]
    assert all("127.0.0.1:8020" in address for address in addresses)
    assert "paper" in venues_of(Mode.PAPER, "").alpaca_trading
    assert "paper" not in venues_of(Mode.LIVE, "").alpaca_trading
    for mode, simulator in ((Mode.SIMULATION, ""), (Mode.PAPER, "http://127.0.0.1:1"), (Mode.LIVE, "http://127.0.0.1:1")):
        with pytest.raises(BrokenInvariant):
            venues_of(mode, simulator)
    assert SIMULATED_KEY


def test_the_last_reason_is_found(tmp_path: Path) -> None:
    """What ended a process is its newest error, whatever was written after it."""
    path = tmp_path / "filter.log"
    assert last_reason(path) == ""
    path.write_text(
        'not json\n{"level":"error","event":"cannot_start","reason":"old"}\n{"level":"error","event":"b","reason":"new"}\n{"level":"info"}\n'
    )
    assert last_reason(path) == "new"
    assert last_reason(path, of_start=True) == "old", "what a library says after it does not hide why a process could not start"


def test_one_source_one_build() -> None:
    """The digest is of the source: asked twice it is the same, and it carries the release."""
    assert build_digest() == build_digest()
    assert build_digest().startswith("0.")
