"""What people do wrong: one clear message that says all of it, status 2, never a traceback, nothing started and nobody left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.commands import assert_no_traceback, command, environment, left_of, refused
from tests.e2e.running import PROGRAM, Running, manifest

pytestmark = [pytest.mark.timeout(180)]

TEN_MISTAKES = """
apiVersion: tradingsystem.dev/v1alpha1
kind: TradingSystem
metadata: {name: Bad_Name}
spec:
  mode: Simulated
  simulation: {speed: 0}
  leverage: 4
  universe: {symbolsMax: 99999999, spreadMaxBasisPoints: -1}
  sources: [{name: polygon, type: Polygn}]
  ensemble: {signalThresholdPercent: 170}
  risk: {dailyLossMax: .nan}
  telemetry: {metricsPort: 70000}
"""
WHERE = (
    "metadata.name",
    "spec.mode",
    "spec.simulation.speed",
    "spec.leverage",
    "spec.universe.symbolsMax",
    "spec.universe.spreadMaxBasisPoints",
    "spec.sources[0].type",
    "spec.ensemble.signalThresholdPercent",
    "spec.risk.dailyLossMax",
    "spec.telemetry.metricsPort",
)


def test_ten_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """Nobody has to start ten times to hear of ten mistakes."""
    file = tmp_path / "bad.yaml"
    file.write_text(TEN_MISTAKES)
    for verb in ("validate", "up"):
        said = refused(verb, str(file), state=tmp_path / "state")
        assert "10 problems" in said
        assert [place for place in WHERE if place not in said] == []
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the document is empty"),
        (b"a: [1\nb: {", "(line 2): this is not YAML"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"- a\n- b\n", "not a mapping"),
        (None, "Is a directory"),
    ],
)
def test_a_file_that_is_no_resource_is_named(content: bytes | None, words: str, tmp_path: Path) -> None:
    """Empty, not YAML, binary, a list, a folder: which, and where."""
    file = tmp_path / "system.yaml"
    file.mkdir() if content is None else file.write_bytes(content)
    assert words in refused("up", str(file), state=tmp_path / "state")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("frobnicate",), "No such command 'frobnicate'"),
        (("up", "{tmp}/none.yaml"), "none.yaml cannot be read"),
        (("status",), "no system is running"),
        (("halt",), "no system is running"),
        (("report", "{tmp}"), "no recording"),
        (("replay", "{tmp}"), "no recording"),
        (("simulate", "--data", "{tmp}/none", "--port", "0"), "none"),
        (("simulate", "--date", "2026-03-01", "--port", "0"), "not a trading day"),
    ],
)
def test_a_mistake_is_one_message(arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    """What is wrong, by name, whatever the command."""
    assert words in refused(*(part.format(tmp=tmp_path) for part in arguments), state=tmp_path / "state")


def test_a_state_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    """A place that may not be written: which, and how to choose another."""
    place = tmp_path / "file"
    place.write_text("")
    file = tmp_path / "system.json"
    file.write_text(json.dumps(manifest("nowhere", symbols=20)))
    said = refused("up", str(file), state=place)
    assert str(place) in said
    assert "TRADINGSYSTEM_STATE" in said


def test_a_taken_port_is_named_before_anything_runs(tmp_path: Path) -> None:
    """Which port, and for what it was wanted."""
    document = manifest("taken", symbols=20)
    port = document["spec"]["telemetry"]["metricsPort"] + 20
    file = tmp_path / "system.json"
    file.write_text(json.dumps(document))
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        said = refused("up", str(file), state=tmp_path / "state")
    assert f"{port} (simulator venues)" in said


def damaged_day(folder: Path) -> Path:
    """A recorded day whose third trade has words where the price is."""
    (folder / "tick").mkdir(parents=True)
    rows = "34200000,1000000,100,N,0,0\n34200500,1000100,100,N,0,0\n34201000,cheap,100,N,0,0\n"
    with zipfile.ZipFile(folder / "tick" / "xyz-20131008_trade.zip", "w") as archive:
        archive.writestr("20131008_xyz_Trade_Tick.csv", rows)
    return folder


def test_a_damaged_file_is_named_with_its_line(tmp_path: Path) -> None:
    """Looking at a folder finds the row before anybody trades on it."""
    said = refused("data", "import", str(damaged_day(tmp_path / "data")), state=tmp_path / "state")
    assert "xyz-20131008_trade.zip, line 3" in said
    assert "cheap" in said


@pytest.mark.nats
def test_a_damaged_file_ends_the_start(tmp_path: Path) -> None:
    """No new start could mend it: the run ends, names the row, and leaves nobody behind."""
    document = manifest("damaged", source="Recorded", data=str(damaged_day(tmp_path / "data")), startDate="2013-10-08")
    file = tmp_path / "system.json"
    file.write_text(json.dumps(document))
    said = refused("up", str(file), state=tmp_path / "state")
    assert "xyz-20131008_trade.zip, line 3" in said
    assert not left_of(tmp_path)


def test_interrupted_before_anything_was_started(tmp_path: Path) -> None:
    """Ctrl-C while the file is still being read: status 130 and not a word. The file is a pipe, so the moment is certain."""
    pipe = tmp_path / "system.yaml"
    os.mkfifo(pipe)
    arguments = [str(PROGRAM), "up", str(pipe)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(tmp_path))
    with process, pipe.open("w"):  # opens once the program has opened the other end, and it waits for what never comes
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert_no_traceback(output + errors)
    assert not left_of(tmp_path)


@pytest.mark.nats
@pytest.mark.parametrize("moment", ["nats       ready", "ingestion  started"])
def test_an_interrupted_start_leaves_nobody_behind(moment: str, tmp_path: Path) -> None:
    """Ctrl-C while services are being started ends those that run, in order, with status 0."""
    running = Running.start(manifest("early", speed=10, symbols=20), tmp_path)
    try:
        running.wait_for(moment)
        running.process.send_signal(signal.SIGINT)
        assert running.finish(60) == 0, "\n".join(running.lines)
    finally:
        running.stop()
    assert not left_of(tmp_path)
    assert_no_traceback("\n".join(running.lines))


def paper(name: str) -> dict[str, object]:
    """The resource of a paper account."""
    document = manifest(name)
    del document["spec"]["simulation"]
    document["spec"] |= {"mode": "Paper", "execution": {"broker": {"type": "Alpaca", "secretRef": {"name": "alpaca"}}}}
    document["spec"]["sources"] = [{"name": "polygon", "type": "Polygon", "secretRef": {"name": "polygon"}}]
    return document


def test_missing_keys_are_named_before_anything_runs(tmp_path: Path) -> None:
    """Each by its name, with the place where it would be; no message server was started."""
    file = tmp_path / "system.json"
    file.write_text(json.dumps(paper("keyless")))
    said = refused("up", str(file), state=tmp_path / "state")
    for variable in ("POLYGON_API_KEY", "ALPACA_API_KEY", "ALPACA_API_SECRET"):
        assert variable in said
    assert not list((tmp_path / "state").glob("*/nats/data"))


REDIRECTED = """
import tradingsystem.process.venues as venues
def redirected(mode, simulator):
    sockets = "{address}".replace("http", "ws", 1)
    return venues.Venues(sockets, "{address}", "{address}", "{address}", sockets + "/v2", "{address}")
