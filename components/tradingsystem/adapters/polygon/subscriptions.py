"""What was asked of Polygon against what it confirmed. Pure.

A refusal does not name what it refuses and a repeated request gets no answer, so the only way to know of a missing feed is to compare the two
lists after a while.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tradingsystem.domain.time import NS_PER_SECOND

PARAMS_PER_REQUEST = 200
CONFIRMATION_NS = 5 * NS_PER_SECOND
_SUBSCRIBED = "subscribed to:"
_UNSUBSCRIBED = "unsubscribed to:"


@dataclass(frozen=True, slots=True)
class Request:
    """One message to send."""

    action: str
    params: tuple[str, ...]


class Subscriptions:
    """Standing params (``A.*``), and one param per detailed channel and symbol."""

    def __init__(self, standing: Sequence[str], detailed_channels: Sequence[str]) -> None:
        self._standing = frozenset(standing)
        self._channels = tuple(detailed_channels)
        self._wanted = self._standing
        self._requested: dict[str, int] = {}
        self._confirmed: set[str] = set()

    @property
    def confirmed(self) -> int:
        """How many params the server holds for us."""
        return len(self._confirmed)

    def want(self, symbols: Iterable[str]) -> None:
        """The symbols that deserve the detailed channels now."""
        self._wanted = self._standing | {f"{channel}.{symbol}" for symbol in symbols for channel in self._channels}

    def connected(self) -> None:
        """A new connection holds nothing."""
        self._requested = {}
        self._confirmed = set()

    def requests(self, machine_ns: int) -> list[Request]:
        """What to send now so that the server comes to hold what is wanted; counts as requested from here on."""
        missing = sorted(self._wanted - self._requested.keys(), key=lambda param: (param not in self._standing, param))
        surplus = sorted(self._requested.keys() - self._wanted)
        self._requested.update(dict.fromkeys(missing, machine_ns))
        for param in surplus:
            del self._requested[param]
        return [*_chunks("subscribe", missing), *_chunks("unsubscribe", surplus)]

    def told(self, message: str) -> bool:
        """A success message; whether it confirmed a subscription."""
        if message.startswith(_UNSUBSCRIBED):
            self._confirmed.discard(message.removeprefix(_UNSUBSCRIBED).strip())
            return False
        if not message.startswith(_SUBSCRIBED):
            return False
        self._confirmed.update(part.strip() for part in message.removeprefix(_SUBSCRIBED).split(","))
        return True

    def overdue(self, machine_ns: int) -> tuple[str, ...]:
        """Requested long enough ago and still not confirmed: refused, or lost."""
        return tuple(
            sorted(
                param for param, at_ns in self._requested.items() if param not in self._confirmed and machine_ns - at_ns >= CONFIRMATION_NS
            )
        )


def _chunks(action: str, params: list[str]) -> list[Request]:
    return [Request(action, tuple(params[start : start + PARAMS_PER_REQUEST])) for start in range(0, len(params), PARAMS_PER_REQUEST)]
