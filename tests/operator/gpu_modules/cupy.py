"""What a job imports as CuPy where there is none."""

import sys

from shared_machine import MACHINE  # type: ignore[import-not-found]

from tests.adapters import gpu_stand_in

sys.modules[__name__] = gpu_stand_in.cupy(MACHINE)
