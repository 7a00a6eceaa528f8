"""A clock that is not the broker's, over the broker's wire: told, no entry while it lasts, and what is held is closed all the same."""

from __future__ import annotations

import pytest

from tests.execution.venue import Running, Venue, opened
from tests.promises.waiting import run
from tradingsystem.domain.control import CommandKind
from tradingsystem.simulator.faults import Scenario
from tradingsystem.telemetry import metrics

SPEED = 2.0  # with it the limit stays half a second
MINUTE_MS = 60_000


def alarms() -> float:
    return metrics.alarms.labels(alarm="clock-skewed")._value.get()


@pytest.mark.parametrize("skew_ms", [MINUTE_MS, -MINUTE_MS])
def test_a_clock_that_is_not_the_brokers_opens_nothing(skew_ms: int) -> None:
    """A minute ahead or behind: an alarm, entries refused by name, the position still closed; set right, it trades again."""

    async def main() -> None:
        async with opened(Venue(speed=SPEED)) as venue:
            venue.quote("AAA", 99.98, 100.0)
            venue.quote("BBB", 99.98, 100.0)
            running = Running(venue)
            await running.start()
            state, before = running.service.state, alarms()
            assert state.clock_skew_ns == 0
            await venue.signal("AAA")
            await venue.until(lambda: venue.shares("AAA") == state.held("AAA") == 40)

            async def ask_until(wanted: bool) -> None:
                def reached() -> bool:
                    state.snapshot_due_ns = 0  # ask at once, not in half a minute
                    return (state.clock_skew_ns != 0) is wanted

                await venue.until(reached)

            venue.faults.set(Scenario(clock_skew_ms=skew_ms))
            await ask_until(wanted=True)
            assert (state.clock_skew_ns > 0) is (skew_ms < 0)
            assert abs(state.clock_skew_ns) > 58 * 10**9
            assert alarms() > before
            assert abs(metrics.broker_clock_skew._value.get()) > 58.0
            await venue.signal("BBB")
            await venue.until(lambda: state.statistics.refused.get("clock-skewed") == 1)
            await venue.command(CommandKind.FLATTEN)
            await venue.until(lambda: venue.shares("AAA") == state.held("AAA") == 0)
            venue.faults.set(Scenario())
            await ask_until(wanted=False)
            await venue.signal("BBB")
            await venue.until(lambda: venue.shares("BBB") == 40)
            await running.stop()

    run(main())
