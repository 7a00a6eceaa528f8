"""What a data vendor remembers of the running day: last trade and quote, day totals, bars so far.

Every REST server reads from here, so what it answers is what the sockets have sent and nothing later. It refuses to
look ahead: it knows slices it was given and no feed.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from tradingsystem.simulator.conditions import OFFICIAL_OPEN, UPDATES_HIGH_LOW, UPDATES_OPEN_CLOSE, UPDATES_VOLUME, updates
from tradingsystem.simulator.feed import F64, I64, SECOND_NS, VIX_SYMBOL, Kind, MinuteBars, Slice

SECOND_BARS_KEPT_NS = 3_600 * SECOND_NS


@dataclass(frozen=True, slots=True)
class Totals:
    """Per row of a slice: shares and dollars of its symbol up to and including that row."""

    volume: F64
    turnover: F64
    priced_volume: F64  # shares of the prints that `turnover` is of; turnover / priced_volume is the day's VWAP


class MarketMemory:
    """State per symbol after the last slice; arrays in the order of the feed's symbols."""

    def __init__(self, count: int) -> None:
        self.now_ns = 0
        self.trade_price, self.trade_size = np.zeros(count), np.zeros(count)
        self.trade_ns, self.trade_id = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
        self.trade_exchange, self.trade_condition = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
        self.bid, self.ask = np.zeros(count), np.zeros(count)
        self.bid_size, self.ask_size = np.zeros(count), np.zeros(count)
        self.quote_ns = np.zeros(count, dtype=np.int64)
        self.open, self.high, self.low, self.close = (np.zeros(count) for _ in range(4))
        self.official_open = np.zeros(count)
        self.volume, self.turnover, self.priced_volume = (np.zeros(count) for _ in range(3))
        self.trades = np.zeros(count, dtype=np.int64)
        self.upper_band, self.lower_band = np.zeros(count), np.zeros(count)
        self.halted = np.zeros(count, dtype=np.bool_)
        self.vix, self.vix_ns = float("nan"), 0
        self.vix_values: list[tuple[int, float]] = []
        self.rows_seen = 0
        self._minutes: list[Slice] = []
        self._seconds: deque[Slice] = deque()

    def publish(self, slice_: Slice) -> Totals:
        """Take a slice in; returns day totals per row for those who send bars. Call once per slice, in order."""
        totals = self._totals(slice_)
        self.now_ns = slice_.to_ns
        if len(slice_):
            self._last(slice_)
            self._day(slice_, totals)
            self._bars(slice_)
        self.rows_seen += len(slice_)
        return totals

    def _totals(self, slice_: Slice) -> Totals:
        rights = updates(slice_.condition)
        trade = slice_.kind == Kind.TRADE
        shares = np.where(trade & (rights & UPDATES_VOLUME > 0), slice_.size, 0.0)
        priced = trade & (rights & UPDATES_HIGH_LOW > 0)
        return Totals(
            self._running(slice_, shares, self.volume),
            self._running(slice_, np.where(priced, slice_.size * slice_.price, 0.0), self.turnover),
            self._running(slice_, np.where(priced, slice_.size, 0.0), self.priced_volume),
        )

    @staticmethod
    def _running(slice_: Slice, amount: F64, before: F64) -> F64:
        """Running sum per symbol: one cumulative sum over rows ordered by symbol, less the sum at each symbol's start."""
        if not len(slice_):
            return np.zeros(0)
        order = np.argsort(slice_.symbol, kind="stable")
        symbol, summed = slice_.symbol[order], np.cumsum(amount[order])
        first = np.concatenate([[True], symbol[1:] != symbol[:-1]])
        base = (summed - amount[order])[first][np.cumsum(first) - 1]
        result = np.empty(len(slice_))
        result[order] = summed - base + np.where(symbol >= 0, before[symbol], 0.0)
        return result

    def _last(self, slice_: Slice) -> None:
        rows = np.flatnonzero(slice_.kind == Kind.TRADE)
        symbol = slice_.symbol[rows]  # of repeated indices the last assignment stays: rows are in time order
        self.trade_price[symbol], self.trade_size[symbol] = slice_.price[rows], slice_.size[rows]
        self.trade_ns[symbol], self.trade_id[symbol] = slice_.at_ns[rows], self.rows_seen + rows
        self.trade_exchange[symbol], self.trade_condition[symbol] = slice_.exchange[rows], slice_.condition[rows]
        rows = np.flatnonzero(slice_.kind == Kind.QUOTE)
        symbol = slice_.symbol[rows]
        self.bid[symbol], self.bid_size[symbol] = slice_.price[rows], slice_.size[rows]
        self.ask[symbol], self.ask_size[symbol] = slice_.price2[rows], slice_.size2[rows]
        self.quote_ns[symbol] = slice_.at_ns[rows]
        for row in np.flatnonzero((slice_.kind >= Kind.LULD) & (slice_.kind != Kind.FLOW)).tolist():
            self._rare(slice_, row)

    def _rare(self, slice_: Slice, row: int) -> None:
        kind, symbol = int(slice_.kind[row]), int(slice_.symbol[row])
        if kind == Kind.LULD:
            self.lower_band[symbol], self.upper_band[symbol] = slice_.price[row], slice_.price2[row]
        elif kind in (Kind.HALT, Kind.RESUME):
            self.halted[symbol] = kind == Kind.HALT
        elif kind == Kind.INDEX and symbol == VIX_SYMBOL:
            self.vix, self.vix_ns = float(slice_.price[row]), int(slice_.at_ns[row])
            self.vix_values.append((self.vix_ns, self.vix))

    def _day(self, slice_: Slice, totals: Totals) -> None:
        trade = slice_.kind == Kind.TRADE
        rights = updates(slice_.condition)
        counted = np.flatnonzero(trade & (rights & UPDATES_VOLUME > 0))
        np.add.at(self.trades, slice_.symbol[counted], 1)
        rows = np.flatnonzero(trade)
        self.volume[slice_.symbol[rows]] = totals.volume[rows]
        self.turnover[slice_.symbol[rows]] = totals.turnover[rows]
        self.priced_volume[slice_.symbol[rows]] = totals.priced_volume[rows]
        ranged = np.flatnonzero(trade & (rights & UPDATES_HIGH_LOW > 0))
        symbol, price = slice_.symbol[ranged], slice_.price[ranged]
        np.maximum.at(self.high, symbol, price)
        fresh = self.low[symbol] == 0.0
        self.low[symbol[fresh]] = np.inf
        np.minimum.at(self.low, symbol, price)
        opened = np.flatnonzero(trade & (slice_.condition == OFFICIAL_OPEN))
        self.official_open[slice_.symbol[opened]] = slice_.price[opened]
        lasting = np.flatnonzero(trade & (rights & UPDATES_OPEN_CLOSE > 0))
        symbol, price = slice_.symbol[lasting], slice_.price[lasting]
        first_symbol, first_row = np.unique(symbol, return_index=True)
        new = self.open[first_symbol] == 0.0
        self.open[first_symbol[new]] = price[first_row[new]]
        self.close[symbol] = price

    def _bars(self, slice_: Slice) -> None:
        minutes = np.flatnonzero(slice_.kind == Kind.MINUTE_BAR)
        if len(minutes):
            self._minutes.append(slice_.select(minutes))
        seconds = np.flatnonzero(slice_.kind == Kind.SECOND_BAR)
        if len(seconds):
            self._seconds.append(slice_.select(seconds))
        while self._seconds and self._seconds[0].to_ns < self.now_ns - SECOND_BARS_KEPT_NS:
            self._seconds.popleft()

    @property
    def vwap(self) -> F64:
        """The day's volume-weighted price per symbol, 0 before its first print."""
        return np.divide(self.turnover, self.priced_volume, out=np.zeros_like(self.turnover), where=self.priced_volume > 0)

    def minutes(self, symbol: int) -> MinuteBars:
        """Minute bars of a symbol so far today."""
        return _select_bars(list(self._minutes), symbol, 60 * SECOND_NS)

    def seconds(self, symbol: int) -> MinuteBars:
        """Second bars of a symbol in the last market hour, in the same form as minutes."""
        return _select_bars(list(self._seconds), symbol, SECOND_NS)


def _select_bars(parts: list[Slice], symbol: int, window_ns: int) -> MinuteBars:
    rows = [part.select(np.flatnonzero(part.symbol == symbol)) for part in parts]
    rows = [part for part in rows if len(part)]

    def column(name: str) -> F64:
        return np.concatenate([getattr(part, name) for part in rows]).astype(np.float64) if rows else np.zeros(0)

    start: I64 = np.concatenate([part.at_ns for part in rows]) - window_ns if rows else np.zeros(0, dtype=np.int64)
    return MinuteBars(
        start_ns=start,
        open=column("price"),
        high=column("price2"),
        low=column("price3"),
        close=column("price4"),
        volume=column("size"),
        vwap=column("size2"),
        trades=column("condition").astype(np.int64),
    )
