"""A recorded day by Polygon's REST, page by page, into the vendor's flat files, so that it plays like a bought one.

Every page is on disk before the next is asked for: whatever ends a fetch, the next one goes on where it stopped. A finished file is never touched. The
server's 429 is waited out, for as long as it takes up to a bound; keys travel in headers, cursors without one.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import msgspec

from tradingsystem.adapters.polygon.tick_pages import TickKind, first_page, flat_file, header, lines_of
from tradingsystem.adapters.rest import RestClient
from tradingsystem.domain.errors import InvalidInput, TryAgain
from tradingsystem.messages.codec import Malformed

AT_ONCE = 4
ROUNDS_MAX = 40  # of the client's own retries, for one page
ROUND_SECONDS = 15.0
PAGES_MAX = 5_000


@dataclass(frozen=True, slots=True)
class Fetched:
    """One flat file: its rows by ticker; ``kept``: it was there already."""

    path: Path
    rows: dict[str, int]
    kept: bool = False


class _Progress(msgspec.Struct):
    """How far a ticker has come: pages on disk, rows in them, the next page's address (empty: the first; None: done)."""

    pages: int = 0
    rows: int = 0
    following: str | None = ""


class Download:
    """One day of some tickers into ``folder``. ``told`` hears of every page."""

    def __init__(self, rest: RestClient, folder: Path, day: date, told: Callable[[str], None]) -> None:
        self._rest = rest
        self._folder = folder
        self._day = day
        self._told = told
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def fetch(self, kind: TickKind, tickers: Sequence[str]) -> Fetched:
        """Fetch what is missing, then make the file. Raises ``TryAgain`` when the server stays busy, ``NotAuthorized``, ``RequestRefused``."""
        path = self._folder / flat_file(kind, self._day)
        if path.exists():
            return Fetched(path, {}, kept=True)
        work = self._folder / ".fetch" / str(self._day) / kind.value
        work.mkdir(parents=True, exist_ok=True)
        self._same_tickers(work, tickers)
        fetching = [asyncio.ensure_future(self._ticker(kind, ticker, work)) for ticker in tickers]
        try:
            counts = await asyncio.gather(*fetching)
        finally:
            for task in fetching:
                task.cancel()
            await asyncio.gather(*fetching, return_exceptions=True)
        rows = dict(zip(tickers, counts, strict=True))
        if not any(rows.values()):
            shutil.rmtree(work)
            raise InvalidInput(f"polygon has no {kind.value} of {', '.join(tickers)} on {self._day}; is it a trading day within your plan?")
        await asyncio.to_thread(self._assemble, kind, tickers, work, path)
        return Fetched(path, rows)

    def _same_tickers(self, work: Path, tickers: Sequence[str]) -> None:
        """A fetch that was begun for other tickers is not mixed with this one."""
        note = work / "tickers"
        asked = ",".join(sorted(tickers))
        begun = note.read_text(encoding="utf-8") if note.exists() else asked
        if begun != asked:
            raise InvalidInput(f"{work}: a fetch of {begun} was begun there; finish it with the same symbols, or remove that folder")
        _write(note, asked)

    async def _ticker(self, kind: TickKind, ticker: str, work: Path) -> int:
        place = work / ticker
        place.mkdir(exist_ok=True)
        state = place / "progress.json"
        progress = msgspec.json.decode(state.read_bytes(), type=_Progress) if state.exists() else _Progress()
        async with self._slots:
            while progress.following is not None:
                if progress.pages >= PAGES_MAX:
                    raise InvalidInput(f"{ticker} {self._day}: more than {PAGES_MAX} pages of {kind.value}; the cursor does not end")
                text, count, following = await self._page(kind, ticker, progress)
                _write(place / f"{progress.pages:05d}.csv", text)
                progress = _Progress(progress.pages + 1, progress.rows + count, following)
                _write(state, msgspec.json.encode(progress).decode())
                self._told(f"{ticker} {kind.value}: page {progress.pages}, {progress.rows:,} rows")
        return progress.rows

    async def _page(self, kind: TickKind, ticker: str, progress: _Progress) -> tuple[str, int, str | None]:
        path, params = (progress.following, None) if progress.following else first_page(kind, ticker, self._day)
        waited = TryAgain("polygon: not asked")
        for attempt in range(ROUNDS_MAX):
            try:
                body, _ = await self._rest.get(path, params)
                return lines_of(kind, ticker, body)
            except TryAgain as error:
                waited = error
            except Malformed as error:  # overload pages and proxies come with status 200 too
                waited = TryAgain(f"polygon sent an answer that cannot be read: {error}")
            if attempt + 1 < ROUNDS_MAX:
                self._told(f"{ticker} {kind.value}: {waited}; waiting")
                await asyncio.sleep(ROUND_SECONDS)
        raise TryAgain(f"{ticker}, page {progress.pages + 1} of {kind.value}: {waited}; run it again to go on from there")

    def _assemble(self, kind: TickKind, tickers: Sequence[str], work: Path, path: Path) -> None:
        """All pages into one file that is complete or not there."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with part.open("wb") as raw, gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed:
            packed.write(header(kind).encode())
            for ticker in sorted(tickers):
                for page in sorted((work / ticker).glob("*.csv")):
                    packed.write(page.read_bytes())
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
        shutil.rmtree(work)


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
