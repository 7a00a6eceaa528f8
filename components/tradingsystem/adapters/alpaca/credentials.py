"""Who asks Alpaca."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Credentials:
    """The key pair; neither part is ever shown."""

    key: str
    secret: str

    def __repr__(self) -> str:
        return f"Credentials({hashlib.sha256(self.key.encode()).hexdigest()[:6]}...)"

    def headers(self) -> dict[str, str]:
        return {"APCA-API-KEY-ID": self.key, "APCA-API-SECRET-KEY": self.secret}
