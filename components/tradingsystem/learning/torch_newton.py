"""The linear members' fit on PyTorch: on a GPU when one is there, on the processor when not. An extra, loaded when somebody asks for it.

The same steps as ``fit.by_numpy`` in float64, so both end at the same parameters within ``TOLERANCE``: a step that another order of summing changes in its
last digits changes where Newton's method ends by no more, since the problem is convex. Everything around it - bounds, the tree's split, weights and
calibration - is numpy's in either case, and equal to the bit.
"""

from __future__ import annotations

import importlib
from typing import Any

from tradingsystem.domain.errors import InvalidInput
from tradingsystem.domain.rows import F64
from tradingsystem.learning.fit import ITERATIONS_MAX, STEP_MIN, Arithmetic, penalties

TOLERANCE = 1e-7
"""Largest difference of a parameter from numpy's. The members' weights are stored as float32, which keeps fewer digits."""


def arithmetic() -> Arithmetic:
    """PyTorch's arithmetic on the best device here, which its name says. Raises ``InvalidInput`` where PyTorch cannot be loaded."""
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError) as error:  # its CUDA libraries may be what is missing
        raise InvalidInput(f"PyTorch cannot be loaded ({error}): install tradingsystem[learn], locked in requirements/learn.txt") from error
    gpu = torch.cuda.is_available()
    place = torch.cuda.get_device_name(0) if gpu else "the processor"
    device = torch.device("cuda" if gpu else "cpu")
    return Arithmetic(f"PyTorch {torch.__version__} on {place}", lambda design, labels: _logistic(torch, device, design, labels))


def _logistic(torch: Any, device: Any, design: F64, labels: F64) -> F64:
    inputs = torch.from_numpy(design).to(device)
    reached = torch.from_numpy(labels).to(device)
    penalty = torch.from_numpy(penalties(design.shape[1])).to(device)
    ridge = torch.diag(penalty + 1e-9)
    parameters = torch.zeros_like(penalty)
    for _ in range(ITERATIONS_MAX):
        probability = torch.sigmoid(inputs @ parameters)
        gradient = inputs.T @ (reached - probability) - penalty * parameters
        curvature = (inputs * (probability * (1.0 - probability))[:, None]).T @ inputs + ridge
        step = torch.linalg.solve(curvature, gradient)
        parameters = parameters + step
        if float(step.abs().max()) < STEP_MIN:
            break
    found: F64 = parameters.cpu().numpy()
    return found
