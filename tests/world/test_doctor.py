"""The doctor against the simulated venues on their own wires: what is well is called well, each wrong has a remedy, no key is ever shown."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from tests.promises.waiting import run
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.process.secrets import Secrets
from tradingsystem.process.venues import Venues
from tradingsystem.simulator.server import Simulator, SimulatorSettings, listening
from tradingsystem.spec import Placement, TradingSystem, plan
from tradingsystem.spec.load import load_file
from tradingsystem.world.demo import free_block
from tradingsystem.world.doctor import Finding, examine

PAPER = Path(__file__).parents[2] / "manifests" / "samples" / "paper.yaml"
KEY = "simulation"


def system(**broker: str) -> TradingSystem:
    """The paper sample on free ports."""
    whole = load_file(PAPER)
    telemetry = msgspec.structs.replace(whole.spec.telemetry, metrics_port=free_block())
    execution = msgspec.structs.replace(whole.spec.execution, broker=msgspec.structs.replace(whole.spec.execution.broker, **broker))
    return msgspec.structs.replace(whole, spec=msgspec.structs.replace(whole.spec, telemetry=telemetry, execution=execution))


def secrets(folder: Path, value: str = KEY) -> Secrets:
    """Every key of the sample, as private files."""
    for need in plan(load_file(PAPER), Placement.PROCESSES).secrets():
        for key in need.keys:
            path = folder / need.name / key.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(value)
            path.chmod(0o600)
    return Secrets(folder, environment={})


def found(resource: TradingSystem, keys: Secrets) -> dict[str, Finding]:
    """Everything the doctor says, with the simulator as every venue."""

    async def main() -> dict[str, Finding]:
        simulator = Simulator(SimulatorSettings(symbols=20))
        simulator.step_to(simulator.feed.session.open_ns + 60 * NS_PER_SECOND)  # so that there is a last trade
        async with listening(simulator) as address:
            venues = Venues(address.websocket, address.http, address.http, address.http, address.websocket, address.http)
            planned = plan(resource, Placement.PROCESSES)
            findings = await asyncio.to_thread(lambda: list(examine(resource, planned, keys, venues)))
        return {finding.what: finding for finding in findings}

    return run(main())


def test_a_system_that_could_start(tmp_path: Path) -> None:
    """Keys, account and entitlements are well; a clock that is months off is not."""
    told = found(system(), secrets(tmp_path))
    well = {what for what, finding in told.items() if finding.ok}
    assert {
        "message server",
        "ports",
        "key alpaca/apiKey",
        "broker account",
        "polygon reference data",
        "polygon trades",
        "polygon indices",
    } <= well
    assert not told["clock"].ok
    assert "synchronise" in told["clock"].remedy


def test_another_account_than_the_resource_names(tmp_path: Path) -> None:
    """The keys of the wrong account are found before money is."""
    told = found(system(account_number="PA0000000001"), secrets(tmp_path))
    assert "PA0000000001" in told["broker account"].remedy


def test_keys_that_nobody_accepts(tmp_path: Path) -> None:
    """Each venue's refusal is one line; the value appears in none."""
    told = found(system(), secrets(tmp_path, "hunter2"))
    assert not told["broker account"].ok
    assert not told["polygon trades"].ok
    assert "hunter2" not in str(told)


def test_keys_that_are_missing(tmp_path: Path) -> None:
    """Each by its name with the place it would have; venues are not asked without one."""
    told = found(system(), Secrets(tmp_path, environment={}))
    for name in ("alpaca/apiKey", "alpaca/apiSecret", "polygon/apiKey"):
        assert str(tmp_path / name) in told[f"key {name}"].remedy
    assert "broker account" not in told
    assert "polygon trades" not in told


@pytest.mark.parametrize("mode", [0o644, 0o660])
def test_a_key_that_others_can_read(tmp_path: Path, mode: int) -> None:
    """A file that is not private is as wrong as none."""
    keys = secrets(tmp_path)
    (tmp_path / "polygon" / "apiKey").chmod(mode)
    assert "others can read it" in found(system(), keys)["key polygon/apiKey"].says
