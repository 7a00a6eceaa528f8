"""One canonical spelling of a value, and its hash. Two services agree on a configuration when, and only when, they agree on these bytes."""

import hashlib
import re

import msgspec

_ENCODER = msgspec.json.Encoder(order="sorted")
# What JSON may hold bare in a string and YAML may not, or folds like the end of a line.
_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def canonical_json(value: object) -> bytes:
    """JSON with sorted keys, no spaces and every default written out: equal values give equal bytes. It is YAML too, and means the same there."""
    text = _ENCODER.encode(msgspec.to_builtins(value)).decode()
    return _NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def content_hash(*values: object) -> str:
    """sha256 (hex) over the canonical JSON of the values, in order."""
    return hashlib.sha256(canonical_json(values)).hexdigest()