venues.venues_of = redirected
"""
"""Paper's addresses cannot be chosen, on purpose; this takes their place in every process that is started with it on its path."""


@contextlib.contextmanager
def refusing_venues(state: Path) -> Iterator[str]:
    """The address of venues that know one key, and it is not ours."""
    arguments = [str(PROGRAM), "simulate", "--port", "0", "--symbols", "20"]
    unbuffered = environment(state, PYTHONUNBUFFERED="1")
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=unbuffered) as process:
        try:
            assert process.stdout is not None
            yield next(word for word in process.stdout.readline().split() if word.startswith("http"))
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)


@pytest.mark.nats
def test_a_wrong_key_is_named_and_never_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paper with keys that the venues refuse: not ready, who refused is said, tried again seldom instead of at once, and no value stands anywhere."""
    keys = {name: f"wrong-{name.lower()}-value" for name in ("POLYGON_API_KEY", "ALPACA_API_KEY", "ALPACA_API_SECRET")}
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "redirected"))
    with refusing_venues(tmp_path) as address:
        (tmp_path / "redirected").mkdir()
        (tmp_path / "redirected" / "sitecustomize.py").write_text(REDIRECTED.format(address=address))
        running = Running.start(paper("wrong"), tmp_path)
        try:
            ended = running.wait_for("execution  ended      exit status 3")
            running.wait_for("execution  restarting in 15 s", after=ended - 1)
            status = command("status", state=tmp_path / "state")
            running.process.send_signal(signal.SIGINT)
            assert running.finish(60) == 0, "\n".join(running.lines)
        finally:
            running.stop()
    said = "\n".join(running.lines)
    assert "Alpaca" in said
    assert "execution  ready" not in said
    assert "ingestion  ready" not in said
    assert said.count("execution  started") == 1
    assert status.returncode == 1
    everything = [said, status.stdout, *(path.read_text(errors="replace") for path in (tmp_path / "state").rglob("*") if path.is_file())]
    for value in keys.values():
        assert not any(value in text for text in everything)
    assert_no_traceback(said)
    assert not left_of(tmp_path / "state")
