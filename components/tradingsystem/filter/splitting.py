"""For which symbols a canary decides: a fixed part of them, by a hash of version and symbol, so that every process and every replay splits alike."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from tradingsystem.domain.rows import I32

_SHARES = 10_000
_UNKNOWN = -1


def share_of(symbol: str, version: int) -> int:
    """The symbol's place among 10,000 for that version: BLAKE2b of ``version/symbol``, its first eight bytes as a big-endian number, modulo 10,000.

    A canary of ``percent`` decides for the places below 100 x percent: raising the percentage only adds symbols, and another version meets others.
    """
    digest = hashlib.blake2b(f"{version}/{symbol}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % _SHARES


class Split:
    """The part of the symbols that one version decides for. Places are worked out when a symbol is first asked about, and kept per table."""

    def __init__(self, version: int, percent: int) -> None:
        self.version = version
        self.percent = percent
        self._symbols: tuple[str, ...] = ()
        self._shares: npt.NDArray[np.int16] = np.empty(0, np.int16)

    def mine(self, symbols: tuple[str, ...], rows: I32) -> npt.NDArray[np.bool_]:
        """Whether it decides for the symbols at ``rows`` of the table ``symbols``."""
        if symbols is not self._symbols:
            self._symbols, self._shares = symbols, np.full(len(symbols), _UNKNOWN, np.int16)
        shares = self._shares[rows]
        for row in rows[shares == _UNKNOWN]:
            self._shares[row] = share_of(symbols[row], self.version)
        found: npt.NDArray[np.bool_] = self._shares[rows] < self.percent * (_SHARES // 100)
        return found
