"""A challenger beside the version that serves: unheard as a shadow, alone responsible for its part as a canary, and never a danger to who serves."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.filter.days import Formula, TapeMaker, manifest, spec_of
from tests.filter.house import SUBJECTS, House, opened_house
from tradingsystem.domain.control import ModelsAssigned, WeightsUpdated
from tradingsystem.domain.errors import TryAgain
from tradingsystem.domain.outcomes import FilterModels, Outcome, Role
from tradingsystem.domain.rows import F32
from tradingsystem.domain.signals import Cut, CutOutcome, Signal
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.ensemble.labels import SAMPLE_SECONDS
from tradingsystem.filter import service as filter_service
from tradingsystem.filter.deciding import Answer, Decider, Serving, expired
from tradingsystem.filter.splitting import share_of
from tradingsystem.filter.step import Swept, create, step
from tradingsystem.interfaces import Scores
from tradingsystem.messages.batch import Batch, encode_batch
from tradingsystem.messages.codec import decode
from tradingsystem.recorder.segments import Record
from tradingsystem.world.replay import Half, replay_filter

COUNT = 8
LIFTED = {1: 103.0, 2: 104.0, 3: 103.5, 4: 102.8, 5: 102.5, 6: 103.2}
FIRST = {1, 2, 4}
SHADOWED = ModelsAssigned(1, shadow=2)
HALVED = ModelsAssigned(1, canary=2, canary_percent=50)
CANARYS = {name for name in (f"S{number:04d}" for number in LIFTED) if share_of(name, 2) < 5_000}


def model(version: int, **formula: object) -> Serving:
    """A bundle whose formula is told."""
    return Serving(Formula(version, **formula), manifest(version))  # type: ignore[arg-type]


def day(*parts: tuple[int, ModelsAssigned | None], tape: TapeMaker | None = None) -> list[Batch]:
    """A tape of parts: so many seconds, after these roles were given. The lifted symbols, at first not all of them,
    are higher in each part than in the one before, so that targets are touched."""
    tape = tape or TapeMaker(COUNT)
    found: list[Batch] = []
    for number, (seconds, roles) in enumerate(parts):
        if roles is not None:
            found.append(tape.batch(notes=(roles,)))
        found += tape.day(
            seconds, {symbol: price * (1 + 0.008 * number) for symbol, price in LIFTED.items() if number or symbol in FIRST}, seed=number
        )
    return found


def outcomes(house: House) -> list[Outcome]:
    """Everything that was told of predictions."""
    return [outcome for payload in house.heard.get(SUBJECTS.outcomes, []) for outcome in decode(payload, list[Outcome])]


def said(house: House) -> FilterModels:
    """What the filter last said of its models."""
    found: FilterModels = decode(house.heard[SUBJECTS.state("filter")][-1], FilterModels)
    return found


async def played(batches: list[Batch], models: dict[int, Serving], folder: Path | None = None) -> House:
    """A filter over the whole tape, a batch at a time."""
    house = await opened_house(folder, models)
    await house.run(house.service(), batches, burst=1)
    return house


async def replayed(house: House, batches: list[Batch], slopes: dict[int, float]) -> Half:
    """The recorded run once more, from nothing but its journal and its tape, with models loaded anew."""

    def load(version: int) -> tuple[Serving, object]:
        formula = Formula(version, slope=slopes.get(version, 10.0))

        def score(swept: Swept) -> Scores:
            return formula.score(swept.features.values)

        return Serving(formula, manifest(version)), score

    journal = [Record(0, entry.seq, 0, entry.subject, entry.payload) for entry in await house.entries()]
    tape = {(batch.epoch, batch.seq): encode_batch(batch) for batch in batches}
    return replay_filter("momentum", spec_of(), load, journal, tape)  # type: ignore[arg-type]


def test_a_shadow_is_followed_and_not_heard() -> None:
    """With a shadow the signals and cuts are those without one; its predictions are told beside the serving version's, on the same rows, with the same
    labels."""

    async def scenario() -> None:
        plain = await played(day((120, None), (60, None)), {})
        batches = day((1, SHADOWED), (119, None), (60, None))
        house = await played(batches, {2: model(2, slope=4.0)})
        signals = await house.signals()
        assert {signal.model for signal in signals} == {1}
        assert {cut.canary for cut in await house.cuts()} == {0}
        assert len(signals) == len(await plain.signals())
        found = {role: {(each.symbol, each.at_ns): each for each in outcomes(house) if each.role is role} for role in Role}
        pairs = found[Role.SERVING].keys() & found[Role.SHADOW].keys()
        assert len(pairs) >= 10
        assert found[Role.SHADOW].keys() <= found[Role.SERVING].keys()
        assert all(found[Role.SERVING][pair].label == found[Role.SHADOW][pair].label for pair in pairs)
        assert all(found[Role.SERVING][pair].p > found[Role.SHADOW][pair].p for pair in pairs)
        assert {each.label for each in found[Role.SERVING].values()} >= {1}
        assert all(len(each.members) == 3 and each.closed_ns > each.at_ns for each in outcomes(house))

    asyncio.run(scenario())


def test_predictions_are_sampled_once_per_symbol_in_twenty_seconds() -> None:
    """One opportunity is not counted a hundred times."""

    async def scenario() -> None:
        house = await played(day((120, None), (60, None)), {})
        by_symbol: dict[str, list[int]] = {}
        for each in outcomes(house):
            by_symbol.setdefault(each.symbol, []).append(each.at_ns)
        assert by_symbol.keys() == {f"S{number:04d}" for number in FIRST}
        for moments in by_symbol.values():
            assert np.diff(sorted(moments)).min(initial=SAMPLE_SECONDS * NS_PER_SECOND) >= (SAMPLE_SECONDS - 2) * NS_PER_SECOND
        assert len(outcomes(house)) <= len(LIFTED) * (180 // SAMPLE_SECONDS + 1)

    asyncio.run(scenario())


def test_how_the_shadow_agrees_is_counted() -> None:
    """Rows, minutes of open market, latency, and a mean difference whose sign is right, for who promotes."""

    async def scenario() -> None:
        house = await opened_house(models={2: model(2, slope=4.0)})
        service = house.service()
        batches = day((1, SHADOWED), (119, None))
        await house.run(service, batches, burst=1)
        (agreement,) = service.trials.agreements()
        assert (agreement.model, agreement.role) == (2, Role.SHADOW)
        assert agreement.cuts > 100
        assert 90 <= agreement.open_seconds <= 120
        assert agreement.rows_not_finite == 0
        assert (agreement.difference_mean or 0.0) < 0
        assert agreement.decisions_changed > 0
        assert (agreement.latency_p50_us or 0.0) > 0
        assert said(house).shadow == 2

    asyncio.run(scenario())


class Broken:
    """A model that answers what is no number."""

    runtime = "broken"
    version = 2

    async def infer(self, features: F32) -> Scores:
        return Scores(members=np.full((len(features), 3), np.nan, np.float32), blend=np.full(len(features), np.nan, np.float32))


@pytest.mark.parametrize(
    "bad",
    [model(2, error=RuntimeError("the graph divides by zero")), model(2, error=TryAgain("too late")), Serving(Broken(), manifest(2))],
    ids=["raises", "late", "not a number"],
)
@pytest.mark.parametrize("roles", [SHADOWED, HALVED], ids=["shadow", "canary"])
def test_who_is_on_trial_harms_nobody(bad: Serving, roles: ModelsAssigned) -> None:
    """A challenger that raises, is late or answers NaN: the serving version's symbols signal as before, its own say nothing, and it is counted."""

    async def scenario() -> None:
        house = await opened_house(models={2: bad})
        service = house.service()
        await house.run(service, day((1, roles), (119, None)), burst=1)
        plain = await played(day((1, None), (119, None)), {})
        theirs = CANARYS if roles is HALVED else set()
        expected = {signal.symbol for signal in await plain.signals()} - theirs
        assert {signal.symbol for signal in await house.signals()} == expected != set()
        (agreement,) = service.trials.agreements()
        assert agreement.late > 50 or agreement.rows_not_finite == agreement.rows > 100
        assert all(outcome.model == 1 for outcome in outcomes(house))

    asyncio.run(scenario())


