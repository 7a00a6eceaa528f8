"""When models learn and what a new one must show before it serves. By itself it learns in Paper and Live only."""

from typing import Annotated

from msgspec import Meta

from tradingsystem.spec.section import Percent, Section, about

CRON_PATTERN = r"^(|[0-9*,/-]+ [0-9*,/-]+ [0-9*,/-]+ [0-9*,/-]+ [0-9*,/-]+)$"
Schedule = Annotated[str, Meta(max_length=100, pattern=CRON_PATTERN)]


class Incremental(Section, frozen=True, kw_only=True):
    """The small update after each session."""

    schedule: Annotated[
        Schedule, about("Cron expression of five numeric fields. Empty: never. Default: 23:30 on weekdays, the founding daily_update_time.")
    ] = "30 23 * * 1-5"
    window_sessions: Annotated[int, Meta(ge=1, le=250), about("Sessions it learns from. 5: the founding update_window.")] = 5


class Retrain(Section, frozen=True, kw_only=True):
    """The full training from scratch."""

    schedule: Annotated[
        Schedule,
        about("Cron expression of five numeric fields. Empty: never. Default: 00:30 on Saturdays, the founding full_retrain_time."),
    ] = "30 0 * * 6"


class Promotion(Section, frozen=True, kw_only=True):
    """What a candidate must show."""

    better_probability_min_percent: Annotated[
        int,
        Meta(ge=50, le=100),
        about("Probability that the candidate is better than what serves, percent. 80: the founding performance_threshold."),
    ] = 80
    shadow_session_minutes: Annotated[
        Annotated[int, Meta(ge=0, le=3_900)],
        about("Minutes of open market it runs beside the serving one, unheard. 60: two horizons of p."),
    ] = 60
    canary_percent: Annotated[
        Percent, about("Part of the symbols it decides on before it decides on all, percent. 10: a bad one costs a tenth.")
    ] = 10


class Learning(Section, frozen=True, kw_only=True):
    """Schedules, promotion and how many versions are kept."""

    incremental: Annotated[Incremental, about("The daily update.")] = Incremental()
    retrain: Annotated[Retrain, about("The weekly training.")] = Retrain()
    online: Annotated[
        bool,
        about(
            "Adapt the weights of the members that serve to what became of their live predictions, within half of the bundle's own. false: only what was "
            "trained and promoted decides."
        ),
    ] = False
    time_zone: Annotated[
        str,
        Meta(min_length=1, max_length=64, pattern="^[A-Za-z]+([/_+-][A-Za-z0-9]+)*$"),
        about('IANA zone the schedules are read in. The exchange\'s, so that "after the close" stays after the close.'),
    ] = "America/New_York"
    promotion: Annotated[Promotion, about("What a candidate must show.")] = Promotion()
    versions_kept: Annotated[
        int, Meta(ge=2, le=100), about("Bundles kept; at least the serving one and the one before. 5: the founding max_versions.")
    ] = 5
