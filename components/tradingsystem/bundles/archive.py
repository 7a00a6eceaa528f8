"""A version as one file, to travel: a plain tar of exactly its own files, the same bytes for the same content whoever packs it.

What arrives is not trusted: names, kinds and sizes are checked before anything is kept, nothing is ever extracted by its path, and whether somebody who is
trusted has signed it is asked by who reads the bundle.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping

from tradingsystem.bundles.bundle import FILE_BYTES_MAX, InvalidBundle
from tradingsystem.bundles.manifest import EVIDENCE_NAME, FLOAT_NAME, GOLDEN_NAME, INT8_NAME, MANIFEST_NAME, SIGNATURE_NAME
from tradingsystem.bundles.refusal import Refusal

NAMES = (EVIDENCE_NAME, FLOAT_NAME, GOLDEN_NAME, INT8_NAME, MANIFEST_NAME, SIGNATURE_NAME)
"""Every file that a version may have, sorted."""

ARCHIVE_BYTES_MAX = len(NAMES) * (FILE_BYTES_MAX + 1024) + 16 * 1024
_MODE = 0o644


def pack(contents: Mapping[str, bytes]) -> bytes:
    """The files of a version by name as one tar. Raises ``InvalidBundle`` for a name that no version has."""
    _check_names(contents)
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(contents):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(contents[name]), _MODE
            archive.addfile(entry, io.BytesIO(contents[name]))
    return target.getvalue()


def unpack(payload: bytes) -> dict[str, bytes]:
    """The files by name. Raises ``InvalidBundle`` with ``TOO_LARGE`` or ``CORRUPT``."""
    if len(payload) > ARCHIVE_BYTES_MAX:
        raise InvalidBundle(f"archive: larger than {ARCHIVE_BYTES_MAX} bytes", Refusal.TOO_LARGE)
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(payload), mode="r:") as archive:
            for entry in archive:
                if not entry.isreg() or entry.name not in NAMES or entry.name in found:
                    raise InvalidBundle(f"archive: {entry.name!r} is not one of a version's files, or is there twice")
                if entry.size > FILE_BYTES_MAX:
                    raise InvalidBundle(f"archive: {entry.name} is larger than {FILE_BYTES_MAX} bytes", Refusal.TOO_LARGE)
                file = archive.extractfile(entry)
                assert file is not None, "a regular file"
                found[entry.name] = file.read()
                if len(found[entry.name]) != entry.size:
                    raise InvalidBundle(f"archive: {entry.name} is cut off")
    except (tarfile.TarError, ValueError, EOFError, OSError) as error:
        if isinstance(error, InvalidBundle):
            raise
        raise InvalidBundle(f"archive: {error}") from error
    _check_names(found)
    return found


def _check_names(contents: Mapping[str, bytes]) -> None:
    if strange := sorted(set(contents) - set(NAMES)):
        raise InvalidBundle(f"archive: {', '.join(strange)}: no version has such a file")
    if MANIFEST_NAME not in contents:
        raise InvalidBundle(f"archive: no {MANIFEST_NAME}")
