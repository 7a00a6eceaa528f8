"""Amounts as Kubernetes writes them, as numbers. Only what the resource's own patterns let through is understood."""

import re
from decimal import Decimal

_FORM = re.compile("([0-9]+(?:[.][0-9]+)?)(m|k|Ki|M|Mi|G|Gi|T|Ti)?")

_FACTORS = {
    "m": Decimal("0.001"),
    "k": Decimal(1_000),
    "M": Decimal(1_000) ** 2,
    "G": Decimal(1_000) ** 3,
    "T": Decimal(1_000) ** 4,
    "Ki": Decimal(1_024),
    "Mi": Decimal(1_024) ** 2,
    "Gi": Decimal(1_024) ** 3,
    "Ti": Decimal(1_024) ** 4,
}


def number_of(quantity: str) -> Decimal:
    """The number: ``500m`` is one half, ``1Ki`` 1,024. Raises ValueError for anything a pattern would have refused."""
    parts = _FORM.fullmatch(quantity)
    if parts is None:
        raise ValueError(f"{quantity!r} is not an amount such as 500m, 2 or 10Gi")
    return Decimal(parts[1]) * _FACTORS.get(parts[2], Decimal(1))


def bytes_of(quantity: str) -> int:
    """Whole bytes, rounded down."""
    return int(number_of(quantity))
