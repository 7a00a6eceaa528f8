"""What every lease promises."""

from __future__ import annotations

import time
from contextlib import AbstractAsyncContextManager

import pytest

from tests.promises.waiting import run, until_answered
from tradingsystem.domain.errors import RequestRefused
from tradingsystem.interfaces import Lease


class LeasePromises:
    """One suite, two worlds. Each test begins with a lease that nobody holds and whose values last a second."""

    def lease(self) -> AbstractAsyncContextManager[Lease]:
        """The lease as execution has it."""
        raise NotImplementedError

    def test_what_was_written_is_read_back_with_its_revision(self) -> None:
        """Nobody holds it at first; then the writer does."""

        async def main() -> None:
            async with self.lease() as lease:
                assert await lease.read() is None
                revision = await lease.write(b"one", 0)
                assert await lease.read() == (b"one", revision)

        run(main())

    def test_only_who_knows_the_revision_writes(self) -> None:
        """Of two that saw the same, one wins; the loser has changed nothing."""

        async def main() -> None:
            async with self.lease() as lease:
                first = await lease.write(b"one", 0)
                with pytest.raises(RequestRefused):
                    await lease.write(b"two", 0)
                second = await lease.write(b"one again", first)
                with pytest.raises(RequestRefused):
                    await lease.write(b"two", first)
                assert await lease.read() == (b"one again", second)

        run(main())

    def test_it_runs_out_by_itself_and_not_before(self) -> None:
        """A value that nobody renews is gone after its life, and then anybody may write; a renewed one lives on."""

        async def main() -> None:
            async with self.lease() as lease:
                revision = await lease.write(b"one", 0)
                renewed_at = time.monotonic()
                revision = await lease.write(b"one", revision)

                async def gone() -> bool:
                    return await lease.read() is None

                await until_answered(gone)
                assert time.monotonic() - renewed_at >= lease.life_seconds
                with pytest.raises(RequestRefused):
                    await lease.write(b"one", revision)
                await lease.write(b"two", 0)

        run(main())
