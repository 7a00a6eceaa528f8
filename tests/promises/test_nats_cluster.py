"""The journal and the lease keep their promises on three message servers as on one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.promises.cluster import SIZE, RunningCluster
from tests.promises.journal import JournalPromises
from tests.promises.lease import LeasePromises
from tests.promises.server import RunningServer
from tests.promises.waiting import run, until_answered
from tradingsystem.adapters.nats_journal import NatsJournal
from tradingsystem.adapters.nats_lease import NatsLease
from tradingsystem.domain.errors import InvalidInput, OutcomeUnknown, RequestRefused
from tradingsystem.interfaces import Journal, Lease
from tradingsystem.messages.subjects import Subjects
from tradingsystem.process.connecting import ensured, opened

pytestmark = pytest.mark.nats

BYTES_MAX = 1 << 26
NO_REVISION = 1 << 40


def test_a_stream_kept_by_fewer_is_told_and_left(nats_cluster: RunningCluster) -> None:
    """Who asks for three where one keeps it starts nothing, and is told what an administrator does; who asks for fewer than there are has what was asked."""

    async def main() -> None:
        cluster = nats_cluster
        async with as_execution(cluster) as journal, as_execution(cluster, replicas=1) as alone:
            await ensured(NatsLease(alone.connection))
            with pytest.raises(InvalidInput, match="nats stream edit KV_lease_testing --replicas 3"):
                await NatsLease(journal.connection).ensure()
            assert await journal.append(Subjects("testing").journal_latch, b"x")
        await cluster.forget("KV_lease_testing")

    run(main())


def test_a_server_alone_is_no_cluster(tmp_path: Path) -> None:
    """Three keepers are asked of one server: no stream with fewer is made instead."""
    server = RunningServer(tmp_path)
    server.start()

    async def main() -> None:
        journal = NatsJournal(server.as_user("execution", replicas=3), bytes_max=BYTES_MAX)
        with pytest.raises(InvalidInput, match="is to be kept by 3, and the message server is no cluster"):
            await journal.open()
        await journal.close()

    run(main())
    server.stop()


@asynccontextmanager
async def as_execution(cluster: RunningCluster, replicas: int = SIZE) -> AsyncIterator[NatsJournal]:
    """Its journal, through any of the members."""
    journal = await opened(lambda: NatsJournal(cluster.as_user("execution", replicas=replicas), bytes_max=BYTES_MAX))
    yield journal
    await journal.close()


class TestReplicatedJournal(JournalPromises):
    """One stream on three disks."""

    @pytest.fixture(autouse=True)
    def _cluster(self, nats_cluster: RunningCluster) -> None:
        self.cluster = nats_cluster

    @asynccontextmanager
    async def journal(self) -> AsyncIterator[Journal]:
        """As execution has it."""
        async with as_execution(self.cluster) as journal:
            yield journal


async def _is_known(lease: Lease) -> bool:
    """Whether the member that we speak to has heard of the bucket that another one leads: until then nobody answers there. What is tried is refused."""
    try:
        await lease.write(b"", NO_REVISION)
    except RequestRefused:
        return True
    except OutcomeUnknown:
        return False
    raise AssertionError("a revision that there is not was accepted")


class TestReplicatedLease(LeasePromises):
    """A bucket of the three, given anew to each test."""

    @pytest.fixture(autouse=True)
    def _cluster(self, nats_cluster: RunningCluster) -> None:
        self.cluster = nats_cluster

    @asynccontextmanager
    async def lease(self, life_seconds: float = 1.0) -> AsyncIterator[Lease]:
        """As execution has it."""
        async with as_execution(self.cluster) as journal:
            made = await ensured(NatsLease(journal.connection, life_seconds=life_seconds))
            await until_answered(lambda: _is_known(made))
            yield made
            await self.cluster.forget("KV_lease_testing")
