"""A candidate's whole life in the service: gate, probe, shadow, canary, serving, and back; and what a bad one changes, which is nothing."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.bundles.test_bundle import manifest
from tests.bundles.test_gate import evidence
from tests.bundles.test_graph import some_weights
from tests.models.test_service import SUBJECTS, Life, alive
from tests.models.test_store import KEY, SCHEMA, store
from tests.promises.waiting import until
from tradingsystem.adapters.in_process_bus import InProcessJournal
from tradingsystem.adapters.onnxruntime import open_session, run
from tradingsystem.bundles.bundle import Golden, write_bundle
from tradingsystem.bundles.evidence import Evidence
from tradingsystem.bundles.graph import build
from tradingsystem.bundles.sequential import ROWS_MIN
from tradingsystem.domain.control import CommandAnswer, ModelAct, ModelCommand, ModelsAssigned, ModelsState
from tradingsystem.domain.outcomes import Agreement, FeatureSample, FilterModels, Outcome, Role
from tradingsystem.messages.codec import decode, encode

__all__ = ["store"]

HORIZON_NS = 1_800 * 10**9
BETTER = np.random.default_rng(3).normal(1.0, 1.0, 100)


def published(
    folder: Path, version: int, proof: Evidence | None, *, wrong: float = 0.0, key: Ed25519PrivateKey = KEY, rows: int = 8, **changed: Any
) -> None:
    """A candidate as a learning job leaves it: made elsewhere, then renamed into its number. ``wrong`` is added to what its golden vectors promise."""
    graph = build(some_weights(), int8=True)
    features = np.random.default_rng(version).normal(size=(rows, 50)).astype(np.float32)
    answers = run(open_session(graph), features)
    golden = Golden(features, answers.members, (answers.blend + np.float32(wrong)).astype(np.float32))
    made = folder / f".made-{version}"
    about = msgspec.structs.replace(manifest(), version=version, **{"feature_schema": SCHEMA, **changed})
    write_bundle(made, about, graph, graph, golden, key, proof)
    made.rename(folder / str(version))


def against_three(differences: Any) -> Evidence:
    """The evidence names the version that serves in these tests."""
    return msgspec.structs.replace(evidence(differences), champion=3)


def seen(version: int, role: Role, open_seconds: int, **changed: Any) -> FilterModels:
    """What the filter says of a challenger."""
    agreement = Agreement(
        model=version, role=role, since_ns=0, open_seconds=open_seconds, cuts=1_000, dropped=0, late=0, rows=9_000, rows_not_finite=0,
        decisions=9, decisions_changed=1, rank_correlation=0.9, difference_mean=0.0, latency_p50_us=90.0, latency_p99_us=200.0,
    )  # fmt: skip
    return FilterModels(
        serving=3, canary=0, canary_percent=0, shadow=version, refused={}, expired=(),
        agreements=(msgspec.structs.replace(agreement, **changed),), outcomes=0, outcomes_open=0, outcomes_dropped=0,
    )  # fmt: skip


async def told(life: Life, true: Any) -> ModelsState:
    """The first state of which it is true."""
    await until(lambda: bool(life.states) and true(life.states[-1]), 10.0)
    return life.states[-1]


async def assigned(life: Life) -> list[tuple[int, int, int]]:
    """(serving, canary, shadow), in order."""
    entries = [decode(entry.payload, ModelsAssigned) async for entry in life.journal.read(SUBJECTS.journal_model)]
    return [(each.serving, each.canary, each.shadow) for each in entries]


async def through(life: Life, version: int) -> None:
    """From shadow to serving, by the filter's word."""
    await told(life, lambda state: state.phase == "Shadow")
    life.bus.publish(SUBJECTS.state("filter"), encode(seen(version, Role.SHADOW, 3_599)))
    life.bus.publish(SUBJECTS.state("filter"), encode(seen(version, Role.SHADOW, 3_600)))
    await told(life, lambda state: state.phase == "Canary")
    life.bus.publish(SUBJECTS.state("filter"), encode(seen(version, Role.CANARY, 3_600)))
    await told(life, lambda state: state.serving == version)


