"""Every house rule about a module, over every module of the repository."""

from __future__ import annotations

import pytest

from tests.house.rules import RULES, Rule
from tests.house.tree import modules, require_none


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_module_keeps_the_rule(rule: Rule) -> None:
    """Every module in the repository keeps this rule."""
    require_none((finding for module in modules() for finding in rule(module)), RULES[rule])
