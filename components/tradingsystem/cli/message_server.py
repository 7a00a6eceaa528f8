"""How commands are told of a message server that is not this machine's: the flags that all of them have, beside its address."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

CaFile = Annotated[Path | None, typer.Option("--nats-ca-file", help="Who signs the certificate of a message server at tls://, in PEM.")]
Replicas = Annotated[
    int, typer.Option("--nats-replicas", min=1, help="How many members of it keep each place, for one that has to be made.")
]
LoginPrefix = Annotated[
    str, typer.Option("--nats-login-prefix", help="What stands before the names of its users: NAME- on an External one.")
]
