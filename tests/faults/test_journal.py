"""Real faults of the journal's disk under a real message server, with the shipped execution and the simulator's broker over sockets."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.execution.venue import Running, Venue, played
from tests.promises.server import RunningServer
from tradingsystem.adapters.clocks import SystemClock
from tradingsystem.adapters.nats_journal import NatsJournal
from tradingsystem.domain.control import CommandKind
from tradingsystem.domain.errors import OutcomeUnknown, RequestRefused, TryAgain
from tradingsystem.execution.protection import cover_of
from tradingsystem.messages.codec import decode
from tradingsystem.monitor.service import MonitorService
from tradingsystem.monitor.view import Room

DISK_MEGABYTES = 16
NOBODY_WRITES_SECONDS = 2.0

Tell = Callable[[float], None]

pytestmark = [pytest.mark.nats, pytest.mark.timeout(120)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    """A server of this test's own."""
    running = RunningServer(tmp_path / "nats", system="desk")
    running.start()
    yield running
    running.stop()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes where the server keeps its data."""
    folder = tmp_path / "nats" / "data"
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MEGABYTES}m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def connect(venue: Venue, server: RunningServer) -> list[NatsJournal]:
    """Give the venue's services their journals on this server."""
    own, filtering = NatsJournal(server.as_user("execution"), bytes_max=1 << 28), NatsJournal(server.as_user("filter"), bytes_max=1 << 28)
    await own.open()
    await filtering.open()
    venue.journal, venue.signals = own, filtering
    return [own, filtering]


async def holding(venue: Venue) -> Running:
    """A life that holds 40 covered shares of AAA."""
    running = Running(venue)
    await running.start()
    await venue.signal("AAA")
    await venue.until(lambda: venue.shares("AAA") == 40)
    await venue.until(lambda: running.service.state.held("AAA") == 40 and cover_of(running.service.state, "AAA").unprotected == 0)
    return running


def bought(venue: Venue) -> list[str]:
    """Client order ids of all entries that the broker has."""
    return [order.client_order_id for order in venue.ledger.orders.values() if order.side == "buy"]


def stopped_shares(venue: Venue, symbol: str) -> int:
    """Shares under an open stop at the broker."""
    return sum(int(order.quantity - order.filled) for order in venue.ledger.open_orders() if order.symbol == symbol and order.stop_price)


def fill(ballast: Path) -> None:
    """Write until the disk is full."""
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


async def refused(venue: Venue) -> None:
    """Send signals until the journal takes no more: what fits into blocks that are there already is still taken."""
    for _ in range(1_000):
        try:
            await venue.signal("BBB")
        except (RequestRefused, TryAgain, OutcomeUnknown):
            return
    raise AssertionError("a thousand entries were taken on a full disk")


async def flat(venue: Venue) -> None:
    """A person closes everything; the broker holds nothing."""
    await venue.command(CommandKind.FLATTEN)
    await venue.until(lambda: not any(venue.shares(symbol) for symbol in ("AAA", "BBB")), 30)


@pytest.mark.tmpfs
def test_disk_of_nats_full(small_disk: Path, server: RunningServer, back_after: Tell) -> None:
    """No byte can be written: no intent, so no order; what is held stays under its stops at the broker; space and a new start bring everything back."""

    async def story(venue: Venue) -> None:
        journals = await connect(venue, server)
        first = await holding(venue)
        ballast = small_disk / "ballast"
        fill(ballast)
        await refused(venue)
        until_ns = venue.now_ns + int(NOBODY_WRITES_SECONDS * venue.speed * 1e9)
        await venue.until(lambda: venue.now_ns > until_ns)
        assert stopped_shares(venue, "AAA") == venue.shares("AAA") == 40
        await first.kill()
        for journal in journals:
            await journal.close()
        ballast.unlink()
        started = time.monotonic()
        server.kill()
        server.launch()
        journals = await connect(venue, server)
        again = Running(venue)
        await again.start()
        back_after(time.monotonic() - started)
        ids = bought(venue)
        assert len(ids) == len(set(ids))
        subject = venue.subjects.journal_intents
        assert {entry.subject.rpartition(".")[2] for entry in [each async for each in journals[0].read(subject)]} >= set(ids)
        await flat(venue)
        await again.stop()
        for journal in journals:
            await journal.close()

    played(story)


