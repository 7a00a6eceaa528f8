"""Which symbols get trades and quotes, from what the filter and execution say they want. The rest gets second bars.

A wish is held for a while after it ended, because subscribing costs a round trip and candidates flicker. What execution holds comes first and is
never dropped: a position without quotes cannot be valued.
"""

from __future__ import annotations

from collections.abc import Iterable

from tradingsystem.domain.time import NS_PER_SECOND

LINGER_NS = 30 * NS_PER_SECOND
DETAILED_MAX = 1_000


class Tiers:
    """The latest wish of each publisher, in rank order: the first named is served first when there are too many."""

    def __init__(self, publishers: tuple[str, ...], known: Iterable[str], detailed_max: int = DETAILED_MAX) -> None:
        self._publishers = publishers
        self._known = frozenset(known)
        self._max = detailed_max
        self._wanted: dict[str, tuple[str, ...]] = dict.fromkeys(publishers, ())
        self._left_at_ns: dict[str, int] = {}

    def heard(self, publisher: str, symbols: Iterable[str], machine_ns: int) -> None:
        """A publisher's whole wish; symbols it no longer names linger. Unknown publishers and symbols are ignored."""
        if publisher not in self._wanted:
            return
        wanted = tuple(dict.fromkeys(symbol for symbol in symbols if symbol in self._known))
        for symbol in set(self._wanted[publisher]) - set(wanted):
            self._left_at_ns[symbol] = machine_ns
        self._wanted[publisher] = wanted

    def detailed(self, machine_ns: int) -> frozenset[str]:
        """The symbols to subscribe in detail now: wishes by rank, then those that linger, at most the limit."""
        self._left_at_ns = {symbol: left for symbol, left in self._left_at_ns.items() if machine_ns - left < LINGER_NS}
        lingering = sorted(self._left_at_ns, key=lambda symbol: (-self._left_at_ns[symbol], symbol))
        ranked = dict.fromkeys([*(symbol for publisher in self._publishers for symbol in self._wanted[publisher]), *lingering])
        return frozenset(list(ranked)[: self._max])

    @property
    def turned_away(self) -> int:
        """How many wanted symbols the limit leaves without detail."""
        return max(0, len({symbol for wanted in self._wanted.values() for symbol in wanted}) - self._max)
