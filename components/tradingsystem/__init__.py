"""TradingSystem: one resource reconciled into a whole automated trading system.

The packages below are listed in the order of their imports in ``docs/architecture.md``; a package imports only from those to its right there.
"""
