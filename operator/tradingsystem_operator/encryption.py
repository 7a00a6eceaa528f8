"""TLS towards message servers that persons run: where an address asks for it, the operator's client says nothing without it.

The same few lines as the services' own, which the operator cannot import: nats-py would go on in clear with a server that does not ask for TLS.
"""

from __future__ import annotations

import ssl

import nats.errors
from nats.aio.client import Client

from tradingsystem.spec.messaging import is_encrypted


class EncryptedWhereAsked(Client):
    """A client that says nothing to a server without TLS where its address asks for it."""

    def _connect_command(self) -> bytes:
        """What nats-py says first, with name and password in it."""
        assert self._current_server is not None, "nats-py chose a server before it greets it"
        writer = getattr(self._transport, "_io_writer", None)
        encrypted = writer is not None and writer.get_extra_info("ssl_object") is not None
        if is_encrypted(self._current_server.uri.geturl()) and not encrypted:
            raise nats.errors.Error("it does not ask for TLS, which its address does; nothing was told to it")
        command: bytes = super()._connect_command()
        return command


def trusted(authorities: str) -> ssl.SSLContext:
    """Certificates of these authorities, else of those that this machine trusts. Raises ``OSError`` for what is no certificate."""
    return ssl.create_default_context(cadata=authorities or None)


def told(error: Exception) -> str:
    """A connection's error in words; a certificate that is refused by TLS' own reason."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}"
    return str(error) or type(error).__name__