def test_a_better_candidate_comes_to_serve_and_is_taken_back_when_it_turns_bad(store: Path) -> None:
    """Shadow, canary, serving without a restart; the version before stays loaded and is scored unheard, and live losses bring it back by themselves."""

    async def scenario() -> None:
        journal = InProcessJournal("momentum")
        async with alive(store, journal) as life:
            published(store, 4, against_three(BETTER))
            await through(life, 4)
            assert await assigned(life) == [(3, 0, 0), (3, 0, 4), (3, 4, 0), (4, 0, 3)]
            for window in range(40):
                at_ns = window * HORIZON_NS
                rows = [
                    Outcome(model=model, role=role, symbol=f"S{row}", at_ns=at_ns, closed_ns=at_ns + 1, p=p, members=(p,) * 3, label=1)
                    for row in range(ROWS_MIN)
                    for model, role, p in ((4, Role.SERVING, 0.1), (3, Role.SHADOW, 0.7))
                ]
                life.bus.publish(SUBJECTS.outcomes, encode(rows))
            state = await told(life, lambda state: state.rolled_back == 4)
            assert state.serving == 3
            assert "LiveLoss" in state.rolled_back_because
        async with alive(store, journal) as again:
            state = await told(again, lambda state: state.serving == 3)
            assert state.rolled_back == 4
            assert state.trial == 0, "what was taken back does not promote itself again"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("reason", "changed"),
    [
        ("NotEnoughData", {"proof": None}),
        ("NotBetter", {"proof": against_three(-BETTER)}),
        ("Outdated", {"proof": evidence(BETTER)}),
        ("WrongAnswers", {"wrong": 0.01}),
        ("Unsigned", {"key": Ed25519PrivateKey.from_private_bytes(bytes(32))}),
        ("WrongSchema", {"feature_schema": "1" * 64}),
    ],
)
def test_a_bad_candidate_is_refused_by_name_and_changes_nothing(store: Path, reason: str, changed: dict[str, Any]) -> None:
    """Whatever is wrong with it, the tape hears nothing of it."""

    async def scenario() -> None:
        async with alive(store, InProcessJournal("momentum")) as life:
            published(store, 4, **{"proof": against_three(BETTER), **changed})
            state = await told(life, lambda state: "4" in state.refused)
            assert state.refused["4"].startswith(reason)
            assert (state.serving, state.trial) == (3, 0)
            assert await assigned(life) == [(3, 0, 0)]

    asyncio.run(scenario())


def test_corrupt_and_cut_off_candidates_are_refused(store: Path) -> None:
    """Every file of a bundle, shortened by a byte."""

    async def scenario() -> None:
        async with alive(store, InProcessJournal("momentum")) as life:
            published(store, 4, against_three(BETTER))
            good = store.parent / "good"
            shutil.move(store / "4", good)
            for version, path in enumerate(sorted(good.iterdir()), start=5):
                made = store / ".made"
                shutil.copytree(good, made)
                (made / path.name).write_bytes(path.read_bytes()[:-1])
                made.rename(store / str(version))
                state = await told(life, lambda state, version=version: str(version) in state.refused)
                assert state.refused[str(version)].split(":")[0] in {"Corrupt", "Unsigned"}, path.name
            assert await assigned(life) == [(3, 0, 0)]

    asyncio.run(scenario())


@pytest.mark.parametrize(("changed", "reason"), [({"rows_not_finite": 1}, "NotFinite"), ({"late": 100}, "ShadowDisagrees")])
def test_what_is_seen_live_ends_a_trial(store: Path, changed: dict[str, Any], reason: str) -> None:
    """Answers that are no probabilities, or come too late, are reasons of their own."""

    async def scenario() -> None:
        async with alive(store, InProcessJournal("momentum")) as life:
            published(store, 4, against_three(BETTER))
            await told(life, lambda state: state.phase == "Shadow")
            life.bus.publish(SUBJECTS.state("filter"), encode(seen(4, Role.SHADOW, 60, **changed)))
            state = await told(life, lambda state: "4" in state.refused)
            assert state.refused["4"].startswith(reason)
            assert state.serving == 3

    asyncio.run(scenario())


