"""One canonical spelling of a value, and its hash. Two services agree on a configuration when, and only when, they agree on these bytes."""

import hashlib

import msgspec

_ENCODER = msgspec.json.Encoder(order="sorted")


def canonical_json(value: object) -> bytes:
    """JSON with sorted keys, no spaces and every default written out: equal values give equal bytes."""
    return _ENCODER.encode(msgspec.to_builtins(value))


def content_hash(*values: object) -> str:
    """sha256 (hex) over the canonical JSON of the values, in order."""
    return hashlib.sha256(canonical_json(values)).hexdigest()
