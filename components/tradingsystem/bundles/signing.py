"""Who has signed something: ed25519, over the bytes as they are."""

from __future__ import annotations

from collections.abc import Iterable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def signer_of(payload: bytes, signature: bytes, trusted: Iterable[bytes]) -> bytes | None:
    """The first of the raw public keys ``trusted`` whose signature it is; None when it is nobody's."""
    for public_key in trusted:
        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(signature, payload)
        except InvalidSignature:
            continue
        return public_key
    return None