@pytest.mark.tmpfs
def test_the_disk_is_told_before_it_is_full(small_disk: Path, server: RunningServer) -> None:
    """The monitor names disk and journal while an intent can still be written, once each, and is silent again when there is room."""

    async def story(venue: Venue) -> None:
        journals = await connect(venue, server)

        async def disk() -> Room:
            usage = shutil.disk_usage(small_disk)
            return Room(usage.total - usage.free, usage.total)

        said: list[list[str]] = []
        await venue.bus.subscribe(venue.subjects.state("monitor"), lambda delivery: said.append(decode(delivery.payload, list[str])))
        stop, told = asyncio.Event(), lambda: bool(said) and any("the disk is" in problem for problem in said[-1])
        monitor = MonitorService(system="desk", expected=(), clock=SystemClock(), bus=venue.bus, stores={"the disk": disk})
        working = asyncio.create_task(monitor.run(lambda: None, stop))
        await venue.until(lambda: bool(said))
        assert said[-1] == []
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(int(shutil.disk_usage(small_disk).free * 0.85)))
        await venue.until(told)
        await journals[0].append(venue.subjects.journal_latch, b"an entry still fits")
        assert (await journals[0].room())[0] > 0
        ballast.unlink()
        await venue.until(lambda: not told())
        stop.set()
        await working
        for journal in journals:
            await journal.close()

    played(story)


def test_the_journal_lost_its_last_seconds(server: RunningServer, back_after: Tell) -> None:
    """The store comes back as it was before the last order: position and protection are known by the broker's word, and the order is not sent again."""

    async def story(venue: Venue) -> None:
        journals = await connect(venue, server)
        first = await holding(venue)
        data, kept = server.settings.folder / "data", server.settings.folder / "kept"
        server.pause()
        shutil.copytree(data, kept)
        server.resume()
        await venue.signal("BBB")
        await venue.until(lambda: venue.shares("BBB") == 40)
        await venue.until(lambda: cover_of(first.service.state, "BBB").unprotected == 0 and first.service.state.held("BBB") == 40)
        await first.kill()
        for journal in journals:
            await journal.close()
        server.kill()
        shutil.rmtree(data)
        shutil.copytree(kept, data)
        before, started = bought(venue), time.monotonic()
        server.launch()
        journals = await connect(venue, server)
        again = Running(venue)
        await again.start()
        back_after(time.monotonic() - started)
        for symbol in ("AAA", "BBB"):
            await venue.until(lambda name=symbol: cover_of(again.service.state, name).unprotected == 0)  # type: ignore[misc]
            assert again.service.state.held(symbol) == venue.shares(symbol) == stopped_shares(venue, symbol) == 40
        assert bought(venue) == before
        await flat(venue)
        await again.stop()
        for journal in journals:
            await journal.close()

    played(story)


def test_nats_data_wiped_between_two_runs(server: RunningServer, back_after: Tell) -> None:
    """The journal is gone and the account is not: position and protection are known again from the broker's orders alone, and can be closed."""

    async def story(venue: Venue) -> None:
        journals = await connect(venue, server)
        first = await holding(venue)
        await first.stop()
        for journal in journals:
            await journal.close()
        server.kill()
        shutil.rmtree(server.settings.folder / "data")
        started = time.monotonic()
        server.launch()
        journals = await connect(venue, server)
        again = Running(venue)
        await again.start()
        back_after(time.monotonic() - started)
        await venue.until(lambda: cover_of(again.service.state, "AAA").unprotected == 0)
        assert again.service.state.held("AAA") == venue.shares("AAA") == stopped_shares(venue, "AAA") == 40
        ids = bought(venue)
        assert len(ids) == len(set(ids))
        await flat(venue)
        await again.stop()
        for journal in journals:
            await journal.close()

    played(story)
