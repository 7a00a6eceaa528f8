"""The lease on a JetStream key-value bucket: the server lets it run out, and the server compares revisions.

On disk, so that a restarted server still knows who holds it. What it refuses to be is a fence: see ``execution/writer.py``.
"""

from __future__ import annotations

import base64
from typing import Any

from tradingsystem.adapters.jetstream import NOT_FOUND_MESSAGE, WRONG_LAST_SEQUENCE, call, ensure_stream, read_publish_answer
from tradingsystem.adapters.nats import NatsConnection
from tradingsystem.domain.errors import BrokenInvariant, OutcomeUnknown, RequestRefused, TryAgain

LIFE_SECONDS = 10.0
TIMEOUT_SECONDS = 2.0


def lease_stream(system: str) -> str:
    """Name of the bucket's stream, as key-value buckets are named."""
    return f"KV_lease_{system}"


def lease_subject(system: str) -> str:
    """The one key."""
    return f"$KV.lease_{system}.writer"


def lease_config(system: str, life_seconds: float) -> dict[str, Any]:
    """The bucket: one value, which the server forgets when its life is over."""
    return {
        "name": lease_stream(system),
        "subjects": [f"$KV.lease_{system}.>"],
        "storage": "file",
        "retention": "limits",
        "discard": "old",
        "max_msgs_per_subject": 1,
        "max_age": int(life_seconds * 1e9),
        "duplicate_window": int(min(life_seconds, 1.0) * 1e9),
        "allow_direct": True,
    }


class NatsLease:
    """``interfaces.Lease`` over a connection that somebody else opens and closes."""

    def __init__(self, connection: NatsConnection, *, life_seconds: float = LIFE_SECONDS) -> None:
        self._connection = connection
        self._system = connection.settings.system
        self._life_seconds = life_seconds

    @property
    def life_seconds(self) -> float:
        """See ``interfaces.Lease``."""
        return self._life_seconds

    async def ensure(self) -> None:
        """Make sure that the bucket exists; an existing one's life counts. Raises ``TryAgain``."""
        info = await ensure_stream(self._connection, lease_config(self._system, self._life_seconds))
        self._life_seconds = info["config"]["max_age"] / 1e9

    async def read(self) -> tuple[bytes, int] | None:
        """See ``interfaces.Lease``."""
        body = {"last_by_subj": lease_subject(self._system)}
        try:
            answer = await call(self._connection, f"STREAM.MSG.GET.{lease_stream(self._system)}", body, TIMEOUT_SECONDS)
        except RequestRefused as refused:
            if refused.code != str(NOT_FOUND_MESSAGE):  # whatever it is, it does not say that nobody holds the lease
                raise TryAgain(str(refused)) from refused
            return None
        message = answer["message"]
        return base64.b64decode(message.get("data", "")), int(message["seq"])

    async def write(self, value: bytes, revision: int) -> int:
        """See ``interfaces.Lease``."""
        headers = {"Nats-Expected-Last-Subject-Sequence": str(revision)}
        if not self._connection.up:
            raise TryAgain("the message server cannot be reached")
        try:
            raw = await self._connection.request(lease_subject(self._system), value, TIMEOUT_SECONDS, headers)
        except (TryAgain, BrokenInvariant) as error:
            raise OutcomeUnknown(f"no answer to the lease: {error}") from error
        answer = read_publish_answer.decode(raw)
        if answer.error is None:
            return answer.seq
        if answer.error.err_code == WRONG_LAST_SEQUENCE:
            raise RequestRefused("precondition", f"the lease has another revision ({answer.error.description})")
        raise TryAgain(f"the lease cannot be kept: {answer.error.description}")
