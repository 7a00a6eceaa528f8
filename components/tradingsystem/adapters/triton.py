"""Inference by a Triton server over gRPC, and the server as a place where versions are loaded.

Every question names its version and carries its deadline; an answer after it does not count. Rows are padded to the next bucket, which the server has
warmed up, and the padding is cut off again. Every load sends the whole configuration with the versions that shall be there: Triton then leaves those
alone that are loaded already, and no file's date decides anything.
"""

from __future__ import annotations

import asyncio
import math
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import structlog
from tritonclient.grpc import InferInput, InferRequestedOutput, InferResult
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from tradingsystem.adapters.onnxruntime import PROBE_RUNS, golden_difference
from tradingsystem.adapters.triton_repository import TritonRepository
from tradingsystem.bundles.bundle import Bundle, Golden, InvalidBundle
from tradingsystem.bundles.refusal import ModelRefused, Refusal
from tradingsystem.bundles.triton_config import BLEND, ENSEMBLE, FUSED, MEMBERS, Backend, as_json, bucket_of, configuration
from tradingsystem.domain.errors import NotAuthorized, TryAgain
from tradingsystem.domain.rows import F32
from tradingsystem.interfaces import Probe, Scores

log = structlog.get_logger()

KEY_HEADER = "triton-grpc-protocol-tradingsystem-key"
LOAD_SECONDS = 120.0  # a TensorRT plan is deserialised and warmed up for every bucket
ASK_SECONDS = 5.0
LOOK_SECONDS = 0.5
READY = "READY"
_T = TypeVar("_T")
_CHANNEL = {
    "grpc.max_send_message_length": 64 * 1024 * 1024,
    "grpc.max_receive_message_length": 64 * 1024 * 1024,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1_000,
}
_AWAY = {"StatusCode.UNAVAILABLE", "StatusCode.DEADLINE_EXCEEDED", "StatusCode.CANCELLED"}


@dataclass(frozen=True, slots=True)
class TritonSettings:
    """One server: host and port of gRPC, and what gives the key of its restricted APIs, asked for at each use."""

    address: str
    key: Callable[[], str] = str
    backend: Backend = Backend.PYTHON

    def headers(self) -> dict[str, str]:
        """What a restricted call carries."""
        return {KEY_HEADER: self.key()}


def padded(features: F32) -> F32:
    """The rows F32[n, 50] with zeros up to the next bucket. Raises ``ValueError`` above the largest."""
    count = len(features)
    bucket = bucket_of(count)
    if bucket == count:
        return np.ascontiguousarray(features, np.float32)
    filled = np.zeros((bucket, features.shape[1]), np.float32)
    filled[:count] = features
    return filled


class TritonInference:
    """One version of ``fused`` on one server. ``client`` is shared by the versions; whoever opened it closes it."""

    runtime = "triton"

    def __init__(self, client: InferenceServerClient, version: int, deadline_seconds: float) -> None:
        self._client = client
        self._deadline_seconds = deadline_seconds
        self._outputs = [InferRequestedOutput("members"), InferRequestedOutput("blend")]
        self.version = version

    async def infer(self, features: F32) -> Scores:
        """Scores of features F32[n, 50]. Raises ``TryAgain``: too late, not there, or refused by the server."""
        rows = padded(features)
        question = InferInput("features", list(rows.shape), "FP32")
        question.set_data_from_numpy(rows)
        result = await asked(
            self._client.infer(
                FUSED, [question], model_version=str(self.version), outputs=self._outputs, client_timeout=self._deadline_seconds
            )
        )
        return scores_in(result, len(features))


def scores_in(result: InferResult, count: int) -> Scores:
    """The first ``count`` rows of an answer. Raises ``TryAgain`` for one without both outputs."""
    members, blend = result.as_numpy("members"), result.as_numpy("blend")
    if members is None or blend is None:
        raise TryAgain("triton: an answer without members or blend")
    return Scores(members=members[:count], blend=blend.reshape(-1)[:count])


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


