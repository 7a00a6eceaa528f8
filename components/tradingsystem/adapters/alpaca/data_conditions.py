"""Which prints may move what, from Alpaca's condition letters. The tapes spell differently: average price is B on tapes A and B, W on tape C.

A letter that is not in its tape's table counts volume and moves no price.
"""

from __future__ import annotations

from collections.abc import Sequence

from tradingsystem.domain.rows import RowFlag

LAST, HIGH_LOW, VOLUME = int(RowFlag.UPDATES_LAST), int(RowFlag.UPDATES_HIGH_LOW), int(RowFlag.UPDATES_VOLUME)
EVERYTHING = LAST | HIGH_LOW | VOLUME

_BOTH: dict[str, int] = {
    **dict.fromkeys("@ EFKLOX56", EVERYTHING),  # regular, automatic, sweep, rule 127/155, sold last, opening, cross, reopening, closing
    **dict.fromkeys("4PZ", HIGH_LOW | VOLUME),  # derivatively priced, prior reference, sold out of sequence
    **dict.fromkeys("CHINRTUV7", VOLUME),  # cash, price variation, odd lot, next day, seller, extended hours, contingent
    **dict.fromkeys("MQ", 0),  # official close and open: the auction is counted already
    "9": LAST | HIGH_LOW,  # corrected consolidated close
}
CTA: dict[str, int] = {**_BOTH, "B": VOLUME, "8": EVERYTHING}
UTP: dict[str, int] = {**_BOTH, "W": VOLUME, "G": HIGH_LOW | VOLUME, **dict.fromkeys("ABDSY123", EVERYTHING)}


def flags_of(letters: Sequence[str], tape: str) -> int:
    """The flags of a print with these conditions on that tape (A, B or C); none means a regular print."""
    table = UTP if tape == "C" else CTA
    flags = EVERYTHING
    for letter in letters:
        flags &= table.get(letter, VOLUME)
    return flags
