"""How kernels are compiled, once for all of them, so that no kernel can differ in how it treats NaN.

Of fast math only contraction and signless zero are allowed: everything else would let the compiler assume that NaN does not exist. The GIL is released,
so that threads may run kernels side by side. Compiled code is kept on disk, in a folder named after the text of all modules that kernels are made from:
numba itself looks only at the file of the function it compiles, and would go on using a constant or a callee that another file has changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

_SOURCES = ("domain", "market", "features", "ensemble", "filter", "learning", "adapters/polygon")


def _folder() -> str:
    """Where compiled code of exactly this source text lies."""
    root = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for package in _SOURCES:
        for path in sorted((root / package).glob("*.py")):
            text = path.read_bytes()
            if b"compiled" in text or path.name in ("columns.py", "catalogue.py", "rows.py", "time.py", "conditions.py"):
                digest.update(text)
    base = numba.config.CACHE_DIR or str(Path(__file__).parent / "__pycache__")
    return f"{base}/kernels-{digest.hexdigest()[:16]}"


FOLDER = _folder()


def compiled(function: Kernel) -> Kernel:
    """The function as machine code, compiled at its first call for the types it is called with."""
    given = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = FOLDER
    try:
        return cast(Kernel, numba.njit(cache=True, nogil=True, fastmath={"contract", "nsz"}, error_model="numpy")(function))
    finally:
        numba.config.CACHE_DIR = given
