"""The shell: what the journal holds after loss, restart and a model that answers late."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import numpy as np

from tests.filter.days import Formula, TapeMaker, serving, spec_of
from tests.filter.house import SUBJECTS, opened_house
from tradingsystem.domain.control import ModelsAssigned
from tradingsystem.domain.errors import TryAgain
from tradingsystem.domain.features import FEATURE_COUNT
from tradingsystem.domain.outcomes import FeatureSample
from tradingsystem.domain.signals import Cut, CutOutcome, Signal
from tradingsystem.domain.trading import Mark
from tradingsystem.features.catalogue import NAMES
from tradingsystem.filter.deciding import Decider, Serving
from tradingsystem.filter.step import create, step
from tradingsystem.interfaces import Delivery
from tradingsystem.messages.batch import Batch, encode_batch
from tradingsystem.messages.codec import decode, encode

COUNT = 8
LIFTED = {1: 103.0, 2: 104.0, 5: 102.5}


def replayed(batches: list[Batch], cuts: list[Cut]) -> list[Signal]:
    """Signals of a replay that has nothing but the tape and the recorded cuts."""
    spec = spec_of()
    state, decider = create(spec), Decider(spec, serving())
    by_seq = {batch.seq: batch for batch in batches}
    found: list[Signal] = []
    for cut in cuts:
        swept = step(state, [by_seq[seq] for seq in range(cut.first_seq, cut.last_seq + 1)], full=cut.full)
        inference = decider.serving.inference
        assert isinstance(inference, Formula)
        scores = inference.score(swept.features.values) if cut.outcome is CutOutcome.OK else None
        again, signals = decider.decide(state, swept, scores, cut.outcome)
        assert again == cut
        found += signals
    return found


def test_cuts_cover_the_tape_and_precede_their_signals() -> None:
    """Every batch is in exactly one cut, each signal's cut is in the journal before it, and a replay gives the same signals."""

    async def scenario() -> None:
        house = await opened_house()
        batches = TapeMaker(COUNT).day(120, LIFTED)
        await house.run(house.service(), batches)
        cuts, signals = await house.cuts(), await house.signals()
        assert [seq for cut in cuts for seq in range(cut.first_seq, cut.last_seq + 1)] == [batch.seq for batch in batches]
        assert len(signals) >= 2
        known: set[int] = set()
        for entry in await house.entries():
            if entry.subject == SUBJECTS.journal_cut:
                known |= {cut.last_seq for cut in decode(entry.payload, list[Cut])}
            if entry.subject == SUBJECTS.journal_signal:
                assert decode(entry.payload, Signal).last_seq in known
        assert replayed(batches, cuts) == signals
        assert len(house.heard[SUBJECTS.candidates]) >= 1
        assert {"S0001", "S0002", "S0005"} <= set(decode(house.heard[SUBJECTS.candidates][-1], list[str]))

    asyncio.run(scenario())


def test_held_symbols_are_marked_with_each_change() -> None:
    """Execution gets a mark for each cut that touched what it holds."""

    async def scenario() -> None:
        house = await opened_house()
        tape = TapeMaker(COUNT)
        batches = tape.day(10, LIFTED)
        house.bus.publish(SUBJECTS.held, encode(["S0002"]))
        service = house.service()

        def publish(batch: Batch) -> None:
            house.bus.publish(SUBJECTS.held, encode(["S0002"]))
            house.publish(batch)

        await house.run(service, batches, publish, burst=1)
        marks = [mark for payload in house.heard[SUBJECTS.marks] for mark in decode(payload, list[Mark]) if mark.symbol == "S0002"]
        touching = sum(bool((batch.rows.symbol == 2).any()) for batch in batches)
        assert len(marks) >= touching // 2
        assert all(mark.bid < mark.ask for mark in marks)

    asyncio.run(scenario())


def test_what_the_bus_lost_is_fetched_from_the_tape() -> None:
    """A batch that never arrived is read from the tape's memory: no gap, no cut without it."""

    async def scenario() -> None:
        house = await opened_house()
        batches = TapeMaker(COUNT).day(100, LIFTED)
        service = house.service()

        def publish(batch: Batch) -> None:
            if batch.seq == 40:
                house.tape._keep(Delivery(SUBJECTS.tape, encode_batch(batch)))
            else:
                house.publish(batch)

        await house.run(service, batches, publish)
        assert service.state.gaps == 0
        cuts = await house.cuts()
        assert [seq for cut in cuts for seq in range(cut.first_seq, cut.last_seq + 1)] == [batch.seq for batch in batches]

    asyncio.run(scenario())


def test_what_nobody_has_is_a_gap_that_stops_entries() -> None:
    """A batch that is lost for good is counted, and no signal follows within a minute of it."""

    async def scenario() -> None:
        house = await opened_house()
        batches = TapeMaker(COUNT).day(100, LIFTED)
        service = house.service()
        lost = next(batch for batch in batches if batch.sealed_at_ns > batches[0].sealed_at_ns + 55 * 10**9)
        await house.run(service, [batch for batch in batches if batch is not lost])
        assert service.state.gaps == 1
        assert await house.signals() == []

    asyncio.run(scenario())