class TritonModelServer:
    """Versions of ``fused`` on one server. ``read`` gives the verified bundle of a version, raising ``InvalidBundle``.

    ``run`` keeps the server's index as it was last asked for, also after the server was started anew.
    """

    def __init__(self, settings: TritonSettings, repository: TritonRepository, read: Callable[[int], Bundle]) -> None:
        self._settings = settings
        self.repository = repository
        self._read = read
        self._client = connected(settings.address)
        self._golden: dict[int, Golden] = {}
        self._wanted: tuple[int, ...] = ()
        self._ensemble = 0
        self._one_at_a_time = asyncio.Lock()
        self.reconciled = 0
        """How often the index was brought back to what was asked for."""

    async def close(self) -> None:
        """Leave the server as it is."""
        await self._client.close()

    async def load(self, versions: tuple[int, ...]) -> None:
        """All of them, or nothing changes."""
        golden = await self._lay_out(versions)
        async with self._one_at_a_time:
            before = set(await self._loaded(FUSED))
            await self._load(FUSED, versions, before)
            self._wanted, self._golden = versions, golden

    async def _lay_out(self, versions: tuple[int, ...]) -> dict[int, Golden]:
        """Have every version in the repository; their golden vectors. Raises ``ModelRefused``."""
        golden: dict[int, Golden] = {}
        for version in versions:
            try:
                bundle = self._read(version)
                await asyncio.to_thread(self.repository.add, bundle)
            except InvalidBundle as error:
                raise ModelRefused(version, error.refusal, str(error)) from error
            except OSError as error:
                raise ModelRefused(version, Refusal.NOT_LOADED, f"{self.repository.folder}: {error.strerror}") from error
            golden[version] = bundle.golden
        return golden

    async def follow(self, version: int) -> None:
        """Have ``ensemble`` do what ``fused`` does at that version: for comparison, never on the way to an order. Raises as ``load`` does."""
        try:
            bundle = self._read(version)
            await asyncio.to_thread(self.repository.add_ensemble, bundle)
        except InvalidBundle as error:
            raise ModelRefused(version, error.refusal, str(error)) from error
        async with self._one_at_a_time:
            await self._follow(version)
            self._ensemble = version

    async def _follow(self, version: int) -> None:
        await asyncio.gather(*(self._load(part, (version,), set()) for part in (*MEMBERS, BLEND)))
        await self._load(ENSEMBLE, (version,), set())

    async def _load(self, model: str, versions: tuple[int, ...], before: set[int]) -> None:
        headers = self._settings.headers()
        if not versions:
            await asked(self._client.unload_model(model, headers=headers, client_timeout=LOAD_SECONDS))
            return
        config = as_json(configuration(model, self._settings.backend, versions))
        try:
            await self._client.load_model(model, headers=headers, config=config, client_timeout=LOAD_SECONDS)
        except InferenceServerException as error:
            refuse_key(error)
            if str(error.status()) in _AWAY:
                raise TryAgain(f"triton: {error.message()}") from error
            new = [version for version in versions if version not in before]
            words = str(error.message())
            at_fault = next((version for version in new if f"version {version} " in words), new[0] if new else versions[-1])
            raise ModelRefused(at_fault, Refusal.NOT_LOADED, f"triton cannot load {model}: {words}") from error

    async def _loaded(self, model: str) -> tuple[int, ...]:
        """Versions the server says are ready, lowest first."""
        index = await asked(self._client.get_model_repository_index(headers=self._settings.headers(), client_timeout=ASK_SECONDS))
        return tuple(sorted(int(each.version) for each in index.models if each.name == model and each.version and each.state == READY))

    async def probe(self, version: int) -> Probe:
        """The golden vectors, again and again: the first run warms up, the median of the rest is the latency."""
        golden = self._golden.get(version)
        if golden is None or version not in await self._loaded(FUSED):
            raise ModelRefused(version, Refusal.NOT_LOADED, "it is not loaded")
        inference = TritonInference(self._client, version, ASK_SECONDS)
        worst = golden_difference(await inference.infer(golden.features), golden)
        if math.isnan(worst):
            raise ModelRefused(version, Refusal.NOT_FINITE, "a golden vector's answer is no probability")
        taken = []
        for _ in range(PROBE_RUNS):
            began_ns = time.perf_counter_ns()
            await inference.infer(golden.features)
            taken.append(time.perf_counter_ns() - began_ns)
        return Probe(worst_difference=worst, latency_us=statistics.median(taken) / 1_000)

    async def run(self) -> None:
        """Look at the server's index until cancelled, and load what was asked for and is not there."""
        while True:
            try:
                await self.reconcile()
            except (TryAgain, ModelRefused) as error:
                log.warning("triton_not_reconciled", wanted=self._wanted, reason=str(error))
            await asyncio.sleep(LOOK_SECONDS)

    async def reconcile(self) -> bool:
        """Whether something had to be loaded. Raises ``TryAgain`` while the server is away, ``ModelRefused`` when it no longer takes what it had."""
        async with self._one_at_a_time:
            loaded = await self._loaded(FUSED)
            if loaded == tuple(sorted(self._wanted)):
                return False
            wanted = self._wanted
            self._golden = await self._lay_out(wanted)
            await self._load(FUSED, wanted, set(loaded))
            self.reconciled += 1
            log.info("triton_reconciled", was=loaded, now=wanted)
            if self._ensemble:
                await self._follow(self._ensemble)
            return True
