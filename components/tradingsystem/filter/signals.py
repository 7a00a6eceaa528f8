"""From assessed rows to signals: thresholds, one live signal per symbol, cooldown and hysteresis. Decides nothing about size and sends nothing."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from tradingsystem.domain.signals import Signal, signal_id
from tradingsystem.domain.time import NS_PER_MINUTE, NS_PER_SECOND
from tradingsystem.ensemble.blend import Assessed
from tradingsystem.filter.step import Swept
from tradingsystem.market import columns as c
from tradingsystem.market.state import MarketState
from tradingsystem.spec.ensemble import Ensemble

REARM_BELOW = 0.10  # confidence must have fallen that far below the threshold before a symbol may signal again


class Spoken(msgspec.Struct):
    """What is remembered of a symbol that has signalled: until when it is quiet, and whether its confidence has fallen since."""

    quiet_until_ns: int
    armed: bool


class SignalBook:
    """Which symbols may speak. Its memory is the symbols that have spoken today, by name, so that it outlives a symbol table."""

    def __init__(self, system: str, spec: Ensemble, spoken: dict[str, Spoken] | None = None) -> None:
        self._system = system
        self._threshold = spec.signal_threshold_percent / 100.0
        self._expiry_ns = spec.signal_expiry_seconds * NS_PER_SECOND
        self._cooldown_ns = spec.symbol_cooldown_minutes * NS_PER_MINUTE
        self.spoken: dict[str, Spoken] = dict(spoken or {})

    def decide(
        self, swept: Swept, market: MarketState, assessed: Assessed, members: np.ndarray, *, break_even: float, model: int, simulated: bool
    ) -> list[Signal]:
        """Signals of one cut in order of their position in the table. ``members`` is F32[n, m], n the cut's feature rows."""
        rows = swept.features.rows
        self._rearm(market, rows, assessed)
        if not swept.entries:
            return []
        found: list[Signal] = []
        for k in np.flatnonzero(self.wishes(assessed, break_even)):
            symbol = market.symbols[rows[k]]
            if not self.may_speak(symbol, swept.sealed_at_ns):
                continue
            chances = (float(assessed.p[k]), float(assessed.p_low[k]), float(assessed.confidence[k]))
            votes = tuple(float(vote) for vote in members[k])
            found.append(self.speak(swept, market, int(rows[k]), chances, votes, model=model, simulated=simulated))
        return found

    def wishes(self, assessed: Assessed, break_even: float) -> npt.NDArray[np.bool_]:
        """Which rows deserve a signal, whatever was said of their symbols before; NaN deserves none."""
        return assessed.usable & (assessed.confidence >= self._threshold) & (assessed.p_low > break_even)

    def _rearm(self, market: MarketState, rows: np.ndarray, assessed: Assessed) -> None:
        if not self.spoken:
            return
        for k in np.flatnonzero(assessed.confidence < self._threshold - REARM_BELOW):
            known = self.spoken.get(market.symbols[rows[k]])
            if known is not None:
                known.armed = True

    def may_speak(self, symbol: str, now_ns: int) -> bool:
        """Whether the symbol is neither live, nor cooling down, nor still held by the confidence of its last signal."""
        known = self.spoken.get(symbol)
        return known is None or (known.armed and now_ns >= known.quiet_until_ns)

    def speak(
        self,
        swept: Swept,
        market: MarketState,
        row: int,
        chances: tuple[float, float, float],
        members: tuple[float, ...],
        *,
        model: int,
        simulated: bool,
        probe: bool = False,
    ) -> Signal:
        """The signal for the symbol at ``row``, with (p, p_low, confidence); from now on it is quiet. A probe's symbol stays armed."""
        symbol = market.symbols[row]
        now_ns = swept.sealed_at_ns
        self.spoken[symbol] = Spoken(quiet_until_ns=now_ns + max(self._expiry_ns, self._cooldown_ns), armed=probe)
        a = market.columns
        return Signal(
            id=signal_id(self._system, swept.epoch, swept.last_seq, symbol),
            system=self._system,
            epoch=swept.epoch,
            last_seq=swept.last_seq,
            symbol=symbol,
            at_ns=now_ns,
            expires_at_ns=now_ns + self._expiry_ns,
            p=chances[0],
            p_low=chances[1],
            confidence=chances[2],
            bid=price(a.now[c.BID, row]),
            ask=price(a.now[c.ASK, row]),
            vix=swept.vix,
            average_volume=volume(a.now[c.AVERAGE_VOLUME, row]),
            regime=swept.regime,
            model=model,
            members=members,
            simulated_model=simulated,
            probe=probe,
        )


def volume(value: np.float32) -> float | None:
    """Whole shares; None when nothing is known."""
    return float(round(float(value))) if np.isfinite(value) else None


def price(value: np.float32) -> float:
    """A float32 price as the decimal that was meant: 17 digits of a float32's binary tail would fail every tick-size check."""
    return round(float(value), 4)
