"""An array library like CuPy's as far as refusals go: its arrays lie elsewhere, and it takes nothing of this memory but numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

nan = np.nan
float64 = np.float64


class Elsewhere(np.ndarray):
    """An array that meets only its like and numbers."""

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **more: Any) -> Any:
        return _there(getattr(ufunc, method)(*(_here(each) for each in inputs), **more))

    def __getitem__(self, key: Any) -> Any:
        return _there(_here(self)[_here(key)])


def _here(value: Any) -> Any:
    if isinstance(value, Elsewhere):
        return value.view(np.ndarray)
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError("an array of this memory where one of the device is asked for")
    return value


def _there(value: Any) -> Any:
    return np.asarray(value).view(Elsewhere)


def asarray(value: Any, dtype: Any = None) -> Any:
    """The one way in."""
    return _there(np.array(value, dtype))


def asnumpy(value: Any) -> Any:
    """The one way out."""
    return np.array(_here(value))


def full(shape: Any, value: float) -> Any:
    return _there(np.full(shape, value))


def sqrt(value: Any) -> Any:
    return np.sqrt(_only(value))


def isfinite(value: Any) -> Any:
    return np.isfinite(_only(value))


def where(condition: Any, one: Any, other: Any) -> Any:
    return _there(np.where(*(_here(each) for each in (_only(condition), one, other))))


def stack(arrays: list[Any], axis: int) -> Any:
    return _there(np.stack([_here(_only(each)) for each in arrays], axis=axis))


def broadcast_to(array: Any, shape: Any) -> Any:
    return _there(np.broadcast_to(_here(_only(array)), shape))


def _only(value: Any) -> Any:
    if not isinstance(value, Elsewhere):
        raise TypeError(f"{type(value).__name__}: not an array of the device")
    return value
