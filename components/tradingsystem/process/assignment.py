"""What one service process is told: its slice of the resource, and where things are. The slice is a file; the rest are flags.

Nothing here is a setting: a person decides in the resource, ``plan`` divides it, and this only says where this machine or pod put the pieces.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import msgspec

from tradingsystem.domain.errors import InvalidInput
from tradingsystem.messages.server import VOLUME_BYTES, ServerAddress
from tradingsystem.process.private_files import read_password
from tradingsystem.spec import SLICE_OF, Slice


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """One service and its surroundings. ``nats_url`` and its like: see ``ServerAddress``;
    ``venues``: the simulator's address, empty outside Simulation; ``run_folder``: recordings of this run;
    ``triton``: host and port of its gRPC, empty where models run in process; ``triton_key_file`` opens its restricted APIs, ``triton_backend`` runs the graphs
    there (onnxruntime, or python on a CPU) that have no engine that fits in ``triton_engines``, or with ``engines_from_nats`` in the object store of engines;
    ``models_from_nats``: whether ``models_folder`` is filled from
    the object store, ``models_keys_file`` the public keys that verify what comes from there; ``journal_volume_bytes``: what the message server's volume
    holds, for whoever finds its streams missing and makes them."""

    service: str
    slice_file: Path
    boot_hash: str
    build: str
    nats_url: str
    nats_replicas: int = 1
    nats_login_prefix: str = ""
    nats_ca_file: Path | None = None
    password_file: Path | None = None
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 8_000
    state_folder: Path
    run_folder: Path
    secrets_folder: Path | None = None
    secrets_mounted: bool = False
    models_folder: Path | None = None
    models_from_nats: bool = False
    models_keys_file: Path | None = None
    venues: str = ""
    log_file: Path | None = None
    capture_file: Path | None = None
    capture_everything: bool = False
    data_folder: Path | None = None
    halt_file: Path | None = None
    journal_volume_bytes: int = VOLUME_BYTES
    triton: str = ""
    triton_key_file: Path | None = None
    triton_backend: str = "python"
    triton_engines: Path | None = None
    engines_from_nats: bool = False

    def arguments(self) -> list[str]:
        """As the command line of its process."""
        given = [self.service]
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name == "service" or value is None or value is False or value == "":
                continue
            flag = "--" + each.name.replace("_", "-")
            given += [flag] if value is True else [flag, str(value)]
        return given

    def read_slice(self) -> Slice:
        """The service's slice. Raises ``InvalidInput``."""
        if self.service not in SLICE_OF:
            raise InvalidInput(f"there is no service {self.service!r}; there are: {', '.join(sorted(SLICE_OF))}")
        try:
            return msgspec.json.decode(self.slice_file.read_bytes(), type=SLICE_OF[self.service])
        except OSError as error:
            raise InvalidInput(f"{self.slice_file}: cannot read the slice ({error.strerror})") from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidInput(f"{self.slice_file}: not a slice for {self.service}: {error}") from error

    @property
    def server(self) -> ServerAddress:
        """The message server."""
        return ServerAddress(self.nats_url, self.nats_replicas, self.nats_login_prefix, self.nats_ca_file)

    def password(self) -> str:
        """The NATS password, empty when none is asked for. Raises ``InvalidInput``."""
        return read_password(self.password_file) if self.password_file else ""


def parse(arguments: list[str]) -> Assignment:
    """The assignment a command line describes; exits with status 2 and a usage line on a mistake."""
    parser = argparse.ArgumentParser(prog="tradingsystem run", description="Run one service in this process until it is told to stop.")
    parser.add_argument("service")
    for each in fields(Assignment):
        if each.name == "service":
            continue
        flag = "--" + each.name.replace("_", "-")
        text = str(each.type)
        if text == "bool":
            parser.add_argument(flag, action="store_true")
            continue
        required = each.name in {"slice_file", "boot_hash", "build", "nats_url", "state_folder", "run_folder"}
        options: dict[str, Any] = {"required": required}
        if not required:
            options["default"] = each.default
        parser.add_argument(flag, type=Path if "Path" in text else int if text == "int" else str, **options)
    return Assignment(**vars(parser.parse_args(arguments)))
