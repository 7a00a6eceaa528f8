"""Which prints may move what: Polygon's condition ids as row flags, by the consolidated tapes' update rules.

Several conditions combine with AND: any "no" wins. Rules that hold only for a day's first print of a kind are not followed (they need the day's
history), which at most keeps an out-of-sequence opening print out of the last price. An id we do not know counts volume and moves no price.
"""

from __future__ import annotations

from collections.abc import Sequence

from tradingsystem.domain.rows import RowFlag

LAST, HIGH_LOW, VOLUME = int(RowFlag.UPDATES_LAST), int(RowFlag.UPDATES_HIGH_LOW), int(RowFlag.UPDATES_VOLUME)
EVERYTHING = LAST | HIGH_LOW | VOLUME

REGULAR = (0, 8, 9, 14, 17, 18, 19, 25, 28, 30, 34, 36, 41)
NOT_LAST = (5, 10, 22, 32, 33)  # bunched sold, derivatively priced, prior reference, sold out of sequence
VOLUME_ONLY = (2, 7, 12, 13, 20, 21, 29, 37, 52, 53)  # average price, cash, Form T, next day, price variation, seller, odd lot, contingent
CORRECTED_CLOSE = (38,)
OFFICIAL_PRINTS = (15, 16)  # official close and open: counting them would count the auction twice

FLAGS_BY_CONDITION: dict[int, int] = {
    **dict.fromkeys(REGULAR, EVERYTHING),
    **dict.fromkeys(NOT_LAST, HIGH_LOW | VOLUME),
    **dict.fromkeys(VOLUME_ONLY, VOLUME),
    **dict.fromkeys(CORRECTED_CLOSE, LAST | HIGH_LOW),
    **dict.fromkeys(OFFICIAL_PRINTS, 0),
}


def flags_of(conditions: Sequence[int]) -> int:
    """The flags of a print with these conditions; none means a regular print."""
    flags = EVERYTHING
    for condition in conditions:
        flags &= FLAGS_BY_CONDITION.get(condition, VOLUME)
    return flags
