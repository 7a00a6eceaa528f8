"""Every answer Alpaca can give, by what we must do about it.

Exists so that no status, body or silence is without a place: a write that may have been carried out is ``OutcomeUnknown`` and nothing else. It refuses
to branch on Alpaca's code alone, since one code stands for funds, shares and wash trades.
"""

from __future__ import annotations

from collections.abc import Mapping

from tradingsystem.adapters.alpaca.models import WireError
from tradingsystem.adapters.alpaca.parse import Unreadable, read
from tradingsystem.domain.errors import NotAuthorized, OutcomeUnknown, RequestRefused, TradingSystemError, TryAgain

CREDENTIAL = "alpaca key"
DUPLICATE_ID = "duplicate-id"
NOT_FOUND = "not-found"
RATE_WAIT_SECONDS = 1.0
RATE_WAIT_SECONDS_MAX = 60.0
_MAYBE_DONE = frozenset({408, 409, 425, 499})


def of_answer(status: int, body: bytes, headers: Mapping[str, str], now_seconds: float, *, write: bool) -> TradingSystemError:
    """The error of an answer that is not 2xx."""
    if status == 429:
        return TryAgain("Alpaca's rate limit", _wait(headers, now_seconds))
    if status == 401:
        return NotAuthorized(CREDENTIAL, "Alpaca does not accept it; paper and live keys are different")
    if status >= 500 or status in _MAYBE_DONE or status < 400:
        return unreadable(f"HTTP {status}", write=write)
    try:
        error = read(body, WireError)
    except Unreadable:
        return unreadable(f"HTTP {status} with a body that is not Alpaca's", write=write)
    return RequestRefused(_code(status, error), error.message[:200], status)


def unreadable(what: str, *, write: bool) -> TradingSystemError:
    """An answer that says nothing: a write may have been carried out, a read is asked again."""
    return OutcomeUnknown(f"{what}: the order may have been taken") if write else TryAgain(what)


def _code(status: int, error: WireError) -> str:
    message = error.message.lower()
    if status == 404:
        return NOT_FOUND
    if status == 403:
        if error.buying_power is not None or "buying power" in message:
            return "insufficient-funds"
        if error.held_for_orders is not None or "insufficient qty" in message:
            return "shares-held"
        return "wash-trade" if error.existing_order_id is not None or "wash trade" in message else "forbidden"
    if status == 422:
        if "client_order_id must be unique" in message:
            return DUPLICATE_ID
        if "order is already in" in message:
            return "already-ended"
        if "cannot replace" in message or "cannot be replaced" in message:
            return "not-replaceable"
        return "tick-size" if "sub-penny" in message else "unprocessable"
    return "malformed-request" if status == 400 else f"http-{status}"


def _wait(headers: Mapping[str, str], now_seconds: float) -> float:
    for name, base in (("Retry-After", 0.0), ("X-RateLimit-Reset", now_seconds)):
        try:
            seconds = float(headers.get(name, "")) - base
        except ValueError:
            continue
        if 0.0 <= seconds <= RATE_WAIT_SECONDS_MAX:
            return seconds
    return RATE_WAIT_SECONDS
