"""The one service account of a system's pods. It is bound to no role and its token is mounted nowhere: pods that trade never speak to the API server."""

from __future__ import annotations

from tradingsystem_operator.objects import SERVICE_ACCOUNT, Object, Owner, make, name_of


def account_name(system: str) -> str:
    """The name of the account."""
    return name_of(system, "pods")


def service_account(owner: Owner) -> Object:
    """The account."""
    return make(SERVICE_ACCOUNT, owner, account_name(owner.name), "", automountServiceAccountToken=False)
