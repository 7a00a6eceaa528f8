"""The message server's configuration as text: who may connect, how much is kept, and that an answer of the journal means it is on disk.

The one way to write ``nats.conf``, on one machine and in pods alike, and the account of a system on a server that a person runs. It chooses no password and
writes no file: users stand in a file of their own, which the configuration includes, so that what is secret and what is not can be kept apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tradingsystem.messages.permissions import Permissions, permissions

USERS_FILE = "users.conf"
VOLUME_BYTES = 10 * 1024**3
"""What the journal's volume holds where nobody says otherwise: the resource's default size."""

_MEBIBYTE = 1024**2
MESSAGE_BYTES_MAX = 8 * _MEBIBYTE
"""The largest message that services send, and a server must take."""
_CACHE_BYTES_MAX = 256 * _MEBIBYTE
_MODELS_BYTES_MAX = 512 * _MEBIBYTE


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """How a message server is reached. ``url``: one address, or several of one cluster with commas. ``replicas``: how many members keep each place;
    ``login_prefix``: what stands before the names of users; ``ca_file``: who signs its certificate, else whom this machine trusts."""

    url: str
    replicas: int = 1
    login_prefix: str = ""
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSizes:
    """How a volume is shared. What the streams reserve is always less than what the server may use, and that less than what the volume holds."""

    journal_bytes: int
    cache_bytes: int
    models_bytes: int
    engines_bytes: int
    file_bytes: int
    tape_bytes: int = 256 * _MEBIBYTE
    memory_bytes: int = 320 * _MEBIBYTE

    @classmethod
    def on_volume(cls, volume_bytes: int) -> StoreSizes:
        """A file system keeps some hundredths for itself; of the rest the journal gets four fifths, the cache a tenth and never much, versions of models
        a fiftieth: some two thousand on ten gibibytes; their engines a quarter of that."""
        return cls(
            journal_bytes=volume_bytes * 80 // 100,
            cache_bytes=min(_CACHE_BYTES_MAX, volume_bytes * 10 // 100),
            models_bytes=min(_MODELS_BYTES_MAX, volume_bytes * 2 // 100),
            engines_bytes=min(_MODELS_BYTES_MAX, volume_bytes // 200),
            file_bytes=volume_bytes * 93 // 100,
        )


def configuration(
    system: str, *, listen: str, store_folder: str, sizes: StoreSizes, monitoring: str = "", sync_always: bool = True
) -> bytes:
    """``nats.conf``. ``listen`` and ``monitoring`` are address and port; no monitoring without one."""
    settings: dict[str, object] = {
        "server_name": f"{system}-nats",
        "listen": listen,
        "max_payload": MESSAGE_BYTES_MAX,
        "max_pending": 256 * _MEBIBYTE,
        "write_deadline": "10s",
        "lame_duck_duration": "30s",
        "lame_duck_grace_period": "10s",
        "jetstream": {
            "store_dir": store_folder,
            "max_memory_store": sizes.memory_bytes,
            "max_file_store": sizes.file_bytes,
            "sync_interval": "always" if sync_always else "2m",
        },
        # The newer acknowledgement subjects deafen clients that read fixed positions.
        "feature_flags": {"js_ack_fc_v2": False},
    }
    if monitoring:
        settings["http"] = monitoring
    lines = [f"{name}: {msgspec.json.format(msgspec.json.encode(value), indent=2).decode()}" for name, value in settings.items()]
    return "\n".join([f"include '{USERS_FILE}'", *lines, ""]).encode()


def users(system: str, passwords: Mapping[str, str]) -> bytes:
    """The file of users: each service may do what ``permissions`` says. Raises KeyError when a user has no password."""
    rows = [_user(row, row.user, passwords[row.user]) for row in permissions(system)]
    return b"authorization: " + msgspec.json.format(msgspec.json.encode({"users": rows}), indent=2) + b"\n"


def login_prefix(system: str) -> str:
    """What stands before the name of each user on a server that a person runs, where another system has the same users."""
    return f"{system}-"


def password_variable(system: str, user: str) -> str:
    """The variable of the server's configuration that holds the user's password."""
    return f"{system}_{user}_password".replace("-", "_").upper()


def account(system: str) -> bytes:
    """The account of a system on a server that a person runs, as a part of its configuration: each service may do what ``permissions`` says. Passwords are
    variables, so that nothing here is secret."""
    rows = [_user(row, login_prefix(system) + row.user, f"${password_variable(system, row.user)}") for row in permissions(system)]
    text = msgspec.json.format(msgspec.json.encode({system: {"jetstream": "enabled", "users": rows}}), indent=2).decode()
    for row in permissions(system):
        variable = f"${password_variable(system, row.user)}"
        text = text.replace(f'"{variable}"', variable)  # quoted it would be the password
    return f"accounts: {text}\n".encode()


def _user(row: Permissions, name: str, password: str) -> dict[str, object]:
    allowed = {"publish": {"allow": list(row.publish)}, "subscribe": {"allow": list(row.subscribe)}}
    return {"user": name, "password": password, "permissions": allowed}
