"""Inference by a Triton server on the same machine through system shared memory: rows and answers are not copied into messages.

Only where both see one ``/dev/shm``: processes of one machine, or containers of one pod. A restarted server does not know the region any more; the next
question after the one that failed announces it again. What makes it sound: a slot whose answer did not come is left alone for longer than a stalled
server lives, so that what it writes late, it writes where nobody reads; when no slot is left, the question fails at once.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
import time
from pathlib import Path

import numpy as np
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from tradingsystem.adapters.triton_calls import ASK_SECONDS, TritonSettings, asked
from tradingsystem.bundles.triton_config import BUCKETS, FUSED, MEMBERS, bucket_of
from tradingsystem.domain.errors import NotAuthorized, TryAgain
from tradingsystem.domain.features import FEATURE_COUNT
from tradingsystem.domain.rows import F32
from tradingsystem.interfaces import Scores

FOLDER = Path("/dev/shm")
SLOTS = 8
LEFT_ALONE_SECONDS = 90.0
"""In a pod a server that does not answer its liveness probe is ended after 60."""

_PREFIX = "tradingsystem-"
_FLOAT = 4
_ROWS = BUCKETS[-1]
_MEMBERS_AT = _ROWS * FEATURE_COUNT * _FLOAT
_BLEND_AT = _MEMBERS_AT + _ROWS * len(MEMBERS) * _FLOAT
SLOT_BYTES = _BLEND_AT + _ROWS * _FLOAT
_ANNOUNCE_SECONDS_MIN = 0.1
_MAY_STILL_RUN = {"StatusCode.UNAVAILABLE", "StatusCode.DEADLINE_EXCEEDED", "StatusCode.CANCELLED"}
_NEVER_RAN = ("failed to connect", "Request for unknown model")  # of those, by what they say
_NOT_KNOWN, _KNOWN = "Unable to find shared memory region", "already"


class SharedMemoryInference:
    """One version of ``fused`` on a server of this machine. ``client`` is shared by the versions; ``close`` gives the memory back."""

    runtime = "triton"

    def __init__(self, client: InferenceServerClient, settings: TritonSettings, version: int, deadline_seconds: float) -> None:
        self._client = client
        self._settings = settings
        self._deadline_seconds = deadline_seconds
        self._name = f"{_PREFIX}{os.getpid()}-{secrets.token_hex(6)}"
        self._memory = _memory(FOLDER / self._name, SLOTS * SLOT_BYTES)
        self._free_at = [0.0] * SLOTS
        self._announced = False
        self.version = version

    async def infer(self, features: F32) -> Scores:
        """Scores of features F32[n, 50]. Raises ``TryAgain``: too late, not there, or refused by the server."""
        if not self._announced:
            await self._announce()
        slot, count, bucket = self._taken(), len(features), bucket_of(len(features))
        start = slot * SLOT_BYTES
        rows = self._array(start, (bucket, FEATURE_COUNT))
        rows[:count] = features
        rows[count:] = 0.0
        question = InferInput("features", [bucket, FEATURE_COUNT], "FP32")
        question.set_shared_memory(self._name, rows.nbytes, start)
        outputs = [self._output("members", bucket * len(MEMBERS), start + _MEMBERS_AT), self._output("blend", bucket, start + _BLEND_AT)]
        version = str(self.version)
        try:
            await self._client.infer(FUSED, [question], model_version=version, outputs=outputs, client_timeout=self._deadline_seconds)
        except InferenceServerException as error:
            self._failed(slot, error)
            raise TryAgain(f"triton: {error.status() or 'no status'}: {error.message()}") from error
        members = self._array(start + _MEMBERS_AT, (count, len(MEMBERS))).copy()
        blend = self._array(start + _BLEND_AT, (count,)).copy()
        self._free_at[slot] = 0.0
        return Scores(members=members, blend=blend)

    def _taken(self) -> int:
        """A slot that nobody writes into. It counts as waiting for a late answer until the answer is there, whatever happens to the question."""
        now = time.monotonic()
        slot = next((slot for slot, free_at in enumerate(self._free_at) if free_at <= now), None)
        if slot is None:
            raise TryAgain("triton: every slot of the shared memory waits for an answer that did not come")
        self._free_at[slot] = now + LEFT_ALONE_SECONDS
        return slot

    def _failed(self, slot: int, error: InferenceServerException) -> None:
        words = str(error.message())
        if str(error.status()) not in _MAY_STILL_RUN or any(never in words for never in _NEVER_RAN):
            self._free_at[slot] = 0.0
        if _NOT_KNOWN in words:
            self._announced = False

    def _output(self, name: str, count: int, offset: int) -> InferRequestedOutput:
        wanted = InferRequestedOutput(name)
        wanted.set_shared_memory(self._name, count * _FLOAT, offset)
        return wanted

    def _array(self, offset: int, shape: tuple[int, ...]) -> F32:
        return np.frombuffer(self._memory, np.float32, int(np.prod(shape)), offset).reshape(shape)

    async def _announce(self) -> None:
        """Tell the server of the region. Raises ``TryAgain``, also for a refused key: who asks has another way, and must not end for it."""
        within = max(self._deadline_seconds, _ANNOUNCE_SECONDS_MIN)
        call = self._client.register_system_shared_memory(
            self._name, f"/{self._name}", SLOTS * SLOT_BYTES, headers=self._settings.headers(), client_timeout=within
        )
        try:
            await asked(call)
        except NotAuthorized as error:
            raise TryAgain(str(error)) from error
        except TryAgain as error:
            if _KNOWN not in str(error):
                raise
        self._announced = True

    async def close(self) -> None:
        """Let the server forget the region and remove it."""
        with contextlib.suppress(TryAgain, NotAuthorized):
            await asked(
                self._client.unregister_system_shared_memory(self._name, headers=self._settings.headers(), client_timeout=ASK_SECONDS)
            )
        (FOLDER / self._name).unlink(missing_ok=True)


def sweep() -> None:
    """Remove the regions of processes that are gone. Before the first region of this one: a container that starts anew has its process's number again."""
    for path in FOLDER.glob(f"{_PREFIX}*-*"):
        number = path.name.removeprefix(_PREFIX).partition("-")[0]
        if number.isdecimal() and (int(number) == os.getpid() or not Path(f"/proc/{number}").exists()):
            with contextlib.suppress(PermissionError):  # another user's, who sweeps it when he comes back
                path.unlink(missing_ok=True)


def _memory(path: Path, size: int) -> mmap.mmap:
    """A region of that size, zeros, for this user only."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.ftruncate(descriptor, size)
        return mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)
