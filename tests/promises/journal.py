"""What every journal promises."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import pytest

from tests.promises.waiting import run, until
from tradingsystem.domain.errors import RequestRefused
from tradingsystem.interfaces import Entry, Journal
from tradingsystem.messages.subjects import Subjects

SUBJECTS = Subjects("testing")


class JournalPromises:
    """One suite, two worlds. Each test begins with a journal that may hold entries of others."""

    def journal(self) -> AbstractAsyncContextManager[Journal]:
        """The journal as execution has it."""
        raise NotImplementedError

    def test_an_appended_entry_is_read_back(self) -> None:
        """What was acknowledged is there, at the place that was told."""

        async def main() -> None:
            async with self.journal() as journal:
                before = await journal.last_seq()
                seq = await journal.append(SUBJECTS.journal_latch, b"one")
                assert seq == before + 1 == await journal.last_seq()
                found = [entry async for entry in journal.read(SUBJECTS.journal_latch, seq)]
                assert found == [Entry(seq, SUBJECTS.journal_latch, b"one")]

        run(main())

    def test_entries_have_one_sequence(self) -> None:
        """Awaited or not, on whatever subject: the order of handing over is the order for ever."""

        async def main() -> None:
            async with self.journal() as journal:
                start = await journal.last_seq() + 1
                for number in range(300):
                    journal.append_later(SUBJECTS.journal_inbox, b"%d" % number)
                await journal.append(SUBJECTS.journal_latch, b"latch")
                await journal.flush()
                found = [entry async for entry in journal.read(SUBJECTS.journal, start)]
                inbox = [entry.payload for entry in found if entry.subject == SUBJECTS.journal_inbox]
                assert inbox == [b"%d" % number for number in range(300)]
                assert [entry.seq for entry in found] == list(range(start, start + 301))

        run(main())

    def test_a_subject_is_created_once(self) -> None:
        """An intent's second life under the same id is refused by the journal itself."""

        async def main() -> None:
            async with self.journal() as journal:
                subject = SUBJECTS.journal_intent("created-once")
                await journal.append(subject, b"first", create=True)
                with pytest.raises(RequestRefused):
                    await journal.append(subject, b"second", create=True)
                assert [entry.payload async for entry in journal.read(subject)] == [b"first"]

        run(main())

    def test_a_replaced_owner_is_fenced(self) -> None:
        """Whoever holds an old fence record can append neither an intent nor a new fence record."""

        async def main() -> None:
            async with self.journal() as journal:
                fences = [entry.seq async for entry in journal.read(SUBJECTS.journal_fence)]
                old = await journal.append(SUBJECTS.journal_fence, b"old owner", fence_seq=fences[-1] if fences else 0)
                await journal.append(SUBJECTS.journal_intent("fenced-1"), b"x", create=True, fence_seq=old)
                new = await journal.append(SUBJECTS.journal_fence, b"new owner", fence_seq=old)
                with pytest.raises(RequestRefused):
                    await journal.append(SUBJECTS.journal_intent("fenced-2"), b"x", create=True, fence_seq=old)
                with pytest.raises(RequestRefused):
                    await journal.append(SUBJECTS.journal_fence, b"old again", fence_seq=old)
                await journal.append(SUBJECTS.journal_intent("fenced-3"), b"x", create=True, fence_seq=new)
                with pytest.raises(RequestRefused):
                    await journal.append(SUBJECTS.journal_intent("fenced-1"), b"x", create=True, fence_seq=new)
                assert [entry async for entry in journal.read(SUBJECTS.journal_intent("fenced-2"))] == []

        run(main())

    def test_reading_ends_with_what_is_there(self) -> None:
        """A reader of the past must not wait for the future, also when nothing on its subject is left at all."""

        async def main() -> None:
            async with self.journal() as journal:
                subject = SUBJECTS.journal_intent("ends")
                assert [entry async for entry in journal.read(subject)] == []
                seq = await journal.append(subject, b"x")
                await journal.append(SUBJECTS.journal_latch, b"y")
                assert [entry.seq async for entry in journal.read(subject, seq)] == [seq]
                assert [entry.seq async for entry in journal.read(subject, seq + 1)] == []

        run(main())

    def test_following_hears_past_and_future_once(self) -> None:
        """From its sequence on: everything, in order, nothing twice."""

        async def main() -> None:
            async with self.journal() as journal:
                start = await journal.last_seq() + 1
                for number in range(1500):
                    journal.append_later(SUBJECTS.journal_inbox, b"%d" % number)
                await journal.flush()
                heard: list[Entry] = []
                subscription = await journal.follow(SUBJECTS.journal_inbox, start, heard.append)
                for number in range(1500, 3000):
                    journal.append_later(SUBJECTS.journal_inbox, b"%d" % number)
                await until(lambda: len(heard) >= 3000)
                await subscription.close()
                assert [int(entry.payload) for entry in heard] == list(range(3000))
                assert [entry.seq for entry in heard] == sorted(entry.seq for entry in heard)

        run(main())

    def test_identity_is_kept(self) -> None:
        """The same store says the same name each time it is asked."""

        async def main() -> None:
            async with self.journal() as journal:
                first = await journal.identity()
                await journal.append(SUBJECTS.journal_latch, b"x")
                assert first
                assert await journal.identity() == first

        run(main())
