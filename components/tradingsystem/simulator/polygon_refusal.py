"""An HTTP error in Polygon's own form, raised where a request is understood and turned into a body in one place."""

from __future__ import annotations

import datetime


class Refusal(Exception):
    """HTTP `code`, the body's `status`, and its text under `key` ("error" or "message", the vendor uses both)."""

    def __init__(self, code: int, status: str, text: str, key: str = "error") -> None:
        super().__init__(text)
        self.code, self.status, self.text, self.key = code, status, text, key


def parse_date(text: str) -> datetime.date:
    """A date in a path; raises the vendor's 400."""
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise Refusal(400, "ERROR", f"Could not parse the date: {text!r}, expected YYYY-MM-DD") from None
