"""Writes ``triton_models``: what a Triton server is told with a load beside the models, laid out as a model repository, for a person and a review to read.

The graphs come from bundles; ``bundles.triton_files`` puts both together.
"""

import sys
from pathlib import Path

from tradingsystem.bundles.triton_config import FILE_OF, ONE_GRAPH, Backend
from tradingsystem.bundles.triton_files import WRAPPER, configs

FOLDER = Path("triton_models")
_HEAD = "# Generated from components/tradingsystem/bundles/triton_config.py by `make generate`; edit that.\n"


def main(arguments: list[str]) -> None:
    """Write it to the given folder, or to its place in the repository when run from its root."""
    folder = Path(arguments[0]) if arguments else FOLDER
    found = {path: _HEAD.encode() + content for path, content in configs().items()}
    found |= {f"{model}/1/{FILE_OF[Backend.PYTHON]}": WRAPPER.read_bytes() for model in ONE_GRAPH}
    for path, content in found.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


if __name__ == "__main__":
    main(sys.argv[1:])
