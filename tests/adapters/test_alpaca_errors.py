"""Every answer Alpaca can give has one outcome of ours (wire-protocols 2.3): a write that may have been carried out is never called refused."""

from __future__ import annotations

import json

import pytest

from tradingsystem.adapters.alpaca.budget import RESERVE, Budget
from tradingsystem.adapters.alpaca.errors import of_answer
from tradingsystem.domain.errors import NotAuthorized, OutcomeUnknown, RequestRefused, TradingSystemError, TryAgain

HTML = b"<html><head><title>403 Forbidden</title></head><body>nginx</body></html>"


def body(code: int, message: str, **fields: object) -> bytes:
    return json.dumps({"code": code, "message": message} | fields).encode()


REFUSALS = [
    (400, body(40010000, "failed to decode request body"), "malformed-request"),
    (403, body(40310000, "insufficient buying power", buying_power="10", cost_basis="100"), "insufficient-funds"),
    (
        403,
        body(40310000, "insufficient qty available for order (requested: 5, available: 0)", held_for_orders="5", available="0"),
        "shares-held",
    ),
    (
        403,
        body(40310000, "potential wash trade detected. use complex orders", existing_order_id="x", reject_reason="opposite side"),
        "wash-trade",
    ),
    (403, body(40310000, "account is restricted"), "forbidden"),
    (404, body(40410000, "order not found"), "not-found"),
    (405, body(40510000, "method not allowed"), "http-405"),
    (422, body(40010001, "client_order_id must be unique"), "duplicate-id"),
    (422, body(42210000, 'order is already in "filled" state'), "already-ended"),
    (422, body(42210000, "cannot replace order in accepted status"), "not-replaceable"),
    (422, body(42210000, "invalid limit_price 10.001. sub-penny increment does not fulfill minimum pricing criteria"), "tick-size"),
    (422, body(40010001, "bracket orders require take_profit.limit_price"), "unprocessable"),
    (422, b'{"message": "no code at all"}', "unprocessable"),
]


@pytest.mark.parametrize(("status", "answer", "code"), REFUSALS, ids=[code for _, _, code in REFUSALS])
@pytest.mark.parametrize("write", [True, False])
def test_refusals(status: int, answer: bytes, code: str, write: bool) -> None:
    """A readable 4xx is a refusal with our own code, whether it was a write or a read."""
    error = of_answer(status, answer, {}, 0.0, write=write)
    assert isinstance(error, RequestRefused)
    assert (error.code, error.status) == (code, status)


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        *((500, body(50010000, "internal server error occurred")), (502, HTML), (503, b""), (504, b"")),
        *((408, b""), (409, b"{}"), (403, HTML), (422, b"not json"), (302, b"")),
    ],
)
def test_what_says_nothing_is_unknown_for_writes(status: int, answer: bytes) -> None:
    """5xx, time-outs, HTML, malformed JSON and redirects: the order may have been taken (invariant 3); a read is simply asked again."""
    assert isinstance(of_answer(status, answer, {}, 0.0, write=True), OutcomeUnknown)
    assert isinstance(of_answer(status, answer, {}, 0.0, write=False), TryAgain)


def test_a_wrong_key_is_named_and_not_shown() -> None:
    """401 stops us; the error names the credential and holds no part of the answer."""
    error = of_answer(401, body(40110000, "request is not authorized SECRET"), {}, 0.0, write=True)
    assert isinstance(error, NotAuthorized)
    assert "SECRET" not in str(error)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 1.0),
        ({"Retry-After": "3"}, 3.0),
        ({"X-RateLimit-Reset": "1012"}, 12.0),
        ({"Retry-After": "soon"}, 1.0),
        ({"X-RateLimit-Reset": "99999"}, 1.0),
    ],
)
def test_rate_limit_waits_as_told(headers: dict[str, str], seconds: float) -> None:
    """429 surely was not carried out; we wait as long as the headers say, a second when they say nothing usable."""
    error = of_answer(429, b"", headers, 1_000.0, write=True)
    assert isinstance(error, TryAgain)
    assert error.after_seconds == seconds


def test_no_text_of_an_error_is_endless() -> None:
    """A broker's message is cut: logs must not be filled from outside."""
    error: TradingSystemError = of_answer(422, body(1, "x" * 100_000), {}, 0.0, write=True)
    assert len(str(error)) < 300


def test_the_budget_keeps_a_reserve_for_exits() -> None:
    """Entries stop while requests for exits and questions are left; a new window, or no word of the broker, lets them go on."""
    budget = Budget()
    assert budget.allows(0.0, entry=True)
    budget.told({"X-RateLimit-Remaining": str(RESERVE + 1), "X-RateLimit-Reset": "60"})
    assert budget.allows(1.0, entry=True)
    budget.sent()
    assert not budget.allows(1.0, entry=True)
    assert budget.allows(1.0, entry=False)
    budget.told({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "60"})
    assert not budget.allows(1.0, entry=False)
    assert budget.allows(60.0, entry=True)
    budget.told({"X-RateLimit-Remaining": "many"})
    budget.told({"X-RateLimit-Remaining": "200", "X-RateLimit-Reset": "120"})
    assert budget.allows(61.0, entry=True)
