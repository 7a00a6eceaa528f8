"""A version travels as one file: what was packed comes out, and nothing else does."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradingsystem.bundles.archive import VERSION, pack, unpack
from tradingsystem.bundles.bundle import FILE_BYTES_MAX, InvalidBundle
from tradingsystem.bundles.manifest import GOLDEN_NAME, MANIFEST_NAME
from tradingsystem.bundles.refusal import Refusal

CONTENTS = st.fixed_dictionaries(
    {MANIFEST_NAME: st.binary(max_size=700)}, optional={name: st.binary(max_size=700) for name in VERSION.names if name != MANIFEST_NAME}
)


@given(CONTENTS)
def test_what_is_packed_comes_out(contents: dict[str, bytes]) -> None:
    """Whatever the files hold, and the same bytes in whatever order they were given."""
    packed = pack(contents, VERSION)
    assert unpack(packed, VERSION) == contents
    assert pack(dict(reversed(contents.items())), VERSION) == packed
    assert len(packed) <= VERSION.bytes_max


@given(st.one_of(st.binary(max_size=2_000), st.tuples(CONTENTS, st.integers(0, 4_000), st.integers(0, 255)).map(lambda t: damaged(*t))))
def test_what_is_damaged_is_refused_by_name_or_is_whole(payload: bytes) -> None:
    """No bytes from outside raise anything else, and whatever comes out has names of ours only."""
    try:
        found = unpack(payload, VERSION)
    except InvalidBundle:
        return
    assert set(found) <= set(VERSION.names)


def damaged(contents: dict[str, bytes], at: int, byte: int) -> bytes:
    """One byte another, the rest cut off at twice that place."""
    packed = bytearray(pack(contents, VERSION))
    packed[at % len(packed)] = byte
    return bytes(packed[: 2 * at or None])


def tar(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """An archive that somebody else has made."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for entry, payload in entries:
            entry.size = len(payload)
            archive.addfile(entry, io.BytesIO(payload))
    return target.getvalue()


def link(name: str, to: str) -> tarfile.TarInfo:
    """A symbolic link."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, to
    return entry


@pytest.mark.parametrize(
    "payload",
    [
        tar((tarfile.TarInfo("../manifest.json"), b"x")),
        tar((tarfile.TarInfo("/etc/passwd"), b"x")),
        tar((link(MANIFEST_NAME, "/etc/passwd"), b"")),
        tar((tarfile.TarInfo(MANIFEST_NAME), b"x"), (tarfile.TarInfo(MANIFEST_NAME), b"y")),
        tar((tarfile.TarInfo(GOLDEN_NAME), b"x")),
        tar(),
    ],
)
def test_what_is_no_version_is_refused(payload: bytes) -> None:
    """Paths that lead elsewhere, links, files twice, no manifest."""
    with pytest.raises(InvalidBundle) as refused:
        unpack(payload, VERSION)
    assert refused.value.refusal is Refusal.CORRUPT


def test_what_is_too_large_is_refused_before_it_is_read() -> None:
    """A header that promises more than a version's file may have, and an archive that is longer than any may be."""
    entry = tarfile.TarInfo(MANIFEST_NAME)
    entry.size = FILE_BYTES_MAX + 1
    for payload in (entry.tobuf() + bytes(1_024), bytes(VERSION.bytes_max + 1)):
        with pytest.raises(InvalidBundle) as refused:
            unpack(payload, VERSION)
        assert refused.value.refusal is Refusal.TOO_LARGE


def test_nothing_that_has_no_place_in_a_version_is_packed() -> None:
    """Found where it is made."""
    with pytest.raises(InvalidBundle, match="no version has such a file"):
        pack({MANIFEST_NAME: b"", "notes.txt": b""}, VERSION)
