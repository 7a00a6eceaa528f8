"""Fetching recorded days from Polygon with the key that the system would use. One of the few doors to the adapters; it starts nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

from tradingsystem.adapters.polygon.download import AT_ONCE, Download, Fetched
from tradingsystem.adapters.polygon.tick_pages import TickKind
from tradingsystem.adapters.rest import RestClient
from tradingsystem.process.secrets import Secrets, local_folder
from tradingsystem.process.venues import venues_of
from tradingsystem.spec import Mode

SECRET, KEY, VARIABLE = "polygon", "apiKey", "POLYGON_API_KEY"
ADDRESS = venues_of(Mode.PAPER, "").polygon_rest


async def fetch_day(
    folder: Path, day: date, tickers: Sequence[str], kinds: Sequence[str], *, url: str, told: Callable[[str], None]
) -> list[Fetched]:
    """One file per kind. Raises ``NotAuthorized`` (no key, or a refused one), ``TryAgain``, ``RequestRefused``, ``InvalidInput``."""
    key = Secrets(local_folder()).kept(SECRET, KEY, VARIABLE)
    async with RestClient("polygon", url, key, "the Polygon key", at_once=AT_ONCE) as rest:
        download = Download(rest, folder, day, told)
        return [await download.fetch(kind, tickers) for kind in dict.fromkeys(map(TickKind, kinds))]
