"""A version, or an engine, as one file, to travel: a plain tar of exactly its own files, the same bytes for the same content whoever packs it.

What arrives is not trusted: names, kinds and sizes are checked before anything is kept, nothing is ever extracted by its path, and whether somebody who is
trusted has signed it is asked by who reads the bundle.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass

from tradingsystem.bundles.bundle import FILE_BYTES_MAX, InvalidBundle
from tradingsystem.bundles.manifest import EVIDENCE_NAME, FLOAT_NAME, GOLDEN_NAME, INT8_NAME, MANIFEST_NAME, SIGNATURE_NAME
from tradingsystem.bundles.refusal import Refusal


@dataclass(frozen=True, slots=True)
class Kind:
    """What travels: ``noun`` for messages, every file that it may have, sorted, and the one without which it is none."""

    noun: str
    names: tuple[str, ...]
    needed: str

    @property
    def bytes_max(self) -> int:
        """The largest archive of it."""
        return len(self.names) * (FILE_BYTES_MAX + 1024) + 16 * 1024


VERSION = Kind("version", (EVIDENCE_NAME, FLOAT_NAME, GOLDEN_NAME, INT8_NAME, MANIFEST_NAME, SIGNATURE_NAME), MANIFEST_NAME)
_MODE = 0o644


def pack(contents: Mapping[str, bytes], kind: Kind) -> bytes:
    """The files by name as one tar. Raises ``InvalidBundle`` for a name that nothing of that kind has."""
    _check_names(contents, kind)
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(contents):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(contents[name]), _MODE
            archive.addfile(entry, io.BytesIO(contents[name]))
    return target.getvalue()


def unpack(payload: bytes, kind: Kind) -> dict[str, bytes]:
    """The files by name. Raises ``InvalidBundle`` with ``TOO_LARGE`` or ``CORRUPT``."""
    if len(payload) > kind.bytes_max:
        raise InvalidBundle(f"archive: larger than {kind.bytes_max} bytes", Refusal.TOO_LARGE)
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(payload), mode="r:") as archive:
            for entry in archive:
                if not entry.isreg() or entry.name not in kind.names or entry.name in found:
                    raise InvalidBundle(f"archive: {entry.name!r} is not one of a {kind.noun}'s files, or is there twice")
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
    _check_names(found, kind)
    return found


def _check_names(contents: Mapping[str, bytes], kind: Kind) -> None:
    if strange := sorted(set(contents) - set(kind.names)):
        raise InvalidBundle(f"archive: {', '.join(strange)}: no {kind.noun} has such a file")
    if kind.needed not in contents:
        raise InvalidBundle(f"archive: no {kind.needed}")
