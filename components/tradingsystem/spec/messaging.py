"""Which message server keeps the journal: one that is made for the system, or one that a person runs, as a cluster and with TLS."""

import enum
from typing import Annotated

from msgspec import Meta

from tradingsystem.spec.section import A_SET, SecretRef, Section, about

ENCRYPTED = "tls://"
AUTHORITIES_KEY = "ca.crt"

ServerUrl = Annotated[str, Meta(min_length=1, max_length=266, pattern="^(nats|tls)://[-a-zA-Z0-9.]{1,253}:[0-9]{1,5}$")]


def is_encrypted(url: str) -> bool:
    """Whether an address asks for TLS."""
    return url.startswith(ENCRYPTED)


class MessagingType(enum.StrEnum):
    """Managed: one server of the system's own, with its volume. External: one that is there, of one member or several."""

    MANAGED = "Managed"
    EXTERNAL = "External"


class Messaging(Section, frozen=True, kw_only=True):
    """Where messages go and the journal is kept."""

    type: Annotated[
        MessagingType, about("Managed needs nothing beside the system; External goes on when one of several servers is lost.")
    ] = MessagingType.MANAGED
    urls: Annotated[
        tuple[ServerUrl, ...],
        Meta(max_length=9),
        A_SET,
        about(
            "Addresses of an External server, `tls://host:port` for each member; `nats://` for none with TLS. One that answers is enough."
        ),
    ] = ()
    secret_ref: Annotated[
        SecretRef, about("Passwords of an External server's users: a key for each, named as the service (`tradingsystem message-users`).")
    ] = SecretRef()
    ca_secret_ref: Annotated[
        SecretRef, about("Authorities that sign an External server's certificate (key `ca.crt`). Empty: those that every machine knows.")
    ] = SecretRef()
    replicas: Annotated[
        int,
        Meta(ge=1, le=5),
        about("How many members of an External server keep the journal and all else: 1, 3 or 5. With 3 it goes on when one is lost."),
    ] = 1

    @property
    def external(self) -> bool:
        """Whether a person runs the server."""
        return self.type is MessagingType.EXTERNAL

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports of its addresses, each once."""
        return tuple(sorted({int(url.rpartition(":")[2]) for url in self.urls}))
