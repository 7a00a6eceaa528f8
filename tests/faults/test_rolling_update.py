"""Services of different builds over a rolling update: execution opens nothing from the first new one to the last, closes and covers all the while."""

from __future__ import annotations

import asyncio

import pytest

from tests.execution.venue import Running, Venue, opened
from tradingsystem.domain.control import Beat, CommandKind
from tradingsystem.execution.protection import cover_of
from tradingsystem.messages.codec import encode

SERVICES = ("ingestion", "filter", "execution")

pytestmark = pytest.mark.timeout(90)


def test_nothing_opens_until_all_are_of_one_build() -> None:
    """One service after the other becomes the new build; each step but the last is refused by name, an unreadable beat too; exits are not."""

    async def story() -> None:
        async with opened(Venue(speed=20.0)) as venue:
            for symbol in ("AAA", "BBB", "CCC", "DDD"):
                venue.quote(symbol, 99.98, 100.00)
            running = Running(venue, peers=SERVICES)
            await running.start()
            state = running.service.state

            def speak(service: str, build: str, boot_hash: str = "h1") -> None:
                venue.bus.publish(venue.subjects.beat(service), encode(Beat(service, "i", build, 1, boot_hash, 0, "ready", 0, {})))

            for service in SERVICES:
                speak(service, "old")
            await venue.until(lambda: state.peers_problem == "")
            await venue.signal("AAA")
            await venue.until(lambda: venue.shares("AAA") == 40 and cover_of(state, "AAA").unprotected == 0)

            for number, service in enumerate(SERVICES[:-1], start=1):
                speak(service, "new")
                await venue.until(lambda: "disagree on build" in state.peers_problem)
                await venue.signal("BBB")
                await venue.until(lambda wanted=number: state.statistics.refused.get("services-disagree", 0) == wanted)  # type: ignore[misc]
            venue.bus.publish(venue.subjects.beat("filter"), b"a beat of a schema that nobody here can read")
            await venue.until(lambda: "not heard yet: filter" in state.peers_problem)
            await venue.command(CommandKind.FLATTEN)
            await venue.until(lambda: venue.shares("AAA") == 0)
            assert venue.shares("BBB") == 0

            for service in SERVICES:
                speak(service, "new", "h2")
            await venue.until(lambda: state.peers_problem == "")
            await venue.signal("CCC")
            await venue.until(lambda: venue.shares("CCC") == 40)
            await running.stop()

    asyncio.run(story())
