"""Where each number of the market's state lies, and nothing else: kernels read these constants at compile time.

A float column that has not been seen yet is NaN. Volumes are shares, prices dollars, times ns since the Unix epoch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tradingsystem.domain.rows import F32, F64, I32, I64, U8

SECONDS = 1_000  # rows of the ring of one-second bars
MINUTES = 390  # rows of the session's minute bars; half-days use the first 210

# `now`: float32, one row per quantity, one column per symbol
LAST = 0
BID = 1
ASK = 2
BID_SIZE = 3
ASK_SIZE = 4
DAY_OPEN = 5
DAY_HIGH = 6
DAY_LOW = 7
LOWER_BAND = 8
UPPER_BAND = 9
PREVIOUS_CLOSE = 10
AVERAGE_VOLUME = 11
AVERAGE_RANGE = 12
ROLLED_LAST = 13  # last price when the running second began
VARIANCE_FAST = 14  # of one-second returns, half-life 60 s
VARIANCE_SLOW = 15  # of one-second returns, half-life 900 s
IMBALANCE_FAST = 16  # quoted sizes, half-life 10 s
IMBALANCE_SLOW = 17  # quoted sizes, half-life 180 s
SPREAD_SLOW = 18  # relative spread, half-life 300 s
BOUGHT_FAST = 19  # shares traded at the ask, decayed with half-life 10 s
SOLD_FAST = 20
BOUGHT_SLOW = 21  # half-life 120 s
SOLD_SLOW = 22
TRADES_FAST = 23  # trades, decayed with half-life 10 s
TRADES_SLOW = 24  # trades, decayed with half-life 300 s
CALL_FLOW = 25  # option premium bought less sold, half-life 600 s
PUT_FLOW = 26
GROSS_FLOW = 27
HIGH_15 = 28  # of the 15 minutes before the running one
LOW_15 = 29
HIGH_30 = 30
RANK_CHANGE = 31  # share of the universe below, at the last full sweep
RANK_VOLUME = 32
RANK_MOMENTUM = 33
NOW_COLUMNS = 34

# `totals`: float64 accumulators
DAY_VOLUME = 0
DAY_VALUE = 1
RING_VOLUME = 2  # shares since the state began; the ring keeps it modulo 2**32
TOTAL_COLUMNS = 3

# `times`: int64
LAST_AT = 0
QUOTE_AT = 1
OPEN_AT = 2
SECOND_BAR_UNTIL = 3  # newest second whose bar has been counted
MINUTE_BAR_UNTIL = 4  # newest second that a minute bar has covered
TIME_COLUMNS = 5

# `flags`: uint8
HALTED = 0
TOUCHED = 1
TRADABLE_TYPE = 2
FLAG_COLUMNS = 3

# `minute`: float32, by quantity, minute and symbol
MINUTE_HIGH = 0
MINUTE_LOW = 1
MINUTE_CLOSE = 2
MINUTE_VOLUME = 3
MINUTE_COLUMNS = 4

# `clock`: int64 scalars
NOW = 0
SECOND = 1  # the running second, counted from the Unix epoch; 0 before the first batch
STARTED_SECOND = 2
MINUTE = 3  # the running minute of the session, -1 before the open
OPEN = 4
CLOSE = 5
SESSION_MINUTES = 6
COUNT = 7  # symbols in the table
SPY = 8  # its position, -1 when absent
VIX_AT = 9
TOUCHED_COUNT = 10
CHANGED_SECOND = 11  # oldest second changed since the last snapshot
CHANGED_MINUTE = 12
ROWS_APPLIED = 13
ROWS_UNKNOWN = 14  # rows whose symbol is not in the table
CLOCK_COLUMNS = 15

# `levels`: float64 scalars
VIX = 0
LEVEL_COLUMNS = 1


class Columns(NamedTuple):
    """The state's arrays, in the form in which kernels take them. N is the number of symbols allocated for."""

    now: F32  # [NOW_COLUMNS, N]
    totals: F64  # [TOTAL_COLUMNS, N]
    times: I64  # [TIME_COLUMNS, N]
    flags: U8  # [FLAG_COLUMNS, N]
    touched: I32  # [N]: symbols touched since the last sweep, in order of their first touch
    second_close: F32  # [SECONDS, N]: last price at the end of each second
    second_volume: npt.NDArray[np.uint32]  # [SECONDS, N]: shares so far, modulo 2**32, so that differences are exact
    minute: F32  # [MINUTE_COLUMNS, MINUTES, N]
    profile: F64  # [MINUTES + 1]: share of a day's volume traded by the start of each minute
    clock: I64  # [CLOCK_COLUMNS]
    levels: F64  # [LEVEL_COLUMNS]
