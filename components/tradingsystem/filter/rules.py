"""Which rule holds in which regime. Bull's rule needs a Bull market; in every other regime, the unknown one included, Bear's holds."""

from __future__ import annotations

from tradingsystem.domain.signals import Regime
from tradingsystem.spec.filtering import Filter, FilterRule, RuleRegime


def rule_of(regime: Regime, spec: Filter) -> FilterRule:
    """The rule that holds; where the resource gives only one, that one always holds."""
    wanted = RuleRegime.BULL if regime is Regime.BULL else RuleRegime.BEAR
    return next((rule for rule in spec.rules if rule.regime is wanted), spec.rules[0])
