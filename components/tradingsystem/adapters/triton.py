"""Inference by a Triton server over gRPC, and the server as a place where versions are loaded.

Every question names its version and carries its deadline; an answer after it does not count. Rows are padded to the next bucket, which the server has
warmed up, and the padding is cut off again. Every load sends the whole configuration with the versions that shall be there, and their files: the server
needs no folder of ours, Triton leaves those alone that are loaded already, and no file's date decides anything.
"""

from __future__ import annotations

import asyncio
import math
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import structlog
from tritonclient.grpc import InferInput, InferRequestedOutput, InferResult
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from tradingsystem.adapters.onnxruntime import PROBE_RUNS, golden_difference
from tradingsystem.bundles.bundle import Bundle, Golden, InvalidBundle
from tradingsystem.bundles.refusal import ModelRefused, Refusal
from tradingsystem.bundles.triton_config import BLEND, ENSEMBLE, FUSED, MEMBERS, Backend, as_json, bucket_of, configuration
from tradingsystem.bundles.triton_files import as_sent, ensemble_files, fused_files
from tradingsystem.domain.errors import NotAuthorized, TryAgain
from tradingsystem.domain.rows import F32
from tradingsystem.interfaces import Probe, Scores
from tradingsystem.messages.inference_server import KEY_HEADER

log = structlog.get_logger()

LOAD_SECONDS = 120.0  # a TensorRT plan is deserialised and warmed up for every bucket
ASK_SECONDS = 5.0
LOOK_SECONDS = 0.5
NOT_LOADED_AT_ALL = "StatusCode.NOT_FOUND"
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
        question, version = _question(padded(features)), str(self.version)
        result = await asked(
            self._client.infer(FUSED, [question], model_version=version, outputs=self._outputs, client_timeout=self._deadline_seconds)
        )
        return scores_in(result, len(features))


class TritonEnsemble:
    """What ``follow`` loaded, asked as ``fused`` is: Triton's own scheduler over the members. For comparison, never on the way to an order."""

    runtime = "triton"

    def __init__(self, client: InferenceServerClient, version: int, deadline_seconds: float) -> None:
        self._client = client
        self._deadline_seconds = deadline_seconds
        self._outputs = [InferRequestedOutput(name) for name in (*MEMBERS, BLEND)]
        self.version = version

    async def infer(self, features: F32) -> Scores:
        """Scores of features F32[n, 50]. Raises ``TryAgain``: too late, not there, or refused by the server."""
        call = self._client.infer(ENSEMBLE, [_question(padded(features))], outputs=self._outputs, client_timeout=self._deadline_seconds)
        result = await asked(call)
        columns = [answer for name in MEMBERS if (answer := result.as_numpy(name)) is not None]
        blend = result.as_numpy(BLEND)
        if len(columns) < len(MEMBERS) or blend is None:
            raise TryAgain("triton: an answer without members or blend")
        return Scores(members=np.hstack(columns)[: len(features)], blend=blend.reshape(-1)[: len(features)])


