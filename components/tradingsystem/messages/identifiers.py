"""Client order ids: pure functions of the decision, so that the same decision can never stand under two ids, nor two decisions under one.

At most 48 characters of letters, digits, ``-`` and ``=``: the shortest limit a broker has documented, and one token of a journal subject.
"""

from __future__ import annotations

import hashlib
import re

from tradingsystem.messages.subjects import symbol_token

LENGTH_MAX = 48
_OURS = re.compile(r"t[0-9a-f]{6}-[A-Za-z0-9_=-]{1,15}-[ex][0-9]+-[0-9a-f]{16}")
_ENTRY = re.compile(r"t[0-9a-f]{6}-[A-Za-z0-9_=-]{1,15}-e[0-9]+-[0-9a-f]{16}")


def prefix(system: str) -> str:
    """What all ids of one system begin with; by it an order without a record is known as ours."""
    return f"t{_digest(3, system)}-"


def entry_id(system: str, signal_id: str, symbol: str, number: int) -> str:
    """Bracket ``number`` (from 1) of a signal."""
    return _made(system, symbol, f"e{number}", _digest(8, "entry", signal_id, str(number)))


def exit_id(system: str, symbol: str, epoch: str, reason: str, attempt: int) -> str:
    """An exit: ``epoch`` names the position (the entry that opened it), ``reason`` what is closed and why; the attempt rises only after the previous ended."""
    return _made(system, symbol, f"x{attempt}", _digest(8, "exit", symbol, epoch, reason, str(attempt)))


def is_ours(system: str, client_order_id: str) -> bool:
    """Whether this system chose the id."""
    return client_order_id.startswith(prefix(system))


def is_our_entry(system: str, client_order_id: str) -> bool:
    """Whether this system chose the id, and for an entry: what may be cancelled without leaving anything naked."""
    return is_ours(system, client_order_id) and _ENTRY.fullmatch(client_order_id) is not None


def is_another_systems(system: str, client_order_id: str) -> bool:
    """Whether an id was made as here, but by a system of another name."""
    return _OURS.fullmatch(client_order_id) is not None and not is_ours(system, client_order_id)


def _made(system: str, symbol: str, kind: str, digest: str) -> str:
    made = f"{prefix(system)}{symbol_token(symbol)[:15]}-{kind}-{digest}"
    assert len(made) <= LENGTH_MAX, made
    return made


def _digest(size: int, *parts: str) -> str:
    return hashlib.blake2s("\x1f".join(parts).encode(), digest_size=size).hexdigest()
