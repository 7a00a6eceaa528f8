"""The one annotation by which a person clears a latch on Kubernetes: `tradingsystem.dev/clear-latch: <id>;<name>;<reason>`. Pure.

It is valid once: whatever execution answers, the annotation goes and the answer stays as an event. A clearing without a name or a reason is refused here,
since the journal keeps both for ever.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from tradingsystem.domain.control import Command, CommandKind
from tradingsystem_operator.objects import CLEAR_LATCH_ANNOTATION

ID_MAX, NAME_MAX, REASON_MAX = 128, 253, 1_000


@dataclass(frozen=True, slots=True)
class Refused:
    """The annotation cannot be used; why, and what would be right."""

    why: str


def asked_for(value: str, uid: str) -> Command | Refused:
    """The command the annotation's ``value`` stands for. The same value on the same resource (``uid``) is the same command, however often it is read."""
    parts = [part.strip() for part in value.split(";", 2)]
    if len(parts) < 3 or not all(parts):
        form = f"kubectl annotate tsys NAME '{CLEAR_LATCH_ANNOTATION}=<id>;<your name>;<reason>'"
        return Refused(f"it needs the latch's id, a name and a reason, separated by semicolons: {form}")
    latch, name, reason = parts
    too_long = [
        what for what, text, most in (("id", latch, ID_MAX), ("name", name, NAME_MAX), ("reason", reason, REASON_MAX)) if len(text) > most
    ]
    if too_long:
        return Refused(f"too long: {', '.join(too_long)}; at most {ID_MAX}, {NAME_MAX} and {REASON_MAX} characters")
    if not all(text.isprintable() for text in parts):
        return Refused("it holds characters that cannot be printed")
    digest = hashlib.blake2s(f"{uid}\x1f{value}".encode(), digest_size=16).hexdigest()
    return Command(id=digest, kind=CommandKind.CLEAR_LATCH, name=name, reason=reason, latch_id=latch)
