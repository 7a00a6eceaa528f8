"""The machine with an A100 that the stand-ins of TensorRT and CuPy speak of in one process."""

from tests.adapters.gpu_stand_in import Machine

MACHINE = Machine()
