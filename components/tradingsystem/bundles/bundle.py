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
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tradingsystem.bundles.evidence import Evidence, InvalidEvidence, check_evidence
from tradingsystem.bundles.manifest import EVIDENCE_NAME, FLOAT_NAME, GOLDEN_NAME, INT8_NAME, MANIFEST_NAME, SIGNATURE_NAME, Manifest
from tradingsystem.bundles.refusal import Refusal
from tradingsystem.bundles.signing import signer_of
from tradingsystem.domain.rows import F32

FILE_BYTES_MAX = 16 * 1024 * 1024
_FILES = (INT8_NAME, FLOAT_NAME, GOLDEN_NAME)


class InvalidBundle(ValueError):
    """The directory does not hold a bundle that may be loaded; the text says which file and why, ``refusal`` the same in one word."""

    def __init__(self, text: str, refusal: Refusal = Refusal.CORRUPT) -> None:
        super().__init__(text)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Golden:
    """Frozen inputs F32[n, 50] and what the INT8 graph answered: members F32[n, 3], blend F32[n]."""

    features: F32
    members: F32
    blend: F32


@dataclass(frozen=True, slots=True)
class Bundle:
    """One verified model version. ``signed_by`` is the raw public key that vouches for it, empty for one that was never on disk."""

    manifest: Manifest
    int8_graph: bytes
    float_graph: bytes
    golden: Golden
    evidence: Evidence | None = None
    signed_by: bytes = b""


def read_bundle(directory: Path, *trusted: bytes) -> Bundle:
    """The verified bundle in ``directory``; ``trusted`` are the raw ed25519 keys of which one must have signed it. Raises ``InvalidBundle``."""
    if not directory.is_dir():
        raise InvalidBundle(f"{directory}: No such file or directory", Refusal.VERSION_NOT_FOUND)
    raw = _read(directory / MANIFEST_NAME)
    signed_by = _signed_by(directory, raw, trusted)
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidBundle(f"{directory / MANIFEST_NAME}: {error}", Refusal.WRONG_SCHEMA) from error
    contents: dict[str, bytes] = {}
    for name in _FILES:
        if name not in manifest.files:
            raise InvalidBundle(f"{directory / MANIFEST_NAME}: no digest for {name}")
    for name in (*_FILES, *([EVIDENCE_NAME] if EVIDENCE_NAME in manifest.files else ())):
        contents[name] = _read(directory / name)
        digest = hashlib.sha256(contents[name]).hexdigest()
        if digest != manifest.files[name]:
            raise InvalidBundle(f"{directory / name}: sha256 is {digest}, the manifest says {manifest.files[name]}")
    golden = _golden(directory, contents[GOLDEN_NAME])
    evidence = _evidence(directory, contents[EVIDENCE_NAME]) if EVIDENCE_NAME in contents else None
    return Bundle(manifest, contents[INT8_NAME], contents[FLOAT_NAME], golden, evidence, signed_by)


def contents_of(
    manifest: Manifest, int8_graph: bytes, float_graph: bytes, golden: Golden, evidence: Evidence | None, key: Ed25519PrivateKey
) -> dict[str, bytes]:
    """Every file of a bundle by name, digests and signature included."""
    contents = {INT8_NAME: int8_graph, FLOAT_NAME: float_graph, GOLDEN_NAME: _golden_bytes(golden)}
    if evidence is not None:
        contents[EVIDENCE_NAME] = msgspec.json.format(msgspec.json.encode(evidence), indent=1)
    digests = {name: hashlib.sha256(payload).hexdigest() for name, payload in contents.items()}
    raw = msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(manifest, files=digests)), indent=2)
    return {**contents, MANIFEST_NAME: raw, SIGNATURE_NAME: key.sign(raw)}


def write_bundle(
    directory: Path,
    manifest: Manifest,
    int8_graph: bytes,
    float_graph: bytes,
    golden: Golden,
    key: Ed25519PrivateKey,
    evidence: Evidence | None = None,
) -> None:
    """Write a new bundle where nobody reads yet; ``publishing`` is for a store in use. Raises ``FileExistsError`` when the directory exists: a version
    is immutable."""
    directory.mkdir(parents=True)
    for name, payload in contents_of(manifest, int8_graph, float_graph, golden, evidence, key).items():
        (directory / name).write_bytes(payload)


def _signed_by(directory: Path, raw: bytes, trusted: tuple[bytes, ...]) -> bytes:
    signature = _read(directory / SIGNATURE_NAME, Refusal.UNSIGNED)
    if (signer := signer_of(raw, signature, trusted)) is not None:
        return signer
    keys = "the trusted key" if len(trusted) == 1 else f"any of the {len(trusted)} trusted keys"
    raise InvalidBundle(f"{directory / MANIFEST_NAME}: the signature does not match {keys}", Refusal.UNSIGNED)


def _read(path: Path, absent: Refusal = Refusal.CORRUPT) -> bytes:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise InvalidBundle(f"{path}: larger than {FILE_BYTES_MAX} bytes", Refusal.TOO_LARGE)
        return path.read_bytes()
    except OSError as error:
        raise InvalidBundle(f"{path}: {error.strerror}", absent) from error


def _evidence(directory: Path, payload: bytes) -> Evidence:
    try:
        evidence = msgspec.json.decode(payload, type=Evidence)
        check_evidence(evidence)
    except (msgspec.DecodeError, UnicodeDecodeError, InvalidEvidence) as error:
        raise InvalidBundle(f"{directory / EVIDENCE_NAME}: {error}") from error
    return evidence


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
