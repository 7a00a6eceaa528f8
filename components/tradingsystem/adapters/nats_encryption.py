"""TLS towards the message server: asked for by an address that begins with ``tls://``, and then never left out (``nats_client.py`` sees to that).

Whether a certificate is good (authority, host, time) is TLS' own judgement, which is never softened.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from pathlib import Path

from tradingsystem.domain.errors import InvalidInput
from tradingsystem.spec.messaging import is_encrypted


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
