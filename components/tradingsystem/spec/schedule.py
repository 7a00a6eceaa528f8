"""Whether a text is a cron expression. It refuses names of days and months and the @-shorthands: one spelling is enough."""

import re

_BOUNDS = (("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 7))
_PART = re.compile(r"^(?:\*|(\d{1,2})(?:-(\d{1,2}))?)(?:/(\d{1,2}))?$")


def schedule_problem(text: str) -> str:
    """What is wrong with a cron expression of five numeric fields, or "" when nothing is. The empty text means never and is fine."""
    if not text:
        return ""
    fields = text.split(" ")
    if len(fields) != len(_BOUNDS):
        return f"has {len(fields)} fields instead of {len(_BOUNDS)}"
    for field, (name, low, high) in zip(fields, _BOUNDS, strict=True):
        if not all(_fits(part, low, high) for part in field.split(",")):
            return f"the {name} `{field}` is not within {low} to {high}"
    return ""


def _fits(part: str, low: int, high: int) -> bool:
    match = _PART.match(part)
    if match is None:
        return False
    first, last, step = (None if group is None else int(group) for group in match.groups())
    if step == 0:
        return False
    first = low if first is None else first
    last = first if last is None else last
    return low <= first <= last <= high
