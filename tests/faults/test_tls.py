"""TLS that is expired, untrusted or about to expire, and names that do not resolve: refused, named, and told before it happens.

Certificates are made here; the clients are the shipped ones in a process that trusts the authority the way a person makes it so.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.listening import Memory, listening
from tests.faults.authority import Authority
from tradingsystem.adapters.alpaca.broker import AlpacaBroker
from tradingsystem.adapters.alpaca.credentials import Credentials
from tradingsystem.adapters.certificates import WARN_SECONDS, CertificateWatch
from tradingsystem.adapters.clocks import SystemClock
from tradingsystem.adapters.polygon.client import PolygonSettings, PolygonSource
from tradingsystem.domain.errors import TryAgain
from tradingsystem.telemetry import metrics

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = {"account_number": "1", "equity": "1", "cash": "1", "buying_power": "1"}
NOWHERE = "no-such-host.invalid"  # RFC 2606: never resolves


class Answers(http.server.BaseHTTPRequestHandler):
    """The account, whatever is asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = json.dumps(ACCOUNT).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PATCH(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextlib.contextmanager
def venue(certificate: Path) -> Iterator[str]:
    """An address that shows this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # that clients turn away is the point
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@pytest.mark.timeout(60)
def test_a_bad_certificate_is_refused_and_a_short_one_told(tmp_path: Path) -> None:
    """Expired and untrusted: nothing is sent, a write is not called unknown, the reason is the certificate's; one that ends soon works and alarms."""
    ours, foreign = Authority.made("an authority"), Authority.made("somebody else")
    trusted = ours.certificate(tmp_path / "authority.pem", days=400, authority=True)
    cases = {
        "good": ours.certificate(tmp_path / "good.pem", days=90),
        "short": ours.certificate(tmp_path / "short.pem", days=5),
        "expired": ours.certificate(tmp_path / "expired.pem", days=-1),
        "untrusted": foreign.certificate(tmp_path / "untrusted.pem", days=90),
    }
    with contextlib.ExitStack() as stack:
        addresses = [stack.enter_context(venue(certificate)) for certificate in cases.values()]
        command = [sys.executable, "-m", "tests.faults.tls_client", *addresses]
        environment = os.environ | {"SSL_CERT_FILE": str(trusted)}
        answer = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True, timeout=50)
    found = dict(zip(cases, map(json.loads, answer.stdout.splitlines()), strict=True))
    assert found["good"]["read"] == found["good"]["write"] == "answered"
    assert found["good"]["alarms"] == {"certificate_expires": 0, "certificate_refused": 0}
    assert found["short"]["read"] == found["short"]["write"] == "answered"
    assert found["short"]["alarms"] == {"certificate_expires": 1, "certificate_refused": 0}
    assert 0 < found["short"]["data_certificate_seconds"] < 5 * 86_400 < found["good"]["data_certificate_seconds"]
    for name, reason in (("expired", "certificate has expired"), ("untrusted", "unable to get local issuer certificate")):
        for asked in ("read", "write"):
            assert found[name][asked] == f"TryAgain: Alpaca's certificate is refused: {reason}"
        assert found[name]["data"] == f"TryAgain: Alpaca market data's certificate is refused: {reason}"
        assert found[name]["socket"] == f"127.0.0.1's certificate is refused: {reason}"
        assert found[name]["alarms"] == {"certificate_expires": 0, "certificate_refused": 2}


def test_the_end_of_a_certificate_is_told_two_weeks_ahead() -> None:
    """The days left are a metric; the alarm begins in time and not before."""
    watch, alarm = CertificateWatch("test venue"), metrics.alarms.labels(alarm="certificate_expires")
    end = ssl.cert_time_to_seconds("Jan  5 09:34:43 2027 GMT")
    before = alarm._value.get()
    watch.judge("Jan  5 09:34:43 2027 GMT", end - WARN_SECONDS - 60)
    assert alarm._value.get() == before
    watch.judge("Jan  5 09:34:43 2027 GMT", end - WARN_SECONDS + 60)
    assert alarm._value.get() == before + 1
    assert metrics.certificate_left.labels(place="test venue")._value.get() == WARN_SECONDS - 60


def test_a_name_that_does_not_resolve_is_an_address_that_cannot_be_reached() -> None:
    """No name, no connection: a write is known not to have been sent, and market data says what it waits for."""

    async def story() -> None:
        broker = AlpacaBroker(f"https://{NOWHERE}", lambda: Credentials("K", "S"), SystemClock().now)
        for asked in (broker.account(), broker.suspend(suspended=False)):
            with pytest.raises(TryAgain, match="cannot be reached"):
                await asked
        await broker.close()
        settings = PolygonSettings(name="polygon", url=f"wss://{NOWHERE}", key=lambda: "K", channels=frozenset({"MinuteBars"}))
        sink = Memory()
        async with listening(PolygonSource(settings, SystemClock()), sink, ("ABC",)):
            await sink.until(lambda: sink.told(False, NOWHERE))

    asyncio.run(story())
