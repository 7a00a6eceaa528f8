"""The message server's configuration: streams fit into the store, the store into the volume, and secrets stand in a file of their own."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.promises.server import RunningServer
from tradingsystem.adapters.jetstream_cache import JetStreamCache
from tradingsystem.adapters.nats import NatsConnection
from tradingsystem.adapters.nats_journal import NatsJournal, NatsTape
from tradingsystem.adapters.nats_lease import NatsLease
from tradingsystem.adapters.nats_model_store import NatsModelStore
from tradingsystem.messages.permissions import permissions
from tradingsystem.messages.server import StoreSizes, account, configuration, password_variable, users
from tradingsystem.spec.quantities import bytes_of, number_of


@given(st.integers(min_value=1024**2, max_value=1 << 50))
def test_streams_fit_into_the_store_and_the_store_into_the_volume(volume_bytes: int) -> None:
    """On a volume of any size: what is reserved never exceeds what the server may use, or the journal could not be made at all."""
    sizes = StoreSizes.on_volume(volume_bytes)
    assert 0 < sizes.journal_bytes + sizes.cache_bytes + sizes.models_bytes < sizes.file_bytes < volume_bytes
    assert sizes.tape_bytes < sizes.memory_bytes


def test_configuration_holds_no_password() -> None:
    """What may be read by anybody includes the file of users and names none of them."""
    text = configuration("momentum", listen="0.0.0.0:4222", store_folder="/data", sizes=StoreSizes.on_volume(1 << 30)).decode()
    assert "include 'users.conf'" in text
    assert "password" not in text
    assert 'sync_interval": "always"' in text


def test_every_user_is_written_with_its_permissions() -> None:
    """Who has no password is a mistake of the caller, not a user without one."""
    rows = permissions("momentum")
    text = users("momentum", {row.user: f"word-of-{row.user}" for row in rows}).decode()
    assert all(f"word-of-{row.user}" in text for row in rows)
    with pytest.raises(KeyError):
        users("momentum", {})


@pytest.mark.parametrize(("quantity", "number"), [("10Gi", 10 * 1024**3), ("1.5Mi", 3 * 2**19), ("2M", 2_000_000), ("7", 7)])
def test_quantities_are_bytes(quantity: str, number: int) -> None:
    """Binary and decimal units are told apart."""
    assert bytes_of(quantity) == number


@pytest.mark.parametrize("quantity", ["", "Gi", "10GiB", "1e3", "-1"])
def test_what_is_no_quantity_is_refused(quantity: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match="is not an amount"):
        number_of(quantity)


@pytest.mark.nats
@pytest.mark.parametrize("volume", ["64Mi", "2Gi", "9Ti"])
def test_any_size_of_volume_can_run(tmp_path: Path, volume: str) -> None:
    """A real server, configured for a volume, takes every stream that services make on it; a small journal once could not start at all."""
    server = RunningServer(tmp_path, volume_bytes=bytes_of(volume))
    server.start()

    async def make_everything() -> None:
        sizes = server.settings.sizes
        journal = NatsJournal(server.as_user("execution"), bytes_max=sizes.journal_bytes)
        await journal.open()
        try:
            await JetStreamCache(journal.connection, bytes_max=sizes.cache_bytes).ensure()
            await NatsLease(journal.connection).ensure()
            await NatsTape(journal.connection, bytes_max=sizes.tape_bytes).ensure()
            learning = NatsConnection(server.as_user("learning"), "models")
            await learning.open()
            await NatsModelStore(learning, bytes_max=sizes.models_bytes).ensure()
            await learning.close()
            assert await journal.append("journal.testing.inbox", b"kept") == 1
        finally:
            await journal.close()

    try:
        asyncio.run(make_everything())
    finally:
        server.stop()


@pytest.mark.nats
def test_services_that_find_no_stream_at_once_all_get_the_same(tmp_path: Path) -> None:
    """The server counts what each of them would reserve before it looks whether the stream is there; the second is refused for want of room."""
    server = RunningServer(tmp_path, volume_bytes=bytes_of("2Gi"))
    server.start()

    async def open_together() -> None:
        users = ("execution", "recorder", "filter", "ingestion", "monitor", "models")
        made = [NatsJournal(server.as_user(user), bytes_max=server.settings.sizes.journal_bytes) for user in users]
        try:
            await asyncio.gather(*(journal.open() for journal in made))
            await asyncio.gather(*(NatsTape(journal.connection, bytes_max=server.settings.sizes.tape_bytes).ensure() for journal in made))
            assert await made[0].append("journal.testing.inbox", b"kept") == 1
        finally:
            await asyncio.gather(*(journal.close() for journal in made))

    try:
        asyncio.run(open_together())
    finally:
        server.stop()


def test_a_person_s_server_is_given_the_same_users_without_a_password() -> None:
    """Each under the system's name, since another system has the same services; passwords are variables, which must not stand in quotes."""
    given = account("my-fund").decode()
    passwords = {row.user: f"secret of {row.user}" for row in permissions("my-fund")}
    managed = users("my-fund", passwords).decode()
    for row in permissions("my-fund"):
        variable = f"${password_variable('my-fund', row.user)}"
        assert f'"user": "my-fund-{row.user}",\n        "password": {variable},' in given
        given = given.replace(f'"my-fund-{row.user}"', f'"{row.user}"').replace(variable, f'"{passwords[row.user]}"')
    assert json.loads(given.removeprefix("accounts: "))["my-fund"]["users"] == json.loads(managed.removeprefix("authorization: "))["users"]
