"""Why a day traded as it did, in lines a person reads: where symbols stopped, how many signals came, what refused them. It explains and excuses nothing."""

from __future__ import annotations

from tradingsystem.world.day import Day

WORDS = {
    "type": "are not common stock, fund or receipt",
    "price": "cost too little",
    "dollar_volume": "trade too little in dollars",
    "halted": "are halted",
    "volume_ratio": "have no unusual volume",
    "price_change": "have not moved enough",
    "volatility": "move too much",
    "nbbo": "have no fresh quote",
    "spread": "have too wide a spread",
    "passed": "are candidates",
}
"""By the filter's name of the stage: what is true of the symbols that stop there."""


def remaining(funnel: dict[str, float]) -> list[tuple[str, float]]:
    """Symbols left after each stage, from all to candidates, means over the sweeps."""
    left = sum(funnel.values())
    found = [("looked at", left)]
    for name, stopped in funnel.items():
        if name == "passed":
            continue
        left -= stopped
        found.append((name.replace("_", " "), left))
    return [*found[:-1], ("candidates", found[-1][1])]


def funnel_lines(day: Day) -> list[str]:
    """The funnel and what came after it."""
    total = sum(day.funnel.values())
    lines = [f"{total:,.0f} symbols in a sweep, on average:"] if total else ["no sweep of the universe was recorded"]
    for name, count in day.funnel.items():
        if count or name == "passed":
            lines.append(f"{count:>10,.1f}  {WORDS.get(name, name.replace('_', ' '))}")
    outcomes = ", ".join(f"{count:,} {name.lower()}" for name, count in day.cuts.outcomes.most_common())
    lines.append(f"{day.cuts.count:,} cuts ({outcomes}), at most {day.cuts.candidates_most} candidates in one, {len(day.signals)} signals")
    refused = day.status.orders_refused if day.status is not None else {}
    if refused:
        lines.append("refused: " + ", ".join(f"{code} {count}" for code, count in sorted(refused.items(), key=lambda item: -item[1])))
    return lines
