"""What `explain` shows of the gate: each rule with the figures that it compared."""

from __future__ import annotations

from typing import Any

import pytest

from tests.risk.test_gate import REFUSED, changed, leaving, passing
from tradingsystem.risk.question import Question
from tradingsystem.world.gate_figures import answers_to


def figures(parts: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """By a rule's code: value and limit."""
    return {answer.code: (answer.value, answer.limit) for answer in answers_to(Question(**parts))}


@pytest.mark.parametrize(("code", "parts"), REFUSED, ids=[f"{code}-{number}" for number, (code, _) in enumerate(REFUSED)])
def test_the_figures_show_why_it_was_refused(code: str, parts: dict[str, dict[str, Any]]) -> None:
    """One fact is changed: the rule that refuses shows other figures than when it let the order pass, and rules after it were not asked."""
    answers = answers_to(Question(**changed(**parts)))
    assert [answer.code for answer in answers if answer.refused] == [code]
    assert figures(changed(**parts))[code] != figures(passing())[code]
    asked = [answer.asked for answer in answers]
    assert asked == sorted(asked, reverse=True)
    assert [answer.code for answer in answers if answer.asked][-1] == code


@pytest.mark.parametrize("parts", [passing(), leaving()], ids=["entry", "exit"])
def test_an_order_that_passed_shows_every_rule(parts: dict[str, Any]) -> None:
    """All were asked, none is without figures."""
    answers = answers_to(Question(**parts))
    assert all(answer.asked and answer.refused is None and answer.value and answer.limit for answer in answers)
