"""How many features there are: the one fact that models, filter and recordings must share before any of them is loaded."""

FEATURE_COUNT = 50
MEMBER_NAMES = ("momentum_linear", "mean_reversion", "volatility_tree")
