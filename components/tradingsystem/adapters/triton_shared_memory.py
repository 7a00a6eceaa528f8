"""Inference by a Triton server on the same machine through system shared memory: rows and answers are not copied into messages.

Only where both see one ``/dev/shm``: processes of one machine, or containers of one pod. A restarted server does not know the region any more; the next
question after the one that failed announces it again. Slots are used in turn, so that an answer that comes late writes where nobody reads.
"""

from __future__ import annotations

import contextlib
import itertools
import mmap
import os
from pathlib import Path

import numpy as np
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient

from tradingsystem.adapters.triton import ASK_SECONDS, TritonSettings, asked
from tradingsystem.bundles.triton_config import BUCKETS, FUSED, MEMBERS, bucket_of
from tradingsystem.domain.errors import TryAgain
from tradingsystem.domain.features import FEATURE_COUNT
from tradingsystem.domain.rows import F32
from tradingsystem.interfaces import Scores

FOLDER = Path("/dev/shm")
SLOTS = 4
_FLOAT = 4
_ROWS = BUCKETS[-1]
_MEMBERS_AT = _ROWS * FEATURE_COUNT * _FLOAT
_BLEND_AT = _MEMBERS_AT + _ROWS * len(MEMBERS) * _FLOAT
SLOT_BYTES = _BLEND_AT + _ROWS * _FLOAT
_numbers = itertools.count()


class SharedMemoryInference:
    """One version of ``fused`` on a server of this machine. ``client`` is shared by the versions; ``close`` gives the memory back."""

    runtime = "triton"

    def __init__(self, client: InferenceServerClient, settings: TritonSettings, version: int, deadline_seconds: float) -> None:
        self._client = client
        self._settings = settings
        self._deadline_seconds = deadline_seconds
        self._name = f"tradingsystem-{os.getpid()}-{next(_numbers)}"
        self._memory = _memory(FOLDER / self._name, SLOTS * SLOT_BYTES)
        self._turn = itertools.cycle(range(SLOTS))
        self._announced = False
        self.version = version

    async def infer(self, features: F32) -> Scores:
        """Scores of features F32[n, 50]. Raises ``TryAgain``: too late, not there, or refused by the server."""
        if not self._announced:
            await self._announce()
        count, bucket = len(features), bucket_of(len(features))
        start = next(self._turn) * SLOT_BYTES
        rows = self._array(start, (bucket, FEATURE_COUNT))
        rows[:count] = features
        rows[count:] = 0.0
        question = InferInput("features", [bucket, FEATURE_COUNT], "FP32")
        question.set_shared_memory(self._name, rows.nbytes, start)
        outputs = [self._output("members", bucket * len(MEMBERS), start + _MEMBERS_AT), self._output("blend", bucket, start + _BLEND_AT)]
        call = self._client.infer(
            FUSED, [question], model_version=str(self.version), outputs=outputs, client_timeout=self._deadline_seconds
        )
        try:
            await asked(call)
        except TryAgain:
            self._announced = False
            raise
        members = self._array(start + _MEMBERS_AT, (count, len(MEMBERS)))
        return Scores(members=members.copy(), blend=self._array(start + _BLEND_AT, (count,)).copy())

    def _output(self, name: str, count: int, offset: int) -> InferRequestedOutput:
        wanted = InferRequestedOutput(name)
        wanted.set_shared_memory(self._name, count * _FLOAT, offset)
        return wanted

    def _array(self, offset: int, shape: tuple[int, ...]) -> F32:
        return np.frombuffer(self._memory, np.float32, int(np.prod(shape)), offset).reshape(shape)

    async def _announce(self) -> None:
        """Tell the server of the region, which it may know already. Raises ``TryAgain`` or ``NotAuthorized``."""
        headers, within = self._settings.headers(), max(self._deadline_seconds, 0.1)
        await asked(self._client.unregister_system_shared_memory(self._name, headers=headers, client_timeout=within))
        await asked(
            self._client.register_system_shared_memory(
                self._name, f"/{self._name}", SLOTS * SLOT_BYTES, headers=headers, client_timeout=within
            )
        )
        self._announced = True

    async def close(self) -> None:
        """Let the server forget the region and remove it."""
        with contextlib.suppress(TryAgain):
            await asked(
                self._client.unregister_system_shared_memory(self._name, headers=self._settings.headers(), client_timeout=ASK_SECONDS)
            )
        (FOLDER / self._name).unlink(missing_ok=True)


def _memory(path: Path, size: int) -> mmap.mmap:
    """A region of that size, zeros, for this user only."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.ftruncate(descriptor, size)
        return mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)
