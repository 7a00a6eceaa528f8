"""Keys are exchanged while execution runs: real files, the shipped order client and update stream, the simulator's broker over sockets."""

from __future__ import annotations

import asyncio
import io
import time
from pathlib import Path

import pytest
import structlog

from tests.execution.venue import Running, Venue, opened
from tradingsystem.adapters.alpaca.credentials import Credentials
from tradingsystem.domain.errors import NotAuthorized
from tradingsystem.process import secrets
from tradingsystem.process.secrets import Kept, Secrets
from tradingsystem.simulator.alpaca_account import Credentials as VenueCredentials

WRONG = "a-key-that-nobody-knows"


class Keys:
    """One secret's two files, private as the product wants them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "alpaca"
        self.folder.mkdir()
        self.write("KEY", "SECRET")
        kept = Secrets(folder)
        self._key, self._secret = kept.kept("alpaca", "apiKey"), kept.kept("alpaca", "apiSecret")

    def write(self, key: str, secret: str) -> None:
        """What a person or the cluster does."""
        for name, value in (("apiKey", key), ("apiSecret", secret)):
            (self.folder / name).touch(0o600)
            (self.folder / name).write_text(value + "\n")

    def pair(self) -> Credentials:
        """As the product's wiring asks for them."""
        return Credentials(self._key(), self._secret())


def test_an_exchanged_key_is_used_without_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker knows the new pair only; the files change; the same life trades on. A wrong pair is named, never shown, and mended the same way."""
    monkeypatch.setattr(secrets, "LOOK_SECONDS", 0.0)
    keys, said = Keys(tmp_path), io.StringIO()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(said))

    async def story() -> None:
        async with opened(Venue(speed=20.0)) as venue:
            for symbol in ("AAA", "BBB", "CCC"):
                venue.quote(symbol, 99.98, 100.00)
            running = Running(venue, credentials=keys.pair)
            await running.start()
            await venue.signal("AAA")
            await venue.until(lambda: venue.shares("AAA") == 40)

            venue.account.credentials = VenueCredentials("NEW-KEY", "NEW-SECRET")
            keys.write("NEW-KEY", "NEW-SECRET")
            await venue.signal("BBB")
            await venue.until(lambda: venue.shares("BBB") == 40)

            keys.write(WRONG, WRONG)
            await venue.signal("CCC")
            await venue.until(lambda: running.service.state.statistics.refused.get("not-authorized", 0) > 0)
            assert venue.shares("CCC") == 0
            for listener in list(venue.stream._listeners):
                listener.connection.close(1001, "going away")  # the stream, too, is refused now and tries again
            await venue.until(lambda: "key_refused" in said.getvalue())

            keys.write("NEW-KEY", "NEW-SECRET")
            await venue.until(lambda: running.service.state.connected and running.service.state.reconciled, 30)
            await venue.signal("CCC")
            await venue.until(lambda: venue.shares("CCC") == 40)
            assert venue.lives == 1
            await running.stop()

    try:
        asyncio.run(story())
    finally:
        structlog.reset_defaults()
    assert "alpaca key" in said.getvalue()
    assert WRONG not in said.getvalue()


def test_a_key_in_the_middle_of_its_exchange_serves_on() -> None:
    """A file that is gone or empty for a moment changes nothing and is told once; looking costs nothing in between."""
    values: list[str | None] = ["first"]
    now = [0.0]

    def read() -> str:
        if values[-1] is None:
            raise NotAuthorized("secret alpaca, key apiKey", "the file is empty")
        return values[-1]

    kept = Kept(read, "secret alpaca, key apiKey", lambda: now[0])
    values.append("second")
    assert kept() == "first"
    now[0] += secrets.LOOK_SECONDS
    assert kept() == "second"
    values.append(None)
    now[0] += secrets.LOOK_SECONDS
    assert kept() == "second"
    values.append("third")
    now[0] += secrets.LOOK_SECONDS
    assert kept() == "third"
    assert "third" not in repr(kept)


def test_a_first_key_that_is_missing_is_an_error_at_the_start(tmp_path: Path) -> None:
    """Nothing runs on a key that was never there."""
    with pytest.raises(NotAuthorized, match="secret alpaca, key apiKey"):
        Secrets(tmp_path, environment={}).kept("alpaca", "apiKey")


def test_an_exchanged_key_is_seen_in_time(tmp_path: Path) -> None:
    """Within a few seconds of the machine's own clock."""
    keys = Keys(tmp_path)
    keys.write("NEXT", "OTHER")
    deadline = time.monotonic() + 3 * secrets.LOOK_SECONDS
    while keys.pair() != Credentials("NEXT", "OTHER"):
        assert time.monotonic() < deadline
