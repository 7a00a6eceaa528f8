"""The passwords of a system: made once, one per user, completed and never replaced."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from tradingsystem.messages.permissions import permissions
from tradingsystem_operator.credentials import credentials, secret
from tradingsystem_operator.objects import Owner

USERS = {row.user for row in permissions("momentum")}


def tokens() -> Callable[[], str]:
    numbers = itertools.count(1)
    return lambda: f"password-{next(numbers)}"


def test_every_user_gets_a_password_of_its_own_and_stands_in_the_file_of_users() -> None:
    """No two users share one, and the server learns exactly the ones that the pods mount."""
    made = credentials("momentum", None, tokens())
    assert set(made) == USERS | {"users.conf", "triton-key"}
    assert len({made[name] for name in (*USERS, "triton-key")}) == len(USERS) + 1
    assert made["triton-key"] + b'"' not in made["users.conf"]
    assert all(made[user] in made["users.conf"] for user in USERS)


def test_what_exists_is_never_replaced() -> None:
    """A second look changes no byte and draws no password, and what a person added is left there."""
    made = credentials("momentum", None, tokens()) | {"note": b"kept"}

    def never() -> str:
        raise AssertionError("a password was drawn")

    assert credentials("momentum", made, never) == made


def test_a_lost_password_is_completed() -> None:
    """An emptied, deleted or unreadable key gets a new password; the other users keep theirs, and the file follows."""
    made = credentials("momentum", None, tokens())
    damaged = {name: value for name, value in made.items() if name not in {"filter", "users.conf"}} | {"monitor": b" ", "models": b"\xff"}
    again = credentials("momentum", damaged, lambda: "fresh")
    assert {name for name in USERS if again[name] != made[name]} == {"filter", "monitor", "models"}
    assert b"fresh" in again["users.conf"]


def test_secret_is_owned_and_encoded() -> None:
    """The API server takes base64, and the Secret goes when its owner goes."""
    thing = secret(Owner(name="momentum", namespace="trading", uid="1"), {"filter": b"word"})
    assert thing["metadata"]["name"] == "momentum-nats"
    assert thing["data"] == {"filter": "d29yZA=="}
    assert thing["metadata"]["ownerReferences"][0]["uid"] == "1"
