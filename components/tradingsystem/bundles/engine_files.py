"""An engine as files: the engine itself, its signed record, the layer report, and the kernels that were measured for it.

An engine is code that runs on a GPU, so nothing reads one that is not vouched for: the record is signed by a key that may sign the bundle's versions, it holds
the digest of every file that anything reads, and every part of the key by which the engine is asked for is compared with it. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tradingsystem.bundles.archive import Kind
from tradingsystem.bundles.engine_plan import (
    LAYERS_NAME,
    RECORD_NAME,
    EnginePlan,
    EngineRecord,
    Target,
    key_of,
    layers_of,
    read_record,
    require_match,
)
from tradingsystem.bundles.refusal import ModelRefused, Refusal
from tradingsystem.bundles.signing import signer_of
from tradingsystem.bundles.triton_config import FILE_OF, Backend

ENGINE_FILE = FILE_OF[Backend.TENSORRT]
SIGNATURE_NAME = "engine.sig"
TIMINGS_NAME = "timing.cache"
ENGINE = Kind("engine", (RECORD_NAME, SIGNATURE_NAME, LAYERS_NAME, ENGINE_FILE, TIMINGS_NAME), RECORD_NAME)


def contents_of(
    plan: EnginePlan, target: Target, engine: bytes, timings: bytes, report: bytes, golden_difference: float, key: Ed25519PrivateKey
) -> dict[str, bytes]:
    """Every file by name, signature included. ``report`` is the inspector's JSON. Raises ``ValueError`` for another text."""
    record = EngineRecord(
        key=key_of(plan, target),
        target=target,
        plan=plan,
        engine_sha256=_sha256(engine),
        engine_bytes=len(engine),
        timings_sha256=_sha256(timings),
        layers=layers_of(report),
        golden_difference=golden_difference,
    )
    told = msgspec.json.format(msgspec.json.encode(record), indent=2)
    return {ENGINE_FILE: engine, LAYERS_NAME: report, TIMINGS_NAME: timings, RECORD_NAME: told, SIGNATURE_NAME: key.sign(told)}


def verified(contents: Mapping[str, bytes], plan: EnginePlan, target: Target, trusted: tuple[bytes, ...]) -> EngineRecord:
    """The record of an engine that may be loaded as ``plan`` for ``target``. Raises ``ModelRefused`` (EngineMismatch) with what it is instead."""
    record = _signed(contents, plan.bundle_version, trusted)
    require_match(record, plan, target, _sha256(contents.get(ENGINE_FILE, b"")))
    return record


def timings_in(contents: Mapping[str, bytes], target: Target, version: int, trusted: tuple[bytes, ...]) -> bytes:
    """The kernels that were measured for an engine of any version, empty when they were measured elsewhere or nobody who is trusted vouches for them."""
    timings = contents.get(TIMINGS_NAME, b"")
    try:
        record = _signed(contents, version, trusted)
    except ModelRefused:
        return b""
    return timings if record.target == target and record.timings_sha256 == _sha256(timings) else b""


def _signed(contents: Mapping[str, bytes], version: int, trusted: tuple[bytes, ...]) -> EngineRecord:
    raw, signature = contents.get(RECORD_NAME, b""), contents.get(SIGNATURE_NAME, b"")
    if signer_of(raw, signature, trusted) is None:
        what = f"{RECORD_NAME} is not signed by a key that may sign version {version}"
        raise ModelRefused(version, Refusal.ENGINE_MISMATCH, f"{what}; build the engine anew")
    return read_record(raw, version)


def _sha256(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()
