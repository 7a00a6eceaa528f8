"""Give numba a folder that it may write to, filled with what was compiled into the image.

Numba refuses to cache in a folder that is not writable, and the root of a pod is read-only. So the first process of a container copies the compiled
kernels into its temporary folder. A .pth file beside it has Python run it at its start, before numba can be imported.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

shipped = os.environ.get("NUMBA_CACHE_DIR", "")
if shipped and not os.access(shipped, os.W_OK):
    own = Path(tempfile.gettempdir()) / "kernels"
    os.environ["NUMBA_CACHE_DIR"] = str(own)
    if Path(shipped).is_dir() and not own.exists():
        fresh = Path(tempfile.mkdtemp(dir=own.parent)) / "kernels"
        shutil.copytree(shipped, fresh)
        if not own.exists():
            fresh.rename(own)
