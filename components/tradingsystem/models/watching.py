"""What live answers say against a version: the filter's words about a challenger, and closed predictions of two versions on the same rows."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from tradingsystem.bundles.promotion import Alarmed, Event, Phase, State, Trial, Watched
from tradingsystem.bundles.refusal import Refusal
from tradingsystem.bundles.sequential import FALSE_ALARM, LossTest
from tradingsystem.domain.outcomes import Agreement, FilterModels, Outcome, Role

LATE_PERCENT_MAX = 5
LATE_CUTS_MIN = 200  # fewer say nothing
UNPAIRED_MAX = 50_000  # predictions that wait for the other version's word
PHASES = {Role.SHADOW: Phase.SHADOW, Role.CANARY: Phase.CANARY}


def said(state: State, models: FilterModels, now_ns: int) -> list[Event]:
    """What the filter's state means for the machine: how long a challenger has answered, and what speaks against a version."""
    found: list[Event] = []
    trial = state.trial
    watched = {state.serving, trial.version if trial is not None else 0} - {0}
    for name, reason in models.refused.items():
        if int(name) in watched:
            found.append(Alarmed(at_ns=now_ns, version=int(name), refusal=Refusal.NOT_LOADED, detail=f"the filter: {reason}"))
    for version in models.expired:
        if trial is not None and version == trial.version:
            found.append(Alarmed(at_ns=now_ns, version=version, refusal=Refusal.EXPIRED, detail="its date has passed: it opens nothing"))
    for agreement in models.agreements:
        if trial is None or agreement.model != trial.version:
            continue
        alarm = _against(agreement)
        if alarm is not None:
            found.append(Alarmed(at_ns=now_ns, version=agreement.model, refusal=alarm[0], detail=alarm[1]))
        else:
            phase = PHASES[agreement.role]
            found.append(Watched(at_ns=now_ns, version=agreement.model, phase=phase, open_seconds=agreement.open_seconds))
    return found


def watched_seconds(trial: Trial | None, models: FilterModels | None) -> int:
    """For how much open market the candidate has answered in its phase."""
    if trial is None or models is None:
        return 0
    return max((one.open_seconds for one in models.agreements if one.model == trial.version and PHASES[one.role] is trial.phase), default=0)


def _against(agreement: Agreement) -> tuple[Refusal, str] | None:
    """What a challenger's answers say against it. Another opinion is none of it: that is what it is there for."""
    if agreement.rows_not_finite:
        return Refusal.NOT_FINITE, f"{agreement.rows_not_finite} of {agreement.rows} rows scored are no probabilities"
    asked = agreement.cuts + agreement.late
    if asked >= LATE_CUTS_MIN and 100 * agreement.late > LATE_PERCENT_MAX * asked:
        return Refusal.SHADOW_DISAGREES, f"{agreement.late} of {asked} answers came late or not at all, at most {LATE_PERCENT_MAX} % may"
    return None


class LiveLoss:
    """Pairs closed predictions of the serving version with those of whoever stands beside it, and bets on either being worse.

    A restart begins again: the evidence is of this life, so the stated rate of false alarms is per life and pair.
    """

    def __init__(self) -> None:
        self._pair: tuple[int, int] = (0, 0)  # serving, beside
        self._tests: dict[int, LossTest] = {}
        self._waiting: OrderedDict[tuple[str, int], tuple[int, float]] = OrderedDict()

    def between(self, serving: int, beside: int, horizon_seconds: int) -> None:
        """These two from now on; the evidence on another pair is forgotten."""
        if (serving, beside) == self._pair:
            return
        self._pair, self._waiting = (serving, beside), OrderedDict()
        horizon_ns = horizon_seconds * 1_000_000_000
        self._tests = {version: LossTest(horizon_ns) for version in self._pair} if serving and beside else {}

    def hear(self, outcomes: Sequence[Outcome]) -> None:
        """Closed predictions, in any order; those of other versions are left out."""
        if not self._tests:
            return
        pairs: list[tuple[int, float, float, int]] = []
        for outcome in outcomes:
            if outcome.model not in self._pair:
                continue
            key = (outcome.symbol, outcome.at_ns)
            other = self._waiting.pop(key, None)
            if other is None or other[0] == outcome.model:
                self._waiting[key] = (outcome.model, outcome.p)
                continue
            serving, beside = (outcome.p, other[1]) if outcome.model == self._pair[0] else (other[1], outcome.p)
            pairs.append((outcome.at_ns, serving, beside, outcome.label))
        while len(self._waiting) > UNPAIRED_MAX:
            self._waiting.popitem(last=False)
        self._test(pairs)

    def _test(self, pairs: Iterable[tuple[int, float, float, int]]) -> None:
        rows = list(pairs)
        serving, beside = self._pair
        self._tests[serving].hear(rows)
        self._tests[beside].hear((at_ns, other, own, label) for at_ns, own, other, label in rows)

    def worse(self, now_ns: int) -> list[Event]:
        """The alarms there are by then."""
        found: list[Event] = []
        for version, test in self._tests.items():
            test.pass_to(now_ns)
            if test.worse:
                other = self._pair[0] if version == self._pair[1] else self._pair[1]
                detail = (
                    f"its closed predictions lose more than version {other}'s: evidence {test.wealth:.0f} to 1 after {test.windows} windows"
                )
                detail += f", false alarms {FALSE_ALARM:.0%}"
                found.append(Alarmed(at_ns=now_ns, version=version, refusal=Refusal.LIVE_LOSS, detail=detail))
        return found