def canary_day() -> list[Batch]:
    """Serving alone, a canary for half, one for a tenth, the canary serving, taken back."""
    parts = ((90, ModelsAssigned(1)), (60, HALVED), (30, ModelsAssigned(1, 2, 10, 3)), (30, ModelsAssigned(2)), (30, ModelsAssigned(1)))
    return day(*parts)


def test_a_canary_decides_for_its_part_and_the_day_replays_to_the_byte() -> None:
    """In mid-day a canary gets half of the symbols: each signal is of the version that its symbol's hash names, every cut names both, and the recorded day
    made again, twice, gives one hash."""

    async def scenario() -> None:
        batches = canary_day()
        house = await played(batches, {2: model(2, slope=7.0), 3: model(3, slope=5.0)})
        cuts, signals = await house.cuts(), await house.signals()
        assert {(cut.model, cut.canary, cut.canary_percent) for cut in cuts} == {(1, 0, 0), (1, 2, 50), (1, 2, 10), (2, 0, 0)}
        halved = {(cut.epoch, cut.last_seq) for cut in cuts if cut.canary_percent == 50}
        split = [signal for signal in signals if (signal.epoch, signal.last_seq) in halved]
        assert {(signal.model, signal.symbol) for signal in split} == {(1, "S0003"), (1, "S0005"), (2, "S0006")}
        once = await replayed(house, batches, {2: 7.0, 3: 5.0})
        again = await replayed(house, batches, {2: 7.0, 3: 5.0})
        assert once.differences == []
        assert once.digest == again.digest
        assert once.outputs == len(cuts) + len(signals)
        other = await replayed(house, batches, {2: 6.9, 3: 5.0})
        assert other.digest != once.digest, "the canary's answers are part of what is compared"

    asyncio.run(scenario())


