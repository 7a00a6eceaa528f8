"""TLS towards the message server: asked for by an address that begins with ``tls://``, and then never left out.

nats-py goes on in clear when a server does not ask for TLS, password included, whatever the address says. The client here looks before it says who it is.
Whether a certificate is good (authority, host, time) is TLS' own judgement, which is never softened.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import nats.errors
from nats.aio.client import Client

from tradingsystem.domain.errors import InvalidInput
from tradingsystem.spec.messaging import is_encrypted


class TlsRefused(nats.errors.Error):
    """A server that does not show what TLS asks of it. Nothing was told to it."""


class EncryptedWhereAsked(Client):
    """A client that says nothing to a server without TLS where its address asks for it."""

    def _connect_command(self) -> bytes:
        """What nats-py says first, with name and password in it."""
        assert self._current_server is not None, "nats-py chose a server before it greets it"
        if is_encrypted(self._current_server.uri.geturl()) and self._encrypted() is None:
            raise TlsRefused("it does not ask for TLS, which its address does; nothing was told to it")
        command: bytes = super()._connect_command()
        return command

    def peer_certificate(self) -> Mapping[str, Any] | None:
        """What the server showed; None without TLS."""
        encrypted = self._encrypted()
        return encrypted.getpeercert() if encrypted is not None else None

    def _encrypted(self) -> ssl.SSLObject | None:
        writer = getattr(self._transport, "_io_writer", None)
        return writer.get_extra_info("ssl_object") if writer is not None else None


def is_refusal(problem: Exception) -> bool:
    """Whether a server refused name or password."""
    return "authorization" in str(problem).lower()


def trusted(urls: Iterable[str], ca_file: Path | None) -> ssl.SSLContext | None:
    """Certificates of these authorities, else of this machine's own, for the host that is asked for; None where no address asks for TLS. Raises
    ``InvalidInput``."""
    if not any(map(is_encrypted, urls)):
        return None
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        why = error.strerror or "it holds no certificate in PEM"
        raise InvalidInput(f"{ca_file}: cannot read the authorities of the message server's certificate ({why})") from error
