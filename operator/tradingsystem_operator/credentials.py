"""What stands in the Secret ``<system>-nats``: a password per user, the file of users that the message server includes, and the key to Triton's models.

On a message server that a person runs, the passwords are that person's, and the key is all there is.

Made once. What exists is completed, never replaced: a new password would lock out every service that runs. Pure, given where passwords come from; the shell
reads and writes the Secret, and nothing here can print one.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping

from tradingsystem.messages.permissions import permissions
from tradingsystem.messages.server import USERS_FILE, users
from tradingsystem_operator.objects import SECRET, Object, Owner, make, name_of

TRITON_KEY = "triton-key"
"""What opens the API that changes what Triton holds. There for every system, so that its runtime can change."""


def credentials_name(system: str) -> str:
    """The name of the Secret."""
    return name_of(system, "nats")


def triton_credentials(existing: Mapping[str, bytes] | None, token: Callable[[], str]) -> dict[str, bytes]:
    """The Secret's data where the message server's passwords are a person's: the key to Triton's models alone."""
    return {TRITON_KEY: (_decoded((existing or {}).get(TRITON_KEY, b"")) or token()).encode()}


def credentials(system: str, existing: Mapping[str, bytes] | None, token: Callable[[], str]) -> dict[str, bytes]:
    """The Secret's data: every key of ``existing`` as it is, a ``token()`` for each user who has none, and the file of users made from them.

    The file alone is written anew, since who may say what belongs to the release; equal when nothing changed.
    """
    kept = {name: value for name, value in (existing or {}).items() if name != USERS_FILE}
    kept |= {TRITON_KEY: (_decoded(kept.get(TRITON_KEY, b"")) or token()).encode()}
    passwords = {row.user: _decoded(kept.get(row.user, b"")) or token() for row in permissions(system)}
    return kept | {user: password.encode() for user, password in passwords.items()} | {USERS_FILE: users(system, passwords)}


def _decoded(value: bytes) -> str:
    """A password as the server and the services must both read it; empty when it cannot be one."""
    text = value.decode("utf-8", errors="replace").strip()
    return "" if "\ufffd" in text else text


def secret(owner: Owner, data: Mapping[str, bytes]) -> Object:
    """The Secret itself, with ``data`` as the API server takes it."""
    encoded = {name: base64.b64encode(value).decode() for name, value in sorted(data.items())}
    return make(SECRET, owner, credentials_name(owner.name), "nats", type="Opaque", data=encoded)