def test_both_sides_of_a_split_speak() -> None:
    """Both versions do signal, each for its own symbols only, in the order of the table."""

    async def scenario() -> None:
        house = await played(day((1, HALVED), (119, None)), {2: model(2)})
        signals = await house.signals()
        assert {signal.model for signal in signals} == {1, 2}
        assert all((signal.model == 2) == (signal.symbol in CANARYS) for signal in signals)
        found = {(each.role, each.symbol) for each in outcomes(await played(day((1, HALVED), (60, None), (60, None)), {2: model(2)}))}
        assert {symbol for role, symbol in found if role is Role.CANARY} == {symbol for role, symbol in found if role is Role.SERVING}

    asyncio.run(scenario())


def test_a_canary_that_cannot_be_loaded_leaves_all_to_who_serves() -> None:
    """It is refused with its reason, once, and every symbol is decided as before."""

    async def scenario() -> None:
        house = await played(day((1, ModelsAssigned(1, 99, 50)), (119, None)), {})
        assert {cut.canary for cut in await house.cuts()} == {0}
        assert {signal.model for signal in await house.signals()} == {1}
        assert said(house).refused == {"99": "bundle 99 is not signed"}

    asyncio.run(scenario())


def test_taking_back_loads_nothing() -> None:
    """The version before is still loaded when the canary is taken back, so a rollback waits for no disk."""

    async def scenario() -> None:
        house = await opened_house()
        roles = (ModelsAssigned(2), ModelsAssigned(2, 3, 10), ModelsAssigned(3), ModelsAssigned(2), ModelsAssigned(1))
        await house.run(house.service(), day(*((2, each) for each in roles)), burst=1)
        assert house.loaded == [2, 3]
        assert [cut.model for cut in await house.cuts()][-1] == 1

    asyncio.run(scenario())


def test_an_expired_bundle_opens_nothing() -> None:
    """After ``valid_until`` it is asked and followed, and no signal comes of it; on its last day it still speaks."""
    last_day = manifest()
    assert not expired(msgspec.structs.replace(last_day, valid_until="2026-03-02"), TapeMaker(1).session_day)
    assert expired(msgspec.structs.replace(last_day, valid_until="2026-03-01"), TapeMaker(1).session_day)
    assert expired(msgspec.structs.replace(last_day, valid_until="soon"), TapeMaker(1).session_day)

    async def scenario(valid_until: str) -> House:
        house = await opened_house()
        old = Serving(Formula(1), msgspec.structs.replace(manifest(), valid_until=valid_until))
        await house.run(house.service(old), day((120, None), (60, None)), burst=1)
        return house

    gone, alive = asyncio.run(scenario("2026-03-01")), asyncio.run(scenario("2026-03-02"))
    assert said(gone).expired == (1,)
    assert asyncio.run(gone.signals()) == []
    assert len(asyncio.run(alive.signals())) > 0
    assert len(outcomes(gone)) == len(outcomes(alive)) > 0


