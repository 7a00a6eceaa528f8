"""What a message server that a person runs asks of this machine: addresses, and a file for each password. Nothing is read here."""

from __future__ import annotations

from pathlib import Path

from tradingsystem.messages.permissions import PERSON
from tradingsystem.messages.server import ServerAddress, login_prefix
from tradingsystem.spec import Plan, SecretKey, SecretNeed, WorkloadKind
from tradingsystem.spec.messaging import AUTHORITIES_KEY


def address(plan: Plan, secrets_folder: Path) -> ServerAddress:
    """How it is reached."""
    messaging = plan.messaging
    authorities = secrets_folder / messaging.ca_secret_ref.name / AUTHORITIES_KEY if messaging.ca_secret_ref.name else None
    return ServerAddress(",".join(messaging.urls), messaging.replicas, login_prefix(plan.system), authorities)


def password_file(plan: Plan, secrets_folder: Path, user: str) -> Path:
    """Where a user's password stands."""
    return secrets_folder / plan.messaging.secret_ref.name / user


def needs(plan: Plan) -> tuple[SecretNeed, ...]:
    """The secrets it takes, with the keys of whoever runs here; none where the server is made for the system."""
    messaging = plan.messaging
    if not messaging.external:
        return ()
    services = dict.fromkeys(each.service for each in plan.workloads if each.kind is WorkloadKind.SERVICE)
    found = [SecretNeed(name=messaging.secret_ref.name, keys=tuple(SecretKey(name=name) for name in (*services, PERSON)))]
    if messaging.ca_secret_ref.name:
        found.append(SecretNeed(name=messaging.ca_secret_ref.name, keys=(SecretKey(name=AUTHORITIES_KEY),)))
    return tuple(found)
