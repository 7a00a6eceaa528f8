"""Engines on a disk: each in a folder named by its key, with its record and its layer report, beside the measured kernels of each kind of GPU.

A folder appears whole or not at all. What is in it is looked at again before it is used: the digest, and every part of the key.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import msgspec

from tradingsystem.bundles.engine_plan import (
    LAYERS_NAME,
    RECORD_NAME,
    EnginePlan,
    EngineRecord,
    Target,
    engine_name,
    key_of,
    layers_of,
    read_record,
    require_match,
    timing_cache_name,
)
from tradingsystem.bundles.publishing import STAGING, flush_folder, place, write_flushed
from tradingsystem.bundles.refusal import ModelRefused, Refusal
from tradingsystem.bundles.triton_config import FILE_OF, Backend

ENGINE_FILE = FILE_OF[Backend.TENSORRT]


def find(out: Path, plan: EnginePlan, target: Target) -> EngineRecord | None:
    """The record of the engine of that plan for that target, None when ``out`` holds none. Raises as ``read`` does, ``ValueError`` for half a target."""
    folder = out / engine_name(plan, target)
    return read(folder, plan, target) if folder.is_dir() else None


def read(folder: Path, plan: EnginePlan, target: Target) -> EngineRecord:
    """The record in ``folder``, whose engine may be loaded there. Raises ``ModelRefused`` (EngineMismatch) when it is another one, or not whole."""
    return _whole(folder, plan, target)[0]


def engine_for(out: Path, plan: EnginePlan, target: Target) -> bytes:
    """The engine of that plan among all in ``out``, where of the target only a part is known, or nothing. Raises ``ModelRefused`` (EngineMismatch) when
    there is none, with what is wrong with each of that version, and when there are several: which GPU will read it nobody could say."""
    version, begins = plan.bundle_version, f"{plan.model}-{plan.bundle_version}-"
    found, wrong = [], []
    for folder in sorted(out.glob(f"{begins}*")):
        try:
            found.append(_whole(folder, plan, target))
        except ModelRefused as error:
            wrong.append(f"{folder.name}: {error.detail}")
    if len(found) == 1:
        return found[0][1]
    if found:
        told = f"engines for {' and '.join(record.target.gpu for record, _ in found)}; leave the one of the GPU that serves"
    else:
        told = "; ".join(wrong) or f"no engine; `tradingsystem models build-engine --version {version}` builds it on the node that serves"
    raise ModelRefused(version, Refusal.ENGINE_MISMATCH, f"{out}: {told}")


def _whole(folder: Path, plan: EnginePlan, target: Target) -> tuple[EngineRecord, bytes]:
    try:
        record = read_record((folder / RECORD_NAME).read_bytes(), plan.bundle_version)
        engine = (folder / ENGINE_FILE).read_bytes()
    except OSError as error:
        raise ModelRefused(plan.bundle_version, Refusal.ENGINE_MISMATCH, f"{error.filename}: {error.strerror}; build it anew") from error
    require_match(record, plan, target, hashlib.sha256(engine).hexdigest())
    return record, engine


def put(out: Path, plan: EnginePlan, target: Target, engine: bytes, report: bytes, golden_difference: float) -> Path:
    """The folder of a new engine, which appears with all that belongs to it; while ``publishing.alone`` is held. ``report`` is the inspector's JSON.
    Raises ``ValueError`` for another text, ``OSError``, ``FileExistsError`` for an engine that is there."""
    record = EngineRecord(
        key=key_of(plan, target),
        target=target,
        plan=plan,
        engine_sha256=hashlib.sha256(engine).hexdigest(),
        engine_bytes=len(engine),
        layers=layers_of(report),
        golden_difference=golden_difference,
    )
    folder = out / engine_name(plan, target)
    if folder.exists():
        raise FileExistsError(f"{folder}: an engine lies there; engines are never changed")
    told = msgspec.json.format(msgspec.json.encode(record), indent=2)
    place(out, folder.name, {ENGINE_FILE: engine, LAYERS_NAME: report, RECORD_NAME: told})
    return folder


def timings(out: Path, target: Target) -> bytes:
    """What was measured on that kind of GPU before, empty when nothing was. Raises ``OSError``."""
    file = out / timing_cache_name(target)
    return file.read_bytes() if file.exists() else b""


def put_timings(out: Path, target: Target, measured: bytes) -> None:
    """Keep it for the next build; while ``publishing.alone`` is held. Raises ``OSError``."""
    staged = out / STAGING / timing_cache_name(target)
    staged.parent.mkdir(exist_ok=True)
    write_flushed(staged, measured)
    staged.replace(out / staged.name)
    flush_folder(out)
    shutil.rmtree(out / STAGING, ignore_errors=True)
