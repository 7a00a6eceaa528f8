"""What is said of a system: eight conditions, each reason out of the table, and a status that does not change unless something has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from tests.operator.systems import beat, trading
from tradingsystem.domain.control import Beat, ModelsState
from tradingsystem.domain.errors import Unplayable
from tradingsystem.domain.trading import Latch, LatchKind, TradingState, TradingStatus
from tradingsystem.spec.status import Condition, ConditionStatus, ConditionType, ModelsReport, TradingReport, TradingSystemStatus
from tradingsystem_operator import conditions
from tradingsystem_operator.desired import NO_TRITON_IMAGE
from tradingsystem_operator.events import TOLD
from tradingsystem_operator.facts import ControlFact, Facts, Problem, WorkloadFact
from tradingsystem_operator.generate_conditions import PATH, text
from tradingsystem_operator.reasons import REASONS
from tradingsystem_operator.status import PROFIT_SECONDS, as_document, next_status, read_status
from tradingsystem_operator.telling import model_steps

AT_NS = 1_772_461_800_000_000_000  # 2 March 2026, 09:30 in New York
MODELS = ModelsState(
    serving=3,
    pinned=0,
    generation=1,
    refused={"4": "LiveLoss: evidence 900 to 1", "5": "no words of ours"},
    previous=2,
    trial=6,
    phase="Shadow",
    rolled_back=4,
    rolled_back_because="LiveLoss: evidence 900 to 1",
    rolled_back_to=3,
    rolled_back_at_ns=AT_NS,
)
NOW = datetime(2026, 3, 3, 17, 0, 0, tzinfo=UTC)
READY = WorkloadFact(name="execution", exists=True, ready=True, revision=1, image="x:1")
LATCH = Latch(
    id="l1", kind=LatchKind.DAILY_LOSS, state=TradingState.HALTED, reason="lost 500", set_by="execution", set_at_ns=trading().at_ns
)


def heard(status: TradingStatus | None = None, *beats: Beat, **more: object) -> ControlFact:
    made = {each.service: each for each in beats}
    known = ControlFact(connected=True, trading=status, beats=made, beat_ages=dict.fromkeys(made, 0.1), acknowledged=True)
    return ControlFact(**{name: getattr(known, name) for name in ControlFact.__dataclass_fields__} | more)  # type: ignore[arg-type]


def facts(**changes: object) -> Facts:
    known: dict[str, object] = {
        "now": NOW,
        "generation": 4,
        "workloads": (READY,),
        "control": heard(trading()),
        "version": "1",
        "revision": 1,
    }
    return Facts(**known | changes)  # type: ignore[arg-type]


def said(made: Facts, before: TradingSystemStatus | None = None) -> dict[ConditionType, Condition]:
    return {condition.type: condition for condition in next_status(made, before or TradingSystemStatus()).conditions}


def test_every_condition_is_said_and_what_is_not_known_is_unknown() -> None:
    """A dashboard that waits for a condition must find it; nobody is told that data is fresh by who could not be asked."""
    found = said(facts(control=ControlFact()))
    assert set(found) == set(ConditionType)
    unknown = {kind for kind, condition in found.items() if condition.status is ConditionStatus.UNKNOWN}
    assert unknown == {ConditionType.MODEL_SERVING, ConditionType.DATA_FRESH, ConditionType.TRADING_ENABLED}
    assert all(condition.observed_generation == 4 for condition in found.values())


def test_a_closed_or_halted_market_is_still_ready() -> None:
    """Ready says that it can do what is asked; an alarm each evening would be switched off."""
    found = said(facts(control=heard(trading(TradingState.HALTED, latches=(LATCH,)))))
    assert found[ConditionType.READY].status is ConditionStatus.TRUE
    assert (found[ConditionType.TRADING_ENABLED].status, found[ConditionType.TRADING_ENABLED].reason) == (ConditionStatus.FALSE, "Halted")
    assert "latch l1 (DailyLoss): lost 500" in found[ConditionType.TRADING_ENABLED].message


def test_the_weightiest_problem_gives_the_reason_and_all_are_told() -> None:
    """One look shows everything; what a person must correct first comes first."""
    pods = WorkloadFact(name="filter", exists=True, ready=False, problems=(Problem("CrashLoop", "filter: ends again and again"),))
    found = said(facts(workloads=(READY, pods), problems=(Problem("MissingSecret", "Secret alpaca is not there"),)))
    degraded = found[ConditionType.DEGRADED]
    assert (degraded.status, degraded.reason) == (ConditionStatus.TRUE, "MissingSecret")
    assert degraded.message.splitlines() == ["Secret alpaca is not there", "filter: ends again and again"]
    assert (found[ConditionType.READY].status, found[ConditionType.READY].reason) == (ConditionStatus.FALSE, "MissingSecret")


def test_a_bundle_that_serves_in_process_while_triton_is_not_ready_is_said_so() -> None:
    """Serving either way, and a person sees by which; that Triton has no node is the problem of its pod."""
    for ready, reason in ((True, "Serving"), (False, "ServingInProcess")):
        triton = WorkloadFact(name="triton", exists=True, ready=ready, revision=1)
        made = facts(workloads=(READY, triton), control=heard(trading(), beat("models"), models=MODELS))
        condition = said(made)[ConditionType.MODEL_SERVING]
        assert (condition.status, condition.reason) == (ConditionStatus.TRUE, reason)
        assert "bundle 3" in condition.message


def test_what_waits_says_why() -> None:
    """A rollout that stands still without a word is a support call."""
    found = said(facts(waiting=(Problem("PositionsOpen", "execution: its pod is changed when nothing is held"),)))
    assert (found[ConditionType.PROGRESSING].status, found[ConditionType.PROGRESSING].reason) == (ConditionStatus.TRUE, "PositionsOpen")
    assert found[ConditionType.READY].status is ConditionStatus.TRUE


def test_live_settings_that_are_not_acknowledged_are_under_way() -> None:
    """Whoever lowered a limit must be able to wait for it."""
    pending = facts(control=heard(trading(), acknowledged=False))
    before = TradingSystemStatus(acknowledged_generation=3)
    status = next_status(pending, before)
    assert said(pending)[ConditionType.PROGRESSING].reason == "LiveSettingsPending"
    assert (status.observed_generation, status.acknowledged_generation) == (4, 3)
    assert next_status(facts(), before).acknowledged_generation == 4


def test_the_same_facts_make_the_same_status() -> None:
    """A system that runs costs no write: the moment of a condition stays while its status does."""
    first = next_status(facts(), TradingSystemStatus())
    later = next_status(facts(now=NOW + timedelta(hours=1)), first)
    assert as_document(later) == as_document(first)


def test_profit_moves_at_most_every_thirty_seconds_and_only_on_change() -> None:
    """Twelve writes an hour for a number that moves each second, none for one that stands."""

    def at(seconds: float, profit: str, before: TradingSystemStatus) -> TradingSystemStatus:
        return next_status(facts(now=NOW + timedelta(seconds=seconds), control=heard(trading(profit=profit))), before)

    first = at(0, "10", TradingSystemStatus())
    assert isinstance(first.trading, TradingReport)
    assert first.trading.day_profit == "10.00"
    soon = at(PROFIT_SECONDS - 1, "12", first)
    assert soon.trading == first.trading
    late = at(PROFIT_SECONDS, "12", first)
    assert isinstance(late.trading, TradingReport)
    assert late.trading.day_profit == "12.00"
    assert at(500, "10", first).trading == first.trading


def test_a_silent_execution_keeps_what_it_said_last() -> None:
    """A rule of the API server asks for positions before the mode may change: they must not vanish because nobody listens."""
    before = next_status(facts(), TradingSystemStatus())
    silent = next_status(facts(control=ControlFact()), before)
    assert silent.trading == before.trading
    old = next_status(facts(control=heard(trading(TradingState.HALTED), trading_age=60.0)), before)
    assert old.trading == before.trading


def test_hashes_come_from_the_services_themselves() -> None:
    """What a pod was started with is what it says, not what was asked for; a restart of the operator forgets neither."""
    status = next_status(
        facts(control=heard(trading(), beat("execution", boot_hash="cd" * 32), live_hash="ef" * 32)), TradingSystemStatus()
    )
    assert (status.components[0].boot_hash, status.components[0].live_hash) == ("cd" * 32, "ef" * 32)
    assert next_status(facts(control=ControlFact()), status).components == status.components


PROBLEMS = st.builds(Problem, st.sampled_from([reason.name for reason in REASONS]), st.text(max_size=6_000))


@given(
    st.lists(PROBLEMS, max_size=4),
    st.lists(PROBLEMS, max_size=2),
    st.lists(PROBLEMS, max_size=2),
    st.booleans(),
    st.sampled_from([None, trading(), trading(TradingState.REDUCING, latches=(LATCH,), why="x" * 5_000)]),
    st.sampled_from([None, {}, {"polygon": ""}, {"polygon": "cut off"}]),
)
def test_whatever_is_observed_the_definition_takes_it(
    problems: list[Problem],
    waiting: list[Problem],
    warned: list[Problem],
    ready: bool,
    status: TradingStatus | None,
    sources: dict[str, str] | None,
) -> None:
    """A status that the API server refuses would be an operator that says nothing at the very moment somebody looks."""
    workload = WorkloadFact(name="execution", exists=True, ready=ready, image="x" * 512)
    made = facts(
        problems=tuple(problems),
        waiting=tuple(waiting),
        warnings=tuple(warned),
        workloads=(workload,),
        control=heard(status, beat("ingestion"), beat("models"), sources=sources),
    )
    document = as_document(next_status(made, TradingSystemStatus()))
    assert read_status(document) != TradingSystemStatus()
    assert msgspec.convert(document, TradingSystemStatus) == read_status(document)


def test_what_models_says_is_mirrored_and_kept_while_it_is_silent() -> None:
    """Who serves, who served before, who is on trial in which phase, who was refused and what was taken back for which, with the reasons."""
    status = next_status(facts(control=heard(trading(), beat("models"), models=MODELS)), TradingSystemStatus())
    assert as_document(status)["models"] == {
        "serving": 3,
        "previous": 2,
        "candidate": 6,
        "candidatePhase": "Shadow",
        "refused": [
            {"version": 4, "reason": "LiveLoss", "why": "evidence 900 to 1"},
            {"version": 5, "reason": "Refused", "why": "no words of ours"},
        ],
        "lastRollback": {"fromVersion": 4, "toVersion": 3, "at": "2026-03-02T14:30:00Z", "why": "LiveLoss: evidence 900 to 1"},
    }
    assert next_status(facts(control=ControlFact()), status).models == status.models


def test_each_step_of_a_version_is_told_once() -> None:
    """In the order in which it happened; what stands in the status already is not told again, and a version that was taken back is not also refused."""
    before = next_status(
        facts(control=heard(models=ModelsState(serving=4, pinned=0, generation=1, refused={}))), TradingSystemStatus()
    ).models
    after = next_status(facts(control=heard(models=MODELS)), TradingSystemStatus()).models
    steps = model_steps(before, after)
    assert [step.reason for step in steps] == ["ModelRolledBack", "ModelRefused", "ModelOnTrial", "ModelSwitched"]
    assert steps[0].note == "version 4 was taken back, version 3 serves again: LiveLoss: evidence 900 to 1"
    assert [step.warning for step in steps] == [True, True, False, False]
    assert {step.reason for step in steps} <= set(TOLD)
    assert model_steps(after, after) == model_steps(before, UNSET) == ()
    assert [step.note for step in model_steps(UNSET, before)] == ["version 4 serves"]


@given(version=st.integers(0, 10**9 - 1), words=st.text(max_size=2_000), at_ns=st.integers(0, 2**62))
def test_whatever_models_says_the_definition_takes_it(version: int, words: str, at_ns: int) -> None:
    """Words that come from people and from other releases: lengths and forms are ours."""
    refused = {str(version): words, str(version + 1): f"NotBetter: {words}"}
    state = ModelsState(
        serving=version, pinned=0, generation=1, refused=refused, rolled_back=version, rolled_back_because=words, rolled_back_at_ns=at_ns
    )
    document = as_document(next_status(facts(control=heard(models=state)), TradingSystemStatus()))
    assert isinstance(read_status(document).models, ModelsReport)


def test_a_status_that_cannot_be_read_counts_as_none() -> None:
    """An older release's status must not stop the newer operator."""
    assert read_status({"conditions": [{"type": "Nonsense"}]}) == TradingSystemStatus()
    assert read_status(None) == TradingSystemStatus()


def test_the_page_has_every_reason_and_each_says_what_it_means() -> None:
    """Whoever sees a reason finds it, and a problem has a remedy."""
    page = PATH.read_text(encoding="utf-8")
    assert page == text()
    assert len({reason.name for reason in REASONS}) == len(REASONS)
    assert NO_TRITON_IMAGE in {reason.name for reason in REASONS}
    assert [reason.name for reason in REASONS if f"`{reason.name}`" not in page or not reason.means] == []
    degraded = [reason for reason in REASONS if reason.condition is ConditionType.DEGRADED and reason.name != "AsExpected"]
    assert [reason.name for reason in degraded if not reason.remedy] == []


def test_every_reason_in_the_tables_is_given_somewhere() -> None:
    """A page that lists what never happens sends people looking for it."""
    package = Path(conditions.__file__).parent
    tables = {"reasons.py", "events.py"}
    code = "".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py") if path.name not in tables)
    of_others = {each.value for each in (*TradingState, *Unplayable)}
    assert [name for name in (*(reason.name for reason in REASONS), *TOLD) if f'"{name}"' not in code and name not in of_others] == []
