"""Polygon's integer codes for exchanges and trade conditions, with what each print may update (consolidated rules).

One table for the bars of a recorded day, the REST reference endpoints and the day's totals. It refuses to guess: an
unknown condition updates nothing but is still shown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tradingsystem.simulator.feed import I32

UPDATES_HIGH_LOW, UPDATES_OPEN_CLOSE, UPDATES_VOLUME = 1, 2, 4
ALL = UPDATES_HIGH_LOW | UPDATES_OPEN_CLOSE | UPDATES_VOLUME
FORM_T, ODD_LOT, OFFICIAL_CLOSE, OFFICIAL_OPEN = 12, 37, 15, 16


@dataclass(frozen=True, slots=True)
class Condition:
    """One trade condition: vendor id, name, tape letters, what it updates."""

    id: int
    name: str
    cta: str
    utp: str
    updates: int


CONDITIONS: tuple[Condition, ...] = (
    Condition(0, "Regular Sale", "", "@", ALL),
    Condition(2, "Average Price Trade", "B", "W", UPDATES_VOLUME),
    Condition(5, "Bunched Sold Trade", "", "G", UPDATES_HIGH_LOW | UPDATES_VOLUME),
    Condition(7, "Cash Sale", "C", "C", UPDATES_VOLUME),
    Condition(8, "Closing Prints", "6", "6", ALL),
    Condition(9, "Cross Trade", "X", "X", ALL),
    Condition(10, "Derivatively Priced", "4", "4", UPDATES_HIGH_LOW | UPDATES_VOLUME),
    # By the consolidated rule Form T updates no price; extended-hours bars exist all the same, so it makes those.
    Condition(FORM_T, "Form T/Extended Hours", "T", "T", ALL),
    Condition(13, "Extended Hours (Sold Out Of Sequence)", "U", "U", UPDATES_VOLUME),
    Condition(14, "Intermarket Sweep", "F", "F", ALL),
    Condition(15, "Market Center Official Close", "M", "M", 0),
    Condition(16, "Market Center Official Open", "Q", "Q", 0),
    Condition(17, "Market Center Opening Trade", "", "", ALL),
    Condition(20, "Next Day", "N", "N", UPDATES_VOLUME),
    Condition(21, "Price Variation Trade", "H", "H", UPDATES_VOLUME),
    Condition(22, "Prior Reference Price", "P", "P", UPDATES_HIGH_LOW | UPDATES_VOLUME),
    Condition(25, "Opening Prints", "O", "O", ALL),
    Condition(28, "Re-Opening Prints", "5", "5", ALL),
    Condition(29, "Seller", "R", "R", UPDATES_VOLUME),
    Condition(33, "Sold (Out Of Sequence)", "Z", "Z", UPDATES_HIGH_LOW | UPDATES_VOLUME),
    Condition(37, "Odd Lot Trade", "I", "I", UPDATES_VOLUME),
    Condition(53, "Qualified Contingent Trade", "V", "V", UPDATES_VOLUME),
)

_UPDATES = np.zeros(256, dtype=np.uint8)
for _condition in CONDITIONS:
    _UPDATES[_condition.id] = _condition.updates


@dataclass(frozen=True, slots=True)
class ExchangeCode:
    """One market centre: vendor id, name, MIC, tape letter."""

    id: int
    name: str
    mic: str
    letter: str


EXCHANGE_CODES: tuple[ExchangeCode, ...] = (
    ExchangeCode(1, "NYSE American", "XASE", "A"),
    ExchangeCode(2, "Nasdaq BX", "XBOS", "B"),
    ExchangeCode(3, "NYSE National", "XCIS", "C"),
    ExchangeCode(4, "FINRA trade reporting facilities", "FINR", "D"),
    ExchangeCode(6, "Nasdaq ISE", "XISE", "I"),
    ExchangeCode(7, "Cboe EDGA", "EDGA", "J"),
    ExchangeCode(8, "Cboe EDGX", "EDGX", "K"),
    ExchangeCode(9, "NYSE Chicago", "XCHI", "M"),
    ExchangeCode(10, "New York Stock Exchange", "XNYS", "N"),
    ExchangeCode(11, "NYSE Arca", "ARCX", "P"),
    ExchangeCode(12, "Nasdaq", "XNAS", "Q"),
    ExchangeCode(15, "Investors Exchange", "IEXG", "V"),
    ExchangeCode(16, "Cboe Stock Exchange", "CBSX", "W"),
    ExchangeCode(17, "Nasdaq PSX", "XPHL", "X"),
    ExchangeCode(18, "Cboe BYX", "BATY", "Y"),
    ExchangeCode(19, "Cboe BZX", "BATS", "Z"),
    ExchangeCode(20, "MIAX Pearl", "EPRL", "H"),
    ExchangeCode(21, "Members Exchange", "MEMX", "U"),
)

EXCHANGE_BY_LETTER: dict[str, int] = {code.letter: code.id for code in EXCHANGE_CODES}


def updates(condition: I32) -> np.ndarray:
    """Bit set (UPDATES_*) per print; unknown ids update nothing."""
    known = (condition >= 0) & (condition < 256)
    return np.where(known, _UPDATES[np.where(known, condition, 0)], 0).astype(np.uint8)
