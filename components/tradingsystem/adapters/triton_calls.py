"""Calls to a Triton server: how it is reached, and what its refusals mean to who asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from tradingsystem.bundles.triton_config import Backend
from tradingsystem.domain.errors import NotAuthorized, TryAgain
from tradingsystem.messages.inference_server import KEY_HEADER

LOAD_SECONDS = 120.0  # a TensorRT plan is deserialised and warmed up for every bucket
ASK_SECONDS = 5.0
NOT_LOADED_AT_ALL = "StatusCode.NOT_FOUND"
_T = TypeVar("_T")
_CHANNEL = {
    "grpc.max_send_message_length": 64 * 1024 * 1024,
    "grpc.max_receive_message_length": 64 * 1024 * 1024,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1_000,
}
AWAY = {"StatusCode.UNAVAILABLE", "StatusCode.DEADLINE_EXCEEDED", "StatusCode.CANCELLED"}


@dataclass(frozen=True, slots=True)
class TritonSettings:
    """One server: host and port of gRPC, and what gives the key of its restricted APIs, asked for at each use."""

    address: str
    key: Callable[[], str] = str
    backend: Backend = Backend.PYTHON

    def headers(self) -> dict[str, str]:
        """What a restricted call carries."""
        return {KEY_HEADER: self.key()}


async def asked(call: Awaitable[_T]) -> _T:
    """The answer of one call. Raises ``TryAgain``, or ``NotAuthorized`` when the key is refused."""
    try:
        return await call
    except InferenceServerException as error:
        refuse_key(error)
        raise TryAgain(f"triton: {error.status() or 'no status'}: {error.message()}") from error


def refuse_key(error: InferenceServerException) -> None:
    """Raises ``NotAuthorized`` when that is what the server says; it says so under the status of a server that is away."""
    if "protocol is restricted" in str(error.message()):
        raise NotAuthorized("triton key", "the server refuses it") from error


def connected(address: str) -> InferenceServerClient:
    """A client of that server, which need not be there yet; ``close`` it."""
    return InferenceServerClient(address, channel_args=[*_CHANNEL.items()])
