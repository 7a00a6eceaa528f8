"""An own source: trades from a CSV file (symbol,price,size), replayed one line each tenth of a market second.

Announce it in your package as  [project.entry-points."tradingsystem.sources"] csv = "own_source:build"  and name it in the resource as
`{name: mine, type: Custom, plugin: csv, channels: [Trades]}`. The file is `mine.csv`, after the source's name, in the working directory.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from tradingsystem.domain.rows import RowFlag, RowKind, empty
from tradingsystem.interfaces import Clock, SourceEvent, SourceSink
from tradingsystem.spec.sources import Source as SourceSpec


class CsvSource:
    def __init__(self, name: str, path: Path, clock: Clock) -> None:
        self.name, self._path, self._clock = name, path, clock

    def want(self, detailed: frozenset[str]) -> None:
        """Everything in the file is delivered."""

    async def run(self, symbols: Sequence[str], sink: SourceSink) -> None:
        index = {symbol: position for position, symbol in enumerate(symbols)}
        sink.health(self.name, SourceEvent(healthy=True, reason="file is open"))
        for line in csv.DictReader(self._path.read_text(encoding="utf-8").splitlines()):
            await self._clock.sleep_until(self._clock.now() + 100_000_000)
            if line["symbol"] in index:
                row, now_ns = empty(1), self._clock.now()
                row.kind[0], row.symbol[0], row.at_ns[0] = RowKind.TRADE, index[line["symbol"]], now_ns
                row.flags[0] = RowFlag.UPDATES_LAST | RowFlag.UPDATES_HIGH_LOW | RowFlag.UPDATES_VOLUME
                row.v0[0], row.v1[0] = float(line["price"]), float(line["size"])
                sink.rows(self.name, row, now_ns)


def build(spec: SourceSpec, clock: Clock, _key: str) -> CsvSource:
    """``_key`` is the secret's apiKey, empty here: a file needs none."""
    return CsvSource(spec.name, Path(f"{spec.name}.csv"), clock)
