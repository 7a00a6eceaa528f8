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
from collections.abc import Callable, Mapping

import msgspec
import numpy as np
import structlog
from tritonclient.grpc import InferInput, InferRequestedOutput, InferResult
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from tradingsystem.adapters.onnxruntime import PROBE_RUNS, golden_difference
from tradingsystem.adapters.triton_calls import (
    ASK_SECONDS,
    AWAY,
    LOAD_SECONDS,
    NOT_LOADED_AT_ALL,
    TritonSettings,
    asked,
    connected,
    refuse_key,
)
from tradingsystem.adapters.triton_engines import TritonEngines
from tradingsystem.adapters.triton_target import target_of
from tradingsystem.bundles.bundle import Bundle, Golden, InvalidBundle
from tradingsystem.bundles.engine_plan import PARITY_TOLERANCE, Target
from tradingsystem.bundles.refusal import ModelRefused, Refusal
from tradingsystem.bundles.triton_config import BLEND, ENSEMBLE, FUSED, MEMBERS, Backend, as_json, bucket_of, configuration
from tradingsystem.bundles.triton_files import as_sent, engine_files, ensemble_files, fused_files
from tradingsystem.domain.errors import TryAgain
from tradingsystem.domain.rows import F32
from tradingsystem.interfaces import Probe, Running, Scores

log = structlog.get_logger()

LOOK_SECONDS = 0.5
ENGINES_LOOK_SECONDS = 5.0


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


class TritonModelServer:
    """Versions of ``fused`` on one server. ``read`` gives the verified bundle of a version, raising ``InvalidBundle``; ``int8`` says which of its graphs.

    With ``engines`` TensorRT runs them where every version has an engine that fits the server: one model has one backend. Where one has none, where the server
    takes none, and where one does not answer as was signed, the backend of ``settings`` runs them all. ``run`` keeps what is loaded as it was last asked for,
    also after the server was started anew, and looks for engines that have come.
    """

    def __init__(
        self,
        settings: TritonSettings,
        read: Callable[[int], Bundle],
        *,
        int8: bool = True,
        engines: TritonEngines | None = None,
    ) -> None:
        self._settings = settings
        self._read = read
        self._int8 = int8
        self._engines = engines
        self._target: Target | None = None  # of this start of the server
        self._engines_looked_at = 0.0
        self._client = connected(settings.address)
        self._golden: dict[int, Golden] = {}
        self._wanted: tuple[int, ...] = ()
        self._one_at_a_time = asyncio.Lock()
        self.backend = settings.backend
        """Who runs what is loaded."""
        self.reconciled = 0
        """How often the server was brought back to what was asked for."""

    def running(self) -> Running:
        """How what was loaded last is run."""
        if self._engines is None:
            return Running(self.backend.value)
        return Running(self.backend.value, self._engines.lacking, self._engines.wanted)

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
        before = set(await self._loaded())
        if not before and self._engines is not None:  # a server that was started anew may have another GPU
            self._target = None
            self._engines.forget()
        engines = await self._fitting(bundles)
        if not await self._have_engines(bundles, engines, before):
            await self._load(FUSED, self._settings.backend, self._graphs(bundles), before)
            self.backend = self._settings.backend
        self._golden = {version: bundle.golden for version, bundle in bundles.items()}

    def _graphs(self, bundles: dict[int, Bundle]) -> dict[int, dict[str, bytes]]:
        return {version: fused_files(bundle, self._settings.backend, int8=self._int8) for version, bundle in bundles.items()}

    async def _fitting(self, bundles: Mapping[int, Bundle]) -> dict[int, bytes]:
        """The engines that this server could be given. Raises ``TryAgain`` while it is away."""
        if self._engines is None or not bundles:
            return {}
        self._engines_looked_at = time.monotonic()
        if self._target is None:
            self._target = await target_of(self._client, self._settings)
            log.info("triton_target", **msgspec.structs.asdict(self._target))
        return await self._engines.fitting(bundles, self._target)

    async def _have_engines(self, bundles: dict[int, Bundle], engines: dict[int, bytes], before: set[int]) -> bool:
        """Whether TensorRT runs every version. Raises ``TryAgain`` while the server is away."""
        if self._engines is None or not engines or len(engines) < len(bundles):
            return False
        known = before if self.backend is Backend.TENSORRT else set[int]()
        try:
            await self._load(FUSED, Backend.TENSORRT, {version: engine_files(engine) for version, engine in engines.items()}, known)
            for version, bundle in bundles.items():
                await self._require_answers(version, bundle.golden)
        except ModelRefused as error:
            self._engines.give_up(error.version, error)
            return False
        self.backend = Backend.TENSORRT
        return True

    async def _require_answers(self, version: int, golden: Golden) -> None:
        """Raises ``ModelRefused`` where the engine that was loaded answers otherwise than was signed."""
        worst = golden_difference(await TritonInference(self._client, version, ASK_SECONDS).infer(golden.features), golden)
        if not worst <= PARITY_TOLERANCE:  # also for one that is no number
            text = f"its answers to the golden vectors differ by {worst:.2e}, at most {PARITY_TOLERANCE:.0e} is allowed"
            raise ModelRefused(version, Refusal.WRONG_ANSWERS, text)

    async def follow(self, version: int) -> None:
        """Have ``ensemble`` do what ``fused`` does at that version: for comparison, never on the way to an order. Raises as ``load`` does."""
        parts = ensemble_files(self._verified((version,))[version], self._settings.backend, int8=self._int8)
        async with self._one_at_a_time:
            await asyncio.gather(*(self._load(part, self._settings.backend, {version: parts[part]}, set()) for part in (*MEMBERS, BLEND)))
            try:
                await self._load(ENSEMBLE, self._settings.backend, {version: parts[ENSEMBLE]}, set())
            except ModelRefused:
                # Triton also looks for the members in its repository, says it cannot find them there, and serves with those that are loaded.
                if not await asked(self._client.is_model_ready(ENSEMBLE, str(version), client_timeout=ASK_SECONDS)):
                    raise

    async def _load(self, model: str, backend: Backend, files: Mapping[int, Mapping[str, bytes]], before: set[int]) -> None:
        headers = self._settings.headers()
        if not files:
            await asked(self._client.unload_model(model, headers=headers, client_timeout=LOAD_SECONDS))
            return
        config = as_json(configuration(model, backend, list(files)))
        try:
            await self._client.load_model(
                model, headers=headers, config=config, files=as_sent(files, self._settings.address), client_timeout=LOAD_SECONDS
            )
        except InferenceServerException as error:
            refuse_key(error)
            if str(error.status()) in AWAY:
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
            if loaded == tuple(sorted(self._wanted)) and not await self._engines_have_come():
                return False
            await self._have(self._verified(self._wanted))
            self.reconciled += 1
            log.info("triton_reconciled", was=loaded, now=self._wanted, backend=self.backend.value)
            return True

    async def _engines_have_come(self) -> bool:
        """Whether TensorRT could run now what another backend runs; looked at once in a while."""
        due = time.monotonic() - self._engines_looked_at >= ENGINES_LOOK_SECONDS
        if self._engines is None or self.backend is Backend.TENSORRT or not due:
            return False
        bundles = self._verified(self._wanted)
        return bool(bundles) and len(await self._fitting(bundles)) == len(bundles)
