"""What a person at the terminal gets: help that teaches, every mistake at once, status 2, and never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer.core
import typer.main

from tradingsystem.cli.application import application

SAMPLES = Path(__file__).parents[2] / "manifests" / "samples"


def command(*arguments: str, state: Path | None = None, columns: int = 200) -> subprocess.CompletedProcess[str]:
    """The command as a process of its own, at a terminal of that width."""
    environment = os.environ | {"TRADINGSYSTEM_STATE": str(state or "/nonexistent"), "COLUMNS": str(columns)}
    return subprocess.run(
        [sys.executable, "-m", "tradingsystem.cli", *arguments], capture_output=True, text=True, env=environment, check=False
    )


def test_help_names_every_command() -> None:
    """A newcomer finds the way from --help alone."""
    answer = command("--help")
    assert answer.returncode == 0
    for name in ("up", "status", "halt", "resume", "flatten", "clear", "validate", "plan"):
        assert f"\n  {name}" in answer.stdout
    assert "tradingsystem up manifests/samples" in " ".join(answer.stdout.split())


@pytest.mark.parametrize("sample", sorted(SAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_samples_are_valid(sample: Path) -> None:
    """What we ship must pass our own check."""
    answer = command("validate", str(sample))
    assert answer.returncode == 0, answer.stderr
    assert "is valid" in answer.stdout


def test_every_mistake_at_once(tmp_path: Path) -> None:
    """Two mistakes, two lines, with field and remedy; status 2 and no traceback."""
    file = tmp_path / "bad.yaml"
    file.write_text(
        "apiVersion: tradingsystem.dev/v1alpha1\nkind: TradingSystem\nmetadata: {name: x}\nspec: {mode: Simulatoin, sizing: {kellyFractionPercent: 400}}\n"
    )
    for verb in ("validate", "plan", "up"):
        answer = command(verb, str(file), state=tmp_path)
        assert answer.returncode == 2
        assert "Traceback" not in answer.stderr
        assert "spec.mode" in answer.stderr
        assert "kellyFractionPercent" in answer.stderr


def test_a_plan_reads_the_list_of_symbols_that_up_reads(tmp_path: Path) -> None:
    """Another list is another boot hash; a list that is missing is named with its place; what a cluster keeps is not looked for here."""
    file, listed = tmp_path / "listed.yaml", tmp_path / "my-symbols"
    universe = "universe: {selection: ConfigMap, configMapRef: {name: my-symbols}}"
    file.write_text(
        f"apiVersion: tradingsystem.dev/v1alpha1\nkind: TradingSystem\nmetadata: {{name: x}}\nspec: {{mode: Simulation, {universe}}}\n"
    )
    missing = command("plan", str(file))
    assert missing.returncode == 2
    assert str(listed) in missing.stderr
    assert command("plan", str(file), "--placement", "Kubernetes").returncode == 0
    hashes = []
    for symbols in ("AAPL\nMSFT\n", "AAPL\nNVDA\n"):
        listed.write_text(symbols)
        hashes.append(command("plan", str(file)).stdout.splitlines()[0])
    assert hashes[0] != hashes[1]


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    """The path and what to do."""
    answer = command("validate", str(tmp_path / "none.yaml"))
    assert answer.returncode == 2
    assert "none.yaml" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_plan_shows_what_would_run() -> None:
    """Every service by its whole name, within the width of a terminal, without starting anything."""
    answer = command("plan", str(SAMPLES / "paper.yaml"), "--placement", "OneProcess", columns=80)
    assert answer.returncode == 0
    lines = answer.stdout.splitlines()
    begun = [line.split()[0] for line in lines if line and not line.startswith(" ")]
    for name in ("nats", "execution", "learning-incremental"):
        assert begun.count(name) == 3, answer.stdout
    assert all(len(line) <= 80 for line in lines)


def test_paper_without_keys_names_them_and_starts_nothing(tmp_path: Path) -> None:
    """Each missing key by name, with the place where it would be; no message server is left behind."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith(("_API_KEY", "_API_SECRET"))}
    environment |= {"TRADINGSYSTEM_STATE": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    arguments = [sys.executable, "-m", "tradingsystem.cli", "up", str(SAMPLES / "paper.yaml")]
    answer = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False, timeout=60)
    assert answer.returncode == 2
    assert "ALPACA_API_KEY" in answer.stderr
    assert "POLYGON_API_KEY" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert not list(tmp_path.glob("*/nats/data"))


def test_commands_to_nobody_say_so(tmp_path: Path) -> None:
    """Halting a system that does not run must not look like success."""
    for arguments in (["status"], ["halt", "--reason", "test"], ["resume", "momentum", "--reason", "test"]):
        answer = command(*arguments, state=tmp_path)
        assert answer.returncode == 2
        assert "running: none" in answer.stderr


def test_an_unknown_service_is_named(tmp_path: Path) -> None:
    """What `run` was asked for, and what there is."""
    given = [
        "--slice-file",
        "x",
        "--boot-hash",
        "b",
        "--build",
        "b",
        "--nats-url",
        "n",
        "--state-folder",
        str(tmp_path),
        "--run-folder",
        str(tmp_path),
    ]
    answer = command("run", "fliter", *given)
    assert answer.returncode == 2
    assert "fliter" in answer.stderr
    assert "filter" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_every_command_is_found_alone() -> None:
    """Only the asked command's module is loaded: each command of the whole must be there when it is the only one asked for, under the same help."""
    whole = typer.main.get_command(application())
    assert isinstance(whole, typer.core.TyperGroup)
    for name, found in whole.commands.items():
        alone = typer.main.get_command(application(name))
        assert isinstance(alone, typer.core.TyperGroup)
        assert alone.commands[name].help == found.help
        assert len(alone.commands) < len(whole.commands)


@pytest.mark.parametrize("arguments", [("--help",), ("status",), ("halt",), ("validate", str(SAMPLES / "minimal.yaml"))])
def test_what_a_person_waits_for_loads_nothing_heavy(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Arrays, compiler, message client and web server stay unloaded until a command needs them: together they cost most of a second."""
    program = "import sys; from tradingsystem.cli.main import main\ntry: main()\nfinally: print('loaded', *sys.modules)"
    environment = os.environ | {"TRADINGSYSTEM_STATE": str(tmp_path)}
    given = [sys.executable, "-c", program, *arguments]
    answer = subprocess.run(given, capture_output=True, text=True, env=environment, check=False)
    (loaded,) = [line.split() for line in answer.stdout.splitlines() if line.startswith("loaded ")]
    assert not {"numpy", "numba", "pyarrow", "aiohttp", "nats"} & set(loaded)
