"""Play seeded days with one mutant in place until its invariant speaks: ``python -m tests.world.mutants.hunt NAME SEEDS``.

A mutant that shows itself late is looked for first where it was found last, and then, when the days have changed since, from the first one on.

Prints one line of JSON: the seed, the invariant and what it said; or, when none of the seeds found it, everything that was said instead.
"""

from __future__ import annotations

import json
import sys

from tests.world.mutants.table import FOUND_LATE, MUTANTS
from tradingsystem.world.trial.day import play


def hunt(name: str, seeds: int) -> dict[str, object]:
    """The first day on which the mutant's invariant was violated."""
    invariant, apply = MUTANTS[name]
    apply()
    others: list[str] = []
    last = [FOUND_LATE[name]] if name in FOUND_LATE else []
    for seed in (*last, *range(1, seeds + 1)):
        for found, what, _ in play(seed).violations:
            if found == invariant:
                return {"seed": seed, "invariant": found, "what": what, "others": others}
            others.append(f"{seed}: {found}: {what}")
    return {"seed": None, "invariant": invariant, "what": "", "others": others[:20]}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(hunt(sys.argv[1], int(sys.argv[2]))) + "\n")
