"""A mistake in a resource, and all of them together. Refuses to guess: it says what stands there and what would be right, the person decides."""

import msgspec


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One mistake: where (dotted wire path), what stands there, why that is wrong, and what would be right."""

    field: str
    value: str
    reason: str
    remedy: str
    line: int = 0

    def __str__(self) -> str:
        where = f"{self.field or 'document'}" + (f" (line {self.line})" if self.line else "")
        what = f"{self.value} " if self.value else ""
        return f"{where}: {what}{self.reason}; {self.remedy}"


class InvalidSpec(ValueError):
    """The document does not describe a trading system. Carries every problem found, never only the first."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n".join([f"invalid TradingSystem, {count}:", *(f"  {problem}" for problem in problems)]))


VALUE_SHOWN_MAX = 60


def shown(value: object) -> str:
    """A value as it may be printed: as JSON would spell it, cut to ``VALUE_SHOWN_MAX`` characters."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return f"a mapping of {len(value)}"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, int) and value.bit_length() > 128:
        return f"a number of {value.bit_length()} bits"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= VALUE_SHOWN_MAX else text[: VALUE_SHOWN_MAX - 3] + "..."
