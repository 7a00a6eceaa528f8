"""TLS towards a real message server: what is wrong with it is refused and named, and a password never leaves in clear where TLS was asked for."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.authority import Authority
from tests.promises.server import RunningServer
from tests.promises.waiting import run, until
from tradingsystem.adapters.nats import NatsBus, NatsSettings
from tradingsystem.domain.errors import InvalidInput, TryAgain
from tradingsystem.messages.subjects import Subjects
from tradingsystem.telemetry import metrics

SUBJECTS = Subjects("testing")
OPEN_SECONDS = 1.0

pytestmark = pytest.mark.nats


@pytest.fixture
def authority() -> Authority:
    """Whom we trust."""
    return Authority.made("an authority")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    """A server that is not started yet, so that it can be given a certificate."""
    running = RunningServer(tmp_path / "nats")
    yield running
    running.stop()


def started(server: RunningServer, certificate: Path | None) -> None:
    """Start it, with TLS where there is a certificate."""
    server.start()
    if certificate is None:
        return
    server.stop()
    pair = json.dumps({"cert_file": str(certificate), "key_file": str(certificate)})
    with (server.settings.folder / "nats.conf").open("a") as file:
        file.write(f"tls: {pair}\n")
    server.launch()


def reached(server: RunningServer, trusted: Path | None) -> NatsBus:
    """A bus that asks for TLS, its own authority trusted."""
    url = f"tls://127.0.0.1:{server.settings.port}"
    return NatsBus(server.as_user("filter", url=url, ca_file=trusted))


def refusal(bus: NatsBus) -> str:
    """Why it cannot be opened."""

    async def main() -> str:
        with pytest.raises(TryAgain) as caught:
            await bus.open(OPEN_SECONDS)
        return str(caught.value)

    return run(main())


def test_the_right_certificate_is_spoken_to(server: RunningServer, authority: Authority, tmp_path: Path) -> None:
    """With an authority of our own: heard and said as ever, the end of the certificate told, and a lost connection made again the same way."""
    trusted = authority.certificate(tmp_path / "authority.pem", days=400, authority=True)
    started(server, authority.certificate(tmp_path / "good.pem", days=90))

    async def main() -> None:
        bus = reached(server, trusted)
        await bus.open()
        heard: list[bytes] = []
        await bus.subscribe(SUBJECTS.beat("*"), lambda delivery: heard.append(delivery.payload))
        server.kill()
        await until(lambda: not bus.connection.up)
        server.launch()
        await until(lambda: bus.connection.up)
        bus.publish(SUBJECTS.beat("filter"), b"alive")
        await until(lambda: heard)
        assert heard == [b"alive"]
        await bus.close()

    run(main())
    assert 89 * 86_400 < metrics.certificate_left.labels(place="the message server")._value.get() < 91 * 86_400


@pytest.mark.parametrize(
    ("days", "address", "foreign", "reason"),
    [
        (90.0, "127.0.0.1", True, "unable to get local issuer certificate"),
        (-1.0, "127.0.0.1", False, "certificate has expired"),
        (90.0, "127.0.0.2", False, "IP address mismatch, certificate is not valid for '127.0.0.1'."),
    ],
    ids=["wrong-authority", "expired", "wrong-host"],
)
def test_a_bad_certificate_is_refused_and_named(
    server: RunningServer, authority: Authority, tmp_path: Path, days: float, address: str, *, foreign: bool, reason: str
) -> None:
    """By its address and TLS' own reason, with an alarm; the password is in no text."""
    trusted = authority.certificate(tmp_path / "authority.pem", days=400, authority=True)
    signing = Authority.made("somebody else") if foreign else authority
    started(server, signing.certificate(tmp_path / "bad.pem", days=days, address=address))
    alarm = metrics.alarms.labels(alarm="certificate_refused")
    before = alarm._value.get()
    bus = reached(server, trusted)
    assert refusal(bus) == f"no message server within 1 s: tls://127.0.0.1:{server.settings.port}: its certificate is refused: {reason}"
    assert alarm._value.get() == before + 1


def test_a_server_in_clear_is_told_nothing(authority: Authority, tmp_path: Path) -> None:
    """A server, or whoever sits between, that only does not ask for TLS gets neither name nor password: not one byte."""
    trusted = authority.certificate(tmp_path / "authority.pem", days=400, authority=True)
    said: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))
    info = json.dumps({"server_id": "x", "version": "2.12.0", "max_payload": 1 << 20, "headers": True, "auth_required": True})

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.sendall(f"INFO {info}\r\n".encode())
                said.append(client.recv(4096))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()

    async def main() -> None:
        settings = NatsSettings(f"tls://127.0.0.1:{listener.getsockname()[1]}", "testing", "filter", "the-password", ca_file=trusted)
        with pytest.raises(TryAgain, match="it does not ask for TLS, which its address does; nothing was told to it"):
            await NatsBus(settings).open(OPEN_SECONDS)

    run(main())
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)
    assert said
    assert set(said) == {b""}


def test_a_real_server_without_tls_is_refused_where_it_was_asked(server: RunningServer, authority: Authority, tmp_path: Path) -> None:
    """Not spoken to in clear instead."""
    trusted = authority.certificate(tmp_path / "authority.pem", days=400, authority=True)
    started(server, None)
    assert "it does not ask for TLS" in refusal(reached(server, trusted))


def test_authorities_that_cannot_be_read_are_named(server: RunningServer, tmp_path: Path) -> None:
    """Before anything is connected."""
    empty = tmp_path / "empty.pem"
    empty.write_text("not a certificate")
    started(server, None)
    for path in (tmp_path / "none.pem", empty):
        with pytest.raises(InvalidInput, match=path.name):
            reached(server, path)


def test_one_of_several_addresses_is_enough(server: RunningServer) -> None:
    """Whichever is asked first; and when none answers, each is named with its reason."""
    started(server, None)
    nobody = "nats://127.0.0.1:9"

    async def main() -> None:
        for urls in ((nobody, server.settings.url), (server.settings.url, nobody)):
            bus = NatsBus(server.as_user("filter", url=",".join(urls)))
            await bus.open()
            await bus.close()
        bus = NatsBus(server.as_user("filter", url=f"{nobody},nats://127.0.0.2:9"))
        with pytest.raises(TryAgain) as caught:
            await bus.open(OPEN_SECONDS)
        assert all(f"{url}: [Errno" in str(caught.value) for url in (nobody, "nats://127.0.0.2:9"))

    asyncio.run(main())
