"""Writes the CustomResourceDefinition into the repository, so that installing needs no program of ours and a review sees what changed.

It needs no cluster and refuses a definition so large that a plain ``kubectl apply`` could not keep it in its annotation.
"""

import sys
from pathlib import Path

import yaml

from tradingsystem.spec.crd import NAME, definition

PATH = Path(f"manifests/crd/{NAME}.yaml")
SIZE_MAX_BYTES = 200_000

_HEAD = "# Generated from the types by `make generate`; edit those.\n"


def text() -> str:
    """The committed file's content."""
    made = _HEAD + yaml.safe_dump(definition(), sort_keys=False, allow_unicode=True, width=4_096)
    size = len(made.encode())
    if size > SIZE_MAX_BYTES:
        raise ValueError(f"{NAME}: the definition has {size:,} bytes, more than {SIZE_MAX_BYTES:,}; shorten descriptions or rules")
    return made


def main(arguments: list[str]) -> None:
    """Write it to the given path, or to its place in the repository when run from its root."""
    path = Path(arguments[0]) if arguments else PATH
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
