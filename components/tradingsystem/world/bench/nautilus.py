"""NautilusTrader's backtest engine over a file of ticks, by the Python that has it: ``python nautilus.py FILE.parquet`` prints one line of JSON.

It runs outside this project's environment, so it imports nothing of ours. The strategy is empty: it subscribes to all ticks and does nothing with them.
Only the ticks are timed: neither the reading of the file nor the strategy's subscriptions, which take seconds for thousands of symbols.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

QUOTE, TRADE = 2, 1  # as tradingsystem.domain.rows.RowKind
NAMES = ("kind", "symbol", "at_ns", "v0", "v1", "v2", "v3")


def main(path: str) -> dict[str, Any]:
    """Ticks a second of the engine's run, and its version."""
    import nautilus_trader  # type: ignore[import-not-found]
    from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig  # type: ignore[import-not-found]
    from nautilus_trader.config import LoggingConfig  # type: ignore[import-not-found]
    from nautilus_trader.model.currencies import USD  # type: ignore[import-not-found]
    from nautilus_trader.model.enums import AccountType, OmsType  # type: ignore[import-not-found]
    from nautilus_trader.model.identifiers import Venue  # type: ignore[import-not-found]
    from nautilus_trader.model.objects import Money  # type: ignore[import-not-found]

    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    venue = Venue("XNAS")
    engine.add_venue(venue, OmsType.NETTING, AccountType.MARGIN, [Money(1_000_000, USD)])
    count, instruments = _load(engine, path)
    subscribed: list[float] = []
    engine.add_strategy(_empty_strategy(instruments, lambda: subscribed.append(time.perf_counter())))
    begun = time.perf_counter()
    engine.run()
    ended = time.perf_counter()
    engine.dispose()
    return {
        "ticks": count,
        "seconds": ended - subscribed[0],
        "subscribing_seconds": subscribed[0] - begun,
        "version": nautilus_trader.__version__,
    }


def _empty_strategy(instruments: list[Any], subscribed: Callable[[], None]) -> Any:
    from nautilus_trader.trading.strategy import Strategy  # type: ignore[import-not-found]

    class Empty(Strategy):  # type: ignore[misc]
        """Hears every tick."""

        def on_start(self) -> None:
            for instrument in instruments:
                self.subscribe_quote_ticks(instrument.id)
                self.subscribe_trade_ticks(instrument.id)
            subscribed()

    return Empty()


def _load(engine: Any, path: str) -> tuple[int, list[Any]]:
    """Put all quotes and trades of the file into the engine, as its own wranglers make them."""
    import pandas
    from nautilus_trader.persistence.wranglers import QuoteTickDataWrangler, TradeTickDataWrangler  # type: ignore[import-not-found]
    from nautilus_trader.test_kit.providers import TestInstrumentProvider  # type: ignore[import-not-found]

    table = pandas.read_parquet(path, columns=list(NAMES))
    table.index = pandas.to_datetime(table["at_ns"], utc=True)
    instruments: list[Any] = []
    all_quotes: list[Any] = []
    all_trades: list[Any] = []
    for symbol, rows in table.groupby("symbol"):
        instrument = TestInstrumentProvider.equity(symbol=f"S{symbol}", venue="XNAS")
        instruments.append(instrument)
        engine.add_instrument(instrument)
        quotes, trades = rows[rows["kind"] == QUOTE], rows[rows["kind"] == TRADE]
        if len(quotes):
            named = quotes.rename(columns={"v0": "bid_price", "v1": "ask_price", "v2": "bid_size", "v3": "ask_size"})
            all_quotes += QuoteTickDataWrangler(instrument).process(named[["bid_price", "ask_price", "bid_size", "ask_size"]])
        if len(trades):
            named = trades.rename(columns={"v0": "price", "v1": "quantity"})[["price", "quantity"]]
            named = named[named["quantity"] >= 1].assign(trade_id=[str(number) for number in range(int((trades["v1"] >= 1).sum()))])
            all_trades += TradeTickDataWrangler(instrument).process(named)
    for ticks in (all_quotes, all_trades):
        engine.add_data(ticks)  # one list of each type, merged by time there
    return len(all_quotes) + len(all_trades), instruments


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1])) + "\n")