def _question(rows: F32) -> InferInput:
    question = InferInput("features", list(rows.shape), "FP32")
    question.set_data_from_numpy(rows)
    return question


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
    """Versions of ``fused`` on one server. ``read`` gives the verified bundle of a version, raising ``InvalidBundle``; ``int8`` says which of its graphs.
    ``engine`` gives a bundle's engine where TensorRT runs them, raising ``ModelRefused``.

    ``run`` keeps what is loaded as it was last asked for, also after the server was started anew.
    """

    def __init__(
        self,
        settings: TritonSettings,
        read: Callable[[int], Bundle],
        *,
        int8: bool = True,
        engine: Callable[[Bundle], bytes] = lambda _: b"",
    ) -> None:
        self._settings = settings
        self._read = read
        self._int8 = int8
        self._engine = engine
        self._client = connected(settings.address)
        self._golden: dict[int, Golden] = {}
        self._wanted: tuple[int, ...] = ()
        self._one_at_a_time = asyncio.Lock()
        self.reconciled = 0
        """How often the server was brought back to what was asked for."""

    async def close(self) -> None:
        """Leave the server as it is."""
        await self._client.close()

    async def load(self, versions: tuple[int, ...]) -> None:
        """All of them, or nothing changes."""
        bundles = self._verified(versions)
        async with self._one_at_a_time:
            await self._have(bundles)
            self._wanted = versions

    def _verified(self, versions: tuple[int, ...]) -> dict[int, Bundle]:
        """The bundle of each version. Raises ``ModelRefused``."""
        bundles: dict[int, Bundle] = {}
        for version in versions:
            try:
                bundles[version] = self._read(version)
            except InvalidBundle as error:
                raise ModelRefused(version, error.refusal, str(error)) from error
        return bundles

    async def _have(self, bundles: dict[int, Bundle]) -> None:
        before, backend = set(await self._loaded()), self._settings.backend
        files = {version: fused_files(bundle, backend, int8=self._int8, engine=self._engine(bundle)) for version, bundle in bundles.items()}
        await self._load(FUSED, files, before)
        self._golden = {version: bundle.golden for version, bundle in bundles.items()}

    async def follow(self, version: int) -> None:
        """Have ``ensemble`` do what ``fused`` does at that version: for comparison, never on the way to an order. Raises as ``load`` does."""
        parts = ensemble_files(self._verified((version,))[version], self._settings.backend, int8=self._int8)
        async with self._one_at_a_time:
            await asyncio.gather(*(self._load(part, {version: parts[part]}, set()) for part in (*MEMBERS, BLEND)))
            try:
                await self._load(ENSEMBLE, {version: parts[ENSEMBLE]}, set())
            except ModelRefused:
                # Triton also looks for the members in its repository, says it cannot find them there, and serves with those that are loaded.
                if not await asked(self._client.is_model_ready(ENSEMBLE, str(version), client_timeout=ASK_SECONDS)):
                    raise

    async def _load(self, model: str, files: Mapping[int, Mapping[str, bytes]], before: set[int]) -> None:
        headers = self._settings.headers()
        if not files:
            await asked(self._client.unload_model(model, headers=headers, client_timeout=LOAD_SECONDS))
            return
        config = as_json(configuration(model, self._settings.backend, list(files)))
        try:
            await self._client.load_model(model, headers=headers, config=config, files=as_sent(files), client_timeout=LOAD_SECONDS)
        except InferenceServerException as error:
            refuse_key(error)
            if str(error.status()) in _AWAY:
                raise TryAgain(f"triton: {error.message()}") from error
            new = [version for version in files if version not in before]
            words = str(error.message())
            at_fault = next((version for version in new if f"version {version} " in words), new[0] if new else max(files))
            raise ModelRefused(at_fault, Refusal.NOT_LOADED, f"triton cannot load {model}: {words}") from error

    async def _loaded(self) -> tuple[int, ...]:
        """Versions of ``fused`` that answer, lowest first. Raises ``TryAgain``."""
        try:
            told = await self._client.get_model_metadata(FUSED, client_timeout=ASK_SECONDS)
        except InferenceServerException as error:
            if str(error.status()) == NOT_LOADED_AT_ALL:
                return ()
            raise TryAgain(f"triton: {error.message()}") from error
        return tuple(sorted(int(version) for version in told.versions))

    async def probe(self, version: int) -> Probe:
        """The golden vectors, again and again: the first run warms up, the median of the rest is the latency."""
        golden = self._golden.get(version)
        if golden is None or version not in await self._loaded():
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
        """Look at what the server has loaded until cancelled, and load what was asked for and is not there."""
        while True:
            try:
                await self.reconcile()
            except (TryAgain, ModelRefused) as error:
                log.warning("triton_not_reconciled", wanted=self._wanted, reason=str(error))
            await asyncio.sleep(LOOK_SECONDS)

    async def reconcile(self) -> bool:
        """Whether something had to be loaded. Raises ``TryAgain`` while the server is away, ``ModelRefused`` when it no longer takes what it had."""
        async with self._one_at_a_time:
            loaded = await self._loaded()
            if loaded == tuple(sorted(self._wanted)):
                return False
            await self._have(self._verified(self._wanted))
            self.reconciled += 1
            log.info("triton_reconciled", was=loaded, now=self._wanted)
            return True
