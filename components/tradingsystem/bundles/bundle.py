"""Reading and writing a bundle's directory.

A bundle that is not exactly what was signed is not loaded: the previous one goes on serving. Never pickle: ONNX, npz without objects, JSON.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tradingsystem.bundles.manifest import FLOAT_NAME, GOLDEN_NAME, INT8_NAME, MANIFEST_NAME, SIGNATURE_NAME, Manifest
from tradingsystem.domain.rows import F32

FILE_BYTES_MAX = 16 * 1024 * 1024
_FILES = (INT8_NAME, FLOAT_NAME, GOLDEN_NAME)


class InvalidBundle(ValueError):
    """The directory does not hold a bundle that may be loaded; the text says which file and why."""


@dataclass(frozen=True, slots=True)
class Golden:
    """Frozen inputs F32[n, 50] and what the INT8 graph answered: members F32[n, 3], blend F32[n]."""

    features: F32
    members: F32
    blend: F32


@dataclass(frozen=True, slots=True)
class Bundle:
    """One verified model version."""

    manifest: Manifest
    int8_graph: bytes
    float_graph: bytes
    golden: Golden


def read_bundle(directory: Path, public_key: bytes) -> Bundle:
    """The verified bundle in ``directory``; ``public_key`` is the raw ed25519 key. Raises ``InvalidBundle``."""
    raw = _read(directory / MANIFEST_NAME)
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(_read(directory / SIGNATURE_NAME), raw)
    except InvalidSignature as error:
        raise InvalidBundle(f"{directory / MANIFEST_NAME}: the signature does not match the trusted key") from error
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidBundle(f"{directory / MANIFEST_NAME}: {error}") from error
    contents: dict[str, bytes] = {}
    for name in _FILES:
        if name not in manifest.files:
            raise InvalidBundle(f"{directory / MANIFEST_NAME}: no digest for {name}")
        contents[name] = _read(directory / name)
        digest = hashlib.sha256(contents[name]).hexdigest()
        if digest != manifest.files[name]:
            raise InvalidBundle(f"{directory / name}: sha256 is {digest}, the manifest says {manifest.files[name]}")
    return Bundle(manifest, contents[INT8_NAME], contents[FLOAT_NAME], _golden(directory, contents[GOLDEN_NAME]))


def write_bundle(
    directory: Path, manifest: Manifest, int8_graph: bytes, float_graph: bytes, golden: Golden, key: Ed25519PrivateKey
) -> None:
    """Write a new bundle. Raises ``FileExistsError`` when the directory exists: a version is immutable."""
    contents = {INT8_NAME: int8_graph, FLOAT_NAME: float_graph, GOLDEN_NAME: _golden_bytes(golden)}
    digests = {name: hashlib.sha256(payload).hexdigest() for name, payload in contents.items()}
    raw = msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(manifest, files=digests)), indent=2)
    directory.mkdir(parents=True)
    for name, payload in {**contents, MANIFEST_NAME: raw, SIGNATURE_NAME: key.sign(raw)}.items():
        (directory / name).write_bytes(payload)


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise InvalidBundle(f"{path}: larger than {FILE_BYTES_MAX} bytes")
        return path.read_bytes()
    except OSError as error:
        raise InvalidBundle(f"{path}: {error.strerror}") from error


def _golden(directory: Path, payload: bytes) -> Golden:
    try:
        with np.load(io.BytesIO(payload), allow_pickle=False) as arrays:
            return Golden(features=arrays["features"], members=arrays["members"], blend=arrays["blend"])
    except (ValueError, KeyError, OSError) as error:
        raise InvalidBundle(f"{directory / GOLDEN_NAME}: {error}") from error


def _golden_bytes(golden: Golden) -> bytes:
    target = io.BytesIO()
    np.savez(target, features=golden.features, members=golden.members, blend=golden.blend)
    return target.getvalue()
