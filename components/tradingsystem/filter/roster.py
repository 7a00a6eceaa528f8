"""The bundles that are loaded, by version. One that was loaded stays for a while, so that taking a version back is moving a pointer."""

from __future__ import annotations

from collections.abc import Callable

from tradingsystem.domain.errors import TryAgain
from tradingsystem.filter.deciding import Serving

LOADED_MAX = 4  # serving, canary or shadow, the one before, and one to spare


class Roster:
    """Loads what is asked for, at most once; what cannot be loaded is remembered with the reason, what cannot be loaded yet is ``waiting`` to be asked for
    again. ``unload`` hears which version is no longer kept."""

    def __init__(self, load: Callable[[int], Serving], first: Serving, unload: Callable[[int], None]) -> None:
        self._load = load
        self._unload = unload
        self._loaded = {first.version: first}
        self.refused: dict[int, str] = {}
        self.waiting: set[int] = set()

    def bundle(self, version: int) -> Serving | None:
        """The bundle of that version, None for 0 and for one that cannot be loaded. The most recently asked for are kept."""
        if not version or version in self.refused:
            return None
        found = self._loaded.pop(version, None)
        if found is None:
            try:
                found = self._load(version)
            except TryAgain:
                self.waiting.add(version)
                return None
            except (ValueError, OSError) as error:
                self.refused[version] = str(error)
                return None
        self._loaded[version] = found
        while len(self._loaded) > LOADED_MAX:
            longest_unasked = next(iter(self._loaded))
            del self._loaded[longest_unasked]
            self._unload(longest_unasked)
        return found
