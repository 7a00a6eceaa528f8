"""A journal that lost its last seconds, was torn, or is gone, on a real message server: the next life knows what the broker knows, and doubles nothing."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.execution.venue import Running, Venue, opened
from tests.promises.server import RunningServer
from tradingsystem.adapters.nats_journal import NatsJournal
from tradingsystem.domain.control import CommandKind
from tradingsystem.domain.trading import LatchKind
from tradingsystem.execution.protection import cover_of

pytestmark = [pytest.mark.nats, pytest.mark.timeout(120)]


def older(data: Path, before: Path) -> None:
    """What was written since the copy was made is gone."""
    shutil.rmtree(data)
    shutil.copytree(before, data)


def torn(data: Path, _: Path) -> None:
    """The file ends in the middle of an entry, and the server's own index is gone."""
    (block,) = data.rglob("JOURNAL_desk/msgs/1.blk")
    block.write_bytes(block.read_bytes()[: block.stat().st_size * 2 // 3])
    for index in data.rglob("JOURNAL_desk/**/index.db"):
        index.unlink()


def gone(data: Path, _: Path) -> None:
    """A new store."""
    shutil.rmtree(data)


@pytest.mark.parametrize(("spoil", "latched"), [(older, False), (torn, False), (gone, True)], ids=["last seconds", "torn", "gone"])
def test_the_next_life_knows_what_the_broker_knows(tmp_path: Path, spoil: Callable[[Path, Path], None], *, latched: bool) -> None:
    """Position, protection and the ids that were used are known again; only a store that is another one latches (invariants 2, 5, 8, 10)."""
    server = RunningServer(tmp_path / "nats", system="desk")
    server.start()

    async def connect(venue: Venue) -> list[NatsJournal]:
        made = [NatsJournal(server.as_user(user), bytes_max=1 << 28) for user in ("execution", "filter")]
        for journal in made:
            await journal.open()
        venue.journal, venue.signals = made
        return made

    async def played() -> None:
        async with opened(Venue(speed=20.0)) as venue:
            venue.quote("AAA", 99.98, 100.00)
            journals = await connect(venue)
            first = Running(venue, folder=tmp_path)
            await first.start()
            shutil.copytree(tmp_path / "nats" / "data", tmp_path / "before")
            await venue.signal("AAA")
            await venue.until(lambda: first.service.state.held("AAA") == venue.shares("AAA") == 40)
            await first.kill()
            for journal in journals:
                await journal.close()
            server.kill()
            spoil(tmp_path / "nats" / "data", tmp_path / "before")
            server.launch()
            journals = await connect(venue)
            again = Running(venue, folder=tmp_path)
            await again.start()
            state = again.service.state
            await venue.until(lambda: state.held("AAA") == venue.shares("AAA") == 40 and cover_of(state, "AAA").unprotected == 0)
            assert [latch.kind for latch in state.latches.values()] == ([LatchKind.NEW_STORE] if latched else [])
            bought = [order.client_order_id for order in venue.ledger.orders.values() if order.side == "buy"]
            assert len(bought) == len(set(bought)) == 2
            assert set(bought) <= set(state.book.orders)
            await venue.command(CommandKind.FLATTEN)
            await venue.until(lambda: state.held("AAA") == venue.shares("AAA") == 0)
            await again.stop()
            for journal in journals:
                await journal.close()

    try:
        asyncio.run(played())
    finally:
        server.stop()
