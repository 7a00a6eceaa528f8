"""What every bus promises. A class with these tests names its buses; two users of one system talk."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

import pytest

from tests.promises.waiting import run, until
from tradingsystem.domain.errors import TryAgain
from tradingsystem.interfaces import Bus, Delivery
from tradingsystem.messages.subjects import Subjects

SUBJECTS = Subjects("testing")


class BusPromises:
    """One suite, two worlds."""

    def buses(self) -> AbstractAsyncContextManager[tuple[Bus, Bus]]:
        """The bus as ingestion and as execution have it."""
        raise NotImplementedError

    def test_order_is_kept_per_publisher_and_subject(self) -> None:
        """A reader that applies messages as they come must see them in the order in which they were sent."""

        async def main() -> None:
            async with self.buses() as (speaker, listener):
                heard: list[bytes] = []
                await listener.subscribe(SUBJECTS.tape, lambda delivery: heard.append(delivery.payload))
                for number in range(2000):
                    speaker.publish(SUBJECTS.tape, number.to_bytes(4, "big"))
                await speaker.flush()
                await until(lambda: len(heard) >= 2000)
                assert heard == [number.to_bytes(4, "big") for number in range(2000)]

        run(main())

    def test_handlers_never_run_inside_publish(self) -> None:
        """A service that publishes while it handles must not be entered again."""

        async def main() -> None:
            async with self.buses() as (speaker, listener):
                inside = False
                entered: list[bool] = []
                await listener.subscribe(SUBJECTS.tape, lambda _: entered.append(inside))
                inside = True
                speaker.publish(SUBJECTS.tape, b"x")
                inside = False
                await until(lambda: entered)
                assert entered == [False]

        run(main())

    def test_wildcards_hear_every_service(self) -> None:
        """The monitor hears all heartbeats with one subscription, and nothing else."""

        async def main() -> None:
            async with self.buses() as (speaker, listener):
                heard: list[str] = []
                await listener.subscribe("beat.testing.>", lambda delivery: heard.append(delivery.subject))
                speaker.publish(SUBJECTS.tape, b"not a beat")
                speaker.publish(SUBJECTS.beat("ingestion"), b"1")
                await speaker.flush()
                await until(lambda: heard)
                assert heard == ["beat.testing.ingestion"]

        run(main())

    def test_a_slow_subscriber_loses_its_oldest(self) -> None:
        """What is stale is what may be lost: after an overflow the newest messages are the ones that are left."""

        async def main() -> None:
            async with self.buses() as (speaker, listener):
                heard: list[int] = []
                await listener.subscribe(SUBJECTS.tape, lambda delivery: heard.append(int(delivery.payload)), pending_max=8)
                other: list[int] = []
                await listener.subscribe(SUBJECTS.tape, lambda delivery: other.append(int(delivery.payload)))
                for number in range(1000):
                    speaker.publish(SUBJECTS.tape, b"%d" % number)
                await until(lambda: other and other[-1] == 999)
                await until(lambda: heard and heard[-1] == 999)
                assert len(heard) < 1000
                assert heard == sorted(heard)
                assert other == list(range(1000))

        run(main())

    def test_a_closed_subscription_hears_nothing(self) -> None:
        """After ``close`` a handler may be gone: calling it would be calling into nothing. Closing twice is once."""

        async def main() -> None:
            async with self.buses() as (speaker, listener):
                heard: list[bytes] = []
                other: list[bytes] = []
                subscription = await listener.subscribe(SUBJECTS.tape, lambda delivery: heard.append(delivery.payload))
                await listener.subscribe(SUBJECTS.tape, lambda delivery: other.append(delivery.payload))
                await subscription.close()
                await subscription.close()
                speaker.publish(SUBJECTS.tape, b"x")
                await until(lambda: other)
                assert heard == []

        run(main())

    def test_a_question_is_answered(self) -> None:
        """A person's command comes back with what became of it."""

        async def main() -> None:
            async with self.buses() as (person, execution):

                def handle(delivery: Delivery) -> None:
                    assert delivery.answer is not None
                    delivery.answer(b"heard " + delivery.payload)

                await execution.subscribe(SUBJECTS.command, handle)
                assert await person.request(SUBJECTS.command, b"halt", 5.0) == b"heard halt"

        run(main())

    def test_a_question_nobody_answers_ends(self) -> None:
        """Without an answer the asker is told in time and can say so."""

        async def main() -> None:
            async with self.buses() as (person, execution):
                with pytest.raises(TryAgain):
                    await person.request(SUBJECTS.command, b"halt", 0.2)
                await execution.subscribe(SUBJECTS.command, lambda _: None)
                with pytest.raises(TryAgain):
                    await person.request(SUBJECTS.command, b"halt", 0.2)

        run(main())

    def test_one_failing_handler_does_not_deafen(self) -> None:
        """A handler's mistake is told to the process and the next message still arrives."""

        async def main() -> None:
            told: list[object] = []
            asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
            async with self.buses() as (speaker, listener):
                heard: list[bytes] = []

                def handle(delivery: Delivery) -> None:
                    if delivery.payload == b"bad":
                        raise ValueError("a handler's mistake")
                    heard.append(delivery.payload)

                await listener.subscribe(SUBJECTS.tape, handle)
                for payload in (b"bad", b"good"):
                    speaker.publish(SUBJECTS.tape, payload)
                await until(lambda: heard)
                assert [type(error) for error in told] == [ValueError]

        run(main())
