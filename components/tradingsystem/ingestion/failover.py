"""Which source is heard for each kind of row. Two sources that are both heard would double every volume.

The first source in the spec's order that carries a kind serves it; a later one stands by and takes over when the first has been unhealthy for a
moment. It gives back only after the first has been healthy for longer, because a source that flaps is worse than the second best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tradingsystem.domain.rows import RowKind
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.spec.sources import Channel, Source, SourceType, channels_of

KINDS_OF: dict[Channel, tuple[RowKind, ...]] = {
    Channel.TRADES: (RowKind.TRADE, RowKind.SECOND_BAR),
    Channel.QUOTES: (RowKind.QUOTE, RowKind.SECOND_BAR),
    Channel.SECOND_BARS: (RowKind.SECOND_BAR,),
    Channel.MINUTE_BARS: (RowKind.MINUTE_BAR,),
    Channel.LIMIT_BANDS: (RowKind.LULD, RowKind.HALT, RowKind.RESUME),
    Channel.INDICES: (RowKind.INDEX,),
    Channel.FLOW: (RowKind.FLOW,),
}
"""Rows of each channel; trades and quotes bring second bars for the symbols that are not detailed."""

PRICES = frozenset({RowKind.TRADE, RowKind.SECOND_BAR, RowKind.MINUTE_BAR})
LEAVE_AFTER_NS = NS_PER_SECOND  # machine time; shorter than this, a reconnect is cheaper than two changes of source
RETURN_AFTER_NS = 10 * NS_PER_SECOND


@dataclass(frozen=True, slots=True)
class Carrier:
    """A source and the kinds of rows it delivers."""

    name: str
    kinds: frozenset[RowKind]


def carriers_of(sources: Sequence[Source]) -> tuple[Carrier, ...]:
    """The spec's sources in its order. Polygon's indices are a socket, and so a health, of their own: ``<name>-indices``."""
    carriers: list[Carrier] = []
    for source in sources:
        channels = channels_of(source)
        apart = {Channel.INDICES} if source.type is SourceType.POLYGON else set()
        kinds = frozenset(kind for channel in channels - apart for kind in KINDS_OF[channel])
        if source.type is SourceType.ALPACA:
            kinds -= {RowKind.SECOND_BAR}  # its stream has none
        if kinds:
            carriers.append(Carrier(source.name, kinds))
        if channels & apart:
            carriers.append(Carrier(f"{source.name}-indices", frozenset({RowKind.INDEX})))
    return tuple(carriers)


class Failover:
    """Per kind the position of the source that is heard. Machine time in, no clock of its own."""

    def __init__(self, carriers: Sequence[Carrier], machine_ns: int) -> None:
        self._carriers = tuple(carriers)
        self._healthy = {carrier.name: False for carrier in carriers}
        self._since_ns = {carrier.name: machine_ns for carrier in carriers}
        self._heard: dict[RowKind, str] = {}
        for carrier in carriers:
            for kind in carrier.kinds:
                self._heard.setdefault(kind, carrier.name)
        self._masks = self._build_masks()

    def healthy(self, name: str) -> bool:
        """What was last said of a source."""
        return self._healthy[name]

    def prices(self) -> bool:
        """Whether a source that delivers prices is healthy: without one there is nothing to decide on."""
        return any(self._healthy[carrier.name] and carrier.kinds & PRICES for carrier in self._carriers)

    def heard(self, kind: RowKind) -> str | None:
        """The source that serves a kind; None when no source carries it."""
        return self._heard.get(kind)

    def all_heard(self) -> dict[str, str]:
        """By kind's name the source that serves it."""
        return {kind.name.lower(): name for kind, name in self._heard.items()}

    def mask(self, name: str) -> npt.NDArray[np.bool_] | None:
        """By kind: whether the source's rows count. None when all that it carries do, so that nothing needs to be looked up."""
        return self._masks[name]

    def told(self, name: str, *, healthy: bool, machine_ns: int) -> None:
        """A source's health."""
        if self._healthy[name] != healthy:
            self._healthy[name] = healthy
            self._since_ns[name] = machine_ns

    def review(self, machine_ns: int) -> tuple[RowKind, ...]:
        """Move kinds to the source that should be heard; the kinds that moved."""
        moved = [kind for kind, name in self._heard.items() if self._better(kind, name, machine_ns)]
        for kind in moved:
            self._heard[kind] = self._better(kind, self._heard[kind], machine_ns) or self._heard[kind]
        if moved:
            self._masks = self._build_masks()
        return tuple(moved)

    def _better(self, kind: RowKind, current: str, machine_ns: int) -> str | None:
        """The source to move to, None to stay."""
        for carrier in self._carriers:
            if kind not in carrier.kinds:
                continue
            since_ns = machine_ns - self._since_ns[carrier.name]
            if carrier.name == current:
                if self._healthy[current] or since_ns < LEAVE_AFTER_NS:
                    return None
                continue
            settled = since_ns >= RETURN_AFTER_NS or not self._healthy[current]
            if self._healthy[carrier.name] and settled:
                return carrier.name
        return None

    def _build_masks(self) -> dict[str, npt.NDArray[np.bool_] | None]:
        masks: dict[str, npt.NDArray[np.bool_] | None] = {}
        for carrier in self._carriers:
            mask = np.zeros(256, np.bool_)
            for kind in carrier.kinds:
                mask[kind] = self._heard[kind] == carrier.name
            masks[carrier.name] = None if all(mask[kind] for kind in carrier.kinds) else mask
        return masks