def test_a_late_model_has_no_signals_and_the_next_cut_speaks() -> None:
    """A passed deadline is recorded as Late and costs that cut only."""

    async def scenario() -> None:
        house = await opened_house()
        await house.run(house.service(serving(late=3)), TapeMaker(COUNT).day(100, LIFTED))
        outcomes = [cut.outcome for cut in await house.cuts()]
        assert outcomes.count(CutOutcome.LATE) == 3
        assert outcomes.count(CutOutcome.OK) > 0
        assert len(await house.signals()) >= 1

    asyncio.run(scenario())


def test_the_tape_names_the_model() -> None:
    """A switch on the tape changes the version in cuts from there on; one that cannot be loaded leaves the previous one serving."""

    async def scenario() -> None:
        house = await opened_house()
        tape = TapeMaker(COUNT)
        batches = [
            *tape.day(5, LIFTED),
            tape.batch(notes=(ModelsAssigned(2),)),
            *tape.day(5, LIFTED),
            tape.batch(notes=(ModelsAssigned(99),)),
        ]
        await house.run(house.service(), [*batches, *tape.day(5, LIFTED)], burst=1)
        assert house.loaded == [2]
        assert sorted({cut.model for cut in await house.cuts()}) == [1, 2]

    asyncio.run(scenario())


def test_a_version_that_is_on_its_way_is_waited_for() -> None:
    """Who promotes may have it before us: it is no refusal, who serves goes on, and it decides from the cut at which it is there."""

    async def scenario() -> None:
        house = await opened_house()
        tape = TapeMaker(COUNT)
        asked: list[int] = []

        def load(version: int) -> Serving:
            asked.append(version)
            if len(asked) < 4:
                raise TryAgain("on its way")
            return serving(version)

        service = house.service()
        service._roster._load = load
        await house.run(service, [*tape.day(5, LIFTED), tape.batch(notes=(ModelsAssigned(2),)), *tape.day(10, LIFTED)], burst=1)
        models = [cut.model for cut in await house.cuts()]
        assert (asked, models == sorted(models), models[-1]) == ([2] * 4, True, 2)
        assert service._roster.refused == {}

    asyncio.run(scenario())


def test_garbage_on_the_tape_stops_nothing() -> None:
    """A message that is no batch is counted and dropped."""

    async def scenario() -> None:
        house = await opened_house()
        batches = TapeMaker(COUNT).day(20, LIFTED)

        def publish(batch: Batch) -> None:
            house.bus.publish(SUBJECTS.tape, b"garbage" * 20)
            house.publish(batch)

        service = house.service()
        await house.run(service, batches, publish)
        assert service.state.seq == batches[-1].seq

    asyncio.run(scenario())


def test_a_restarted_filter_continues_where_it_was(tmp_path: Path) -> None:
    """Killed between two snapshots: the new one follows the recorded cuts to the same state, repeats no cut and no signal, and goes on alike."""

    async def scenario() -> None:
        batches = TapeMaker(COUNT).day(400, LIFTED)
        undisturbed = await opened_house()
        steady = undisturbed.service()
        await undisturbed.run(steady, batches)

        house = await opened_house(tmp_path)
        await house.run(house.service(), batches[: len(batches) // 2])
        missed = batches[len(batches) // 2 : len(batches) // 2 + 20]
        for batch in missed:
            house.publish(batch)
        await asyncio.sleep(0)
        second = house.service()
        await house.run(second, batches[len(batches) // 2 + 20 :])

        cuts = await house.cuts()
        assert [seq for cut in cuts for seq in range(cut.first_seq, cut.last_seq + 1)] == [batch.seq for batch in batches]
        signals = await house.signals()
        assert len({signal.id for signal in signals}) == len(signals)
        assert second.state.gaps == 0
        assert second.state.market.columns.totals.tobytes() == steady.state.market.columns.totals.tobytes()
        assert second.state.market.columns.second_volume.tobytes() == steady.state.market.columns.second_volume.tobytes()
        assert replayed(batches, cuts) == signals

    asyncio.run(scenario())


def test_a_damaged_snapshot_is_a_cold_start(tmp_path: Path) -> None:
    """Garbage in the folder is said and not used; the tape's memory does the rest."""

    async def scenario() -> None:
        (tmp_path / "figures-7").write_bytes(b"garbage")
        house = await opened_house(tmp_path)
        batches = TapeMaker(COUNT).day(20, LIFTED)
        service = house.service()
        await house.run(service, batches)
        assert service.state.seq == batches[-1].seq

    asyncio.run(scenario())


def test_what_candidates_looked_like_is_told_once_a_minute() -> None:
    """As the models read it, each symbol once in five minutes: 700 s of three candidates are at most three rows of each, and nobody else's."""

    async def scenario() -> None:
        house = await opened_house()
        await house.run(house.service(), TapeMaker(COUNT).day(700, LIFTED), burst=50)
        told = [decode(payload, FeatureSample) for payload in house.heard[SUBJECTS.features]]
        counted = Counter(symbol for sample in told for symbol in sample.symbols)
        assert set(counted) == {"S0001", "S0002", "S0005"}
        assert set(counted.values()) <= {1, 2, 3}
        assert 1 <= len(told) <= 700 // 60
        for sample in told:
            values = np.frombuffer(sample.values, "<f4").reshape(len(sample.symbols), FEATURE_COUNT)
            assert values[:, NAMES.index("session_elapsed")].max() <= sample.elapsed + 1 / 23_400

    asyncio.run(scenario())
