"""A chain over the journal's entries, sealed now and then, and what is wrong with a journal that does not fit its seals.

Exists so that one flipped byte, and an entry that was removed, put in, moved or torn, is found and named by its place. A seal costs one entry for hundreds,
written behind them: nothing waits for it. It refuses to repair, and it cannot know of entries that were cut off behind the last seal: the recording of the
run can, and is another copy.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable

import msgspec

MARK_BYTES = 4  # of each entry's own digest, in its seal: enough to name the one that differs
_PLACE = struct.Struct("<QI")


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """The chain up to and with entry ``last_seq``; ``marks`` are the beginnings of the digests of ``first_seq`` to ``last_seq``, in turn."""

    store: str  # the journal's identity
    first_seq: int
    last_seq: int
    digest: bytes
    marks: bytes


def digest_of(seq: int, subject: str, payload: bytes) -> bytes:
    """One entry's own digest: its place, its subject, its bytes."""
    name = subject.encode()
    return hashlib.blake2b(_PLACE.pack(seq, len(name)) + name + payload, digest_size=32).digest()


def linked(before: bytes, digests: Iterable[bytes]) -> bytes:
    """The chain's end after some more entries."""
    for digest in digests:
        before = hashlib.blake2b(before + digest, digest_size=32).digest()
    return before


class Sealer:
    """Follows the journal from behind the newest seal on, and makes the next."""

    def __init__(self, store: str, newest: Seal | None) -> None:
        self._store = store
        self.last_seq = newest.last_seq if newest is not None else 0
        self._digest = newest.digest if newest is not None else b""
        self._digests: list[bytes] = []

    @property
    def unsealed(self) -> int:
        """Entries behind the newest seal."""
        return len(self._digests)

    def add(self, seq: int, subject: str, payload: bytes) -> None:
        """The next entry. A hole before it is a promise the journal broke: it gets no digest, so that the seal says so."""
        expected = self.last_seq + len(self._digests) + 1
        self._digests += [b"\0" * 32] * (seq - expected)
        self._digests.append(digest_of(seq, subject, payload))

    def seal(self) -> Seal:
        """Over everything that was added; what follows is a seal of its own."""
        self._digest = linked(self._digest, self._digests)
        first_seq, self.last_seq = self.last_seq + 1, self.last_seq + len(self._digests)
        marks = b"".join(digest[:MARK_BYTES] for digest in self._digests)
        self._digests.clear()
        return Seal(store=self._store, first_seq=first_seq, last_seq=self.last_seq, digest=self._digest, marks=marks)


class Verified(msgspec.Struct):
    """What was found: each problem is a sentence that names an entry."""

    entries: int = 0
    seals: int = 0
    first_seq: int = 0
    last_seq: int = 0
    sealed_seq: int = 0  # of the newest entry that a seal covers
    problems: list[str] = []


class Verifier:
    """Holds entries, in the order of their places, against the seals among them."""

    def __init__(self, store: str = "", first_seq: int = 1) -> None:
        """``store``: the identity that the seals must name, when it is known. ``first_seq``: where the journal begins."""
        self.verified = Verified(first_seq=first_seq, last_seq=first_seq - 1)
        self._store = store
        self._digest = b""
        self._sealed_seq = 0
        self._waiting: dict[int, tuple[bytes, str]] = {}  # by seq: digest and subject, of entries behind the newest seal

    def entry(self, seq: int, subject: str, payload: bytes) -> None:
        """The next entry."""
        verified = self.verified
        if seq <= verified.last_seq:
            verified.problems.append(f"entry {seq} ({subject}) stands behind entry {verified.last_seq}: moved, or put in")
            return
        if seq > verified.last_seq + 1:
            verified.problems.append(f"{_entries(verified.last_seq + 1, seq - 1)} missing")
        verified.last_seq = seq
        verified.entries += 1
        self._waiting[seq] = (digest_of(seq, subject, payload), subject)

    def seal(self, seal: Seal, seq: int) -> None:
        """A seal, which is entry ``seq``: before it is added as an entry itself."""
        verified = self.verified
        verified.seals += 1
        self._store = self._store or seal.store
        if seal.store != self._store:
            verified.problems.append(f"the seal in entry {seq} was made for store {seal.store}, this is {self._store}")
        if seal.last_seq <= self._sealed_seq:
            return
        covered = range(self._sealed_seq + 1, seal.last_seq + 1)
        known = [self._waiting[each][0] for each in covered if each in self._waiting]
        if len(known) < len(covered) or linked(self._digest, known) != seal.digest:
            self._name(seal, seq)
        for each in covered:
            self._waiting.pop(each, None)
        self._digest, self._sealed_seq = seal.digest, seal.last_seq
        verified.sealed_seq = seal.last_seq

    def _name(self, seal: Seal, seq: int) -> None:
        """Say which entries differ; those that are missing were named when they were."""
        altered = []
        for place, each in enumerate(range(seal.first_seq, seal.last_seq + 1)):
            mark = seal.marks[place * MARK_BYTES : (place + 1) * MARK_BYTES]
            if each in self._waiting and self._waiting[each][0][:MARK_BYTES] != mark:
                altered.append(f"entry {each} ({self._waiting[each][1]}) is not what was sealed: altered, or another one in its place")
        missing = any(each not in self._waiting for each in range(self._sealed_seq + 1, seal.last_seq + 1))
        if not altered and not missing:
            altered.append(f"the seal in entry {seq} does not fit {_entries(seal.first_seq, seal.last_seq)}: the seal itself was altered")
        self.verified.problems += altered

    @property
    def unsealed(self) -> int:
        """Entries behind the newest seal: not wrong, only not sealed yet."""
        return len(self._waiting)


def _entries(first: int, last: int) -> str:
    return f"entry {first} is" if first == last else f"entries {first} to {last} are"