def test_a_restart_keeps_what_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in mid-day and started again: every prediction is told once, as if nothing had happened, but those that fell into the silent time."""
    monkeypatch.setattr(filter_service, "SNAPSHOT_INTERVAL_NS", 0)

    async def scenario() -> None:
        batches = day((120, None), (60, None))
        whole = outcomes(await played(batches, {}))
        house = await opened_house(tmp_path)
        half = len(batches) // 2
        await house.run(house.service(), batches[:half], burst=1)
        await house.run(house.service(), batches[half:], burst=1)
        told = outcomes(house)
        assert len({(each.symbol, each.at_ns) for each in told}) == len(told)
        assert set(told) <= set(whole)
        assert len(told) >= 0.8 * len(whole) > 0

    asyncio.run(scenario())


def test_late_and_lost_answers_leave_their_mark_in_the_cut() -> None:
    """The record says how the canary's inference ended, apart from the serving version's."""

    async def scenario() -> tuple[list[Cut], list[Signal]]:
        house = await played(day((1, HALVED), (60, None)), {2: model(2, error=TryAgain("too late"))})
        return await house.cuts(), await house.signals()

    cuts, _ = asyncio.run(scenario())
    asked = [cut for cut in cuts if cut.candidates]
    assert {(cut.outcome, cut.canary_outcome) for cut in asked} == {(CutOutcome.OK, CutOutcome.LATE)}


def weights(version: int = 1, update: int = 7, intercept: float = 0.3, learned: tuple[float, ...] = (0.2, 0.3, 0.5)) -> WeightsUpdated:
    """Learned weights, or none."""
    known = {"slope": 1.0, "intercept": intercept, "variance_slope": 1e-6, "variance_intercept": 1e-6, "covariance": 0.0}
    return WeightsUpdated(model=version, update=update, weights=learned, rows=500, reason="learned", **known)


def noted(*notes: WeightsUpdated, seconds: int = 100) -> list[Batch]:
    """A day that begins with these notes."""
    tape = TapeMaker(COUNT)
    return [tape.batch(notes=(ModelsAssigned(1), *notes)), *day((seconds, None), tape=tape)]


def test_learned_weights_decide_from_their_note_on_and_replay() -> None:
    """p is the members' blend by the note, every cut says which update it was, and the recorded day replays to the byte."""

    async def scenario() -> None:
        plain, learned = noted(), noted(weights())
        before, house = await played(plain, {}), await played(learned, {})
        assert {cut.weights for cut in await before.cuts()} == {0}
        assert {cut.weights for cut in await house.cuts()} == {7}
        old = {signal.symbol: signal.p for signal in await before.signals()}
        signals = await house.signals()
        assert signals
        for signal in signals:
            logit = np.log(old[signal.symbol] / (1 - old[signal.symbol])) + 0.3
            assert signal.p == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-6)
        half = await replayed(house, learned, {})
        assert half.differences == []

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "notes",
    [(weights(), weights(update=8, learned=())), (weights(version=2),), (weights(learned=(0.5, 0.5)),)],
    ids=["taken back", "another version's", "another number of members"],
)
def test_weights_that_do_not_apply_change_nothing(notes: tuple[WeightsUpdated, ...]) -> None:
    """Taken back, or said of another version: signals are those of the bundle's own blend, to the byte, and the cuts say so."""

    async def scenario() -> None:
        before, house = await played(noted(), {}), await played(noted(*notes), {})
        assert await house.signals() == await before.signals() != []
        assert {cut.weights for cut in await house.cuts()} == {0}

    asyncio.run(scenario())


def test_weights_that_are_no_numbers_open_nothing() -> None:
    """Whatever wrote them: NaN compared with a limit refuses."""
    house = asyncio.run(played(noted(weights(learned=(float("nan"), 0.5, 0.5))), {}))
    assert asyncio.run(house.signals()) == []


def remade(batches: list[Batch], cuts: list[Cut], canary: Serving) -> Decider:
    """What a decider that was never restarted remembers after these cuts."""
    state, decider = create(spec_of()), Decider(spec_of(), model(1))
    decider.assign(decider.serving, canary, cuts[0].canary_percent)
    by_seq = {batch.seq: batch for batch in batches}
    for cut in cuts:
        swept = step(state, [by_seq[seq] for seq in range(cut.first_seq, cut.last_seq + 1)], full=cut.full)
        answers = [
            Answer(model.inference.score(swept.features.values), outcome) if outcome is CutOutcome.OK else Answer(None, outcome)  # type: ignore[attr-defined]
            for model, outcome in ((decider.serving, cut.outcome), (canary, cut.canary_outcome))
        ]
        decider.decide(state, swept, answers[0].scores, answers[0].outcome, answers[1])
    return decider


def test_a_restart_under_a_canary_goes_on_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped while a canary decides for half, by learned weights: windows, roles and weights are found again, and the whole day replays to the byte."""
    monkeypatch.setattr(filter_service, "SNAPSHOT_INTERVAL_NS", 0)  # one each minute of the market, however fast it runs

    async def scenario() -> None:
        tape = TapeMaker(COUNT)
        batches = [tape.batch(notes=(HALVED, weights(version=2))), *day((90, None), (60, None), tape=tape)]
        models = {2: model(2, slope=7.0)}
        house = await opened_house(tmp_path, models)
        half = int(len(batches) * 0.55)
        await house.run(house.service(), batches[:half], burst=1)
        second = house.service()
        await house.run(second, batches[half:], burst=1)
        assert second.decider.roles == (1, 2, 50)
        again = remade(batches, await house.cuts(), models[2])
        for version in (1, 2):
            np.testing.assert_array_equal(second.decider.windows[version].snapshot()["ring"], again.windows[version].snapshot()["ring"])
        assert {cut.canary for cut in await house.cuts()} == {2}
        assert {signal.model for signal in await house.signals()} == {1, 2}
        assert (await replayed(house, batches, {2: 7.0})).differences == []

    asyncio.run(scenario())
