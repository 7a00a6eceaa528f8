"""How often a process looks for garbage while it starts: seldom, because nearly all that is made then stays, and looking through it costs up to a second.

It never stops collecting: a service that waits for hours to become ready must not grow.
"""

from __future__ import annotations

import gc

STARTING_ALLOCATIONS = 100_000  # between two looks at what is young; the interpreter's own is some hundreds
_USUAL = gc.get_threshold()


def starting() -> None:
    """Collect seldom from now on. Before anything large is imported, or it has no effect."""
    gc.set_threshold(STARTING_ALLOCATIONS, *_USUAL[1:])


def started() -> None:
    """Collect as usual, and never look again at what lives now: it lives until the end."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_USUAL)