def test_a_person_promotes_past_the_gate_and_takes_back(store: Path) -> None:
    """By name and reason, answered; who gives none, or asks for what cannot be, hears why."""

    async def scenario() -> None:
        async with alive(store, InProcessJournal("momentum")) as life:

            async def ask(act: ModelAct, version: int = 0, reason: str = "drill") -> CommandAnswer:
                command = ModelCommand(id="1", act=act, name="ada", reason=reason, version=version)
                return decode(await life.bus.request(SUBJECTS.command_models, encode(command), 5.0), CommandAnswer)

            assert not (await ask(ModelAct.ROLL_BACK)).accepted
            assert not (await ask(ModelAct.PROMOTE, 1, reason="")).accepted
            assert (await ask(ModelAct.PROMOTE, 1)).accepted
            assert (await told(life, lambda state: state.serving == 1)).previous == 3
            assert (await ask(ModelAct.ROLL_BACK)).accepted
            state = await told(life, lambda state: state.serving == 3)
            assert "by ada: drill" in state.rolled_back_because
            assert (await ask(ModelAct.PROMOTE, 9)).accepted
            assert (await told(life, lambda state: "9" in state.refused)).serving == 3

    asyncio.run(scenario())


def half_a_session(bus: Any, off: float) -> None:
    """The rows of a morning, all features off by so much, and the first of the afternoon."""
    for elapsed in (0.4, 0.6):
        values = (np.random.default_rng(5).normal(size=(600, 50)) + off).astype("<f4")
        symbols = tuple(f"S{row}" for row in range(600))
        bus.publish(SUBJECTS.features, encode(FeatureSample(session_open_ns=1, elapsed=elapsed, symbols=symbols, values=values.tobytes())))


def test_drift_ends_a_trial_and_takes_nobody_back(store: Path) -> None:
    """A candidate's evidence was made on something else; of the serving version it is an alarm that says which features, since the one before it reads
    the same."""

    async def scenario() -> None:
        async with alive(store, InProcessJournal("momentum")) as life:
            published(store, 4, against_three(BETTER), rows=512)
            await through(life, 4)
            published(store, 5, msgspec.structs.replace(evidence(BETTER), champion=4), rows=512)
            await told(life, lambda state: state.phase == "Shadow")
            half_a_session(life.bus, 0.0)
            half_a_session(life.bus, 4.0)
            state = await told(life, lambda state: "5" in state.refused)
            assert state.refused["5"].startswith("Drift: stability index over half a session: ")
            assert (state.serving, state.previous, state.rolled_back) == (4, 3, 0)
            assert "4" in (await told(life, lambda state: bool(state.drifted))).drifted

    asyncio.run(scenario())


def test_a_version_that_was_removed_is_said_to_be_collected(store: Path) -> None:
    """One that is loaded stays what it is; who asks for the one that is gone hears so, and a pin on it leaves what serves. A store that is away is not
    empty."""

    async def scenario() -> None:
        async with alive(store, InProcessJournal("momentum")) as life:
            await told(life, lambda state: state.serving == 3)
            away = store.parent / "away"
            shutil.move(store, away)
            count = len(life.states)
            await until(lambda: len(life.states) > count + 1, 10.0)
            shutil.move(away, store)
            assert life.states[-1].refused == {}
            shutil.rmtree(store / "1")
            assert (await told(life, lambda state: "1" in state.refused)).refused["1"] == "Collected: removed to make room"
            state = await life.pin(1, generation=1)
            assert state.refused["1"].startswith("VersionNotFound")
            assert state.serving == 3

    asyncio.run(scenario())
