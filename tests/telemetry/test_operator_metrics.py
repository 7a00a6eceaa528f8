"""The operator's metrics: each name has an object and the other way round, and no service shows one of them at zero."""

from __future__ import annotations

from tradingsystem.telemetry import metrics, names, operator_metrics


def test_every_name_has_an_object_and_every_object_a_name() -> None:
    """A name nobody counts under is a panel that is always empty; an object without a name is a series nobody documented."""
    exposed = {line.split()[2] for line in operator_metrics.exposition().decode().splitlines() if line.startswith("# TYPE")}
    exposed = {name.removesuffix("_total") for name in exposed if not name.endswith("_created")}
    assert exposed == {f"{names.PREFIX}{name.name.removesuffix('_total')}" for name in operator_metrics.ALL}


def test_services_do_not_show_them() -> None:
    """A queue of the operator at zero under the filter's /metrics would be a lie."""
    assert "tradingsystem_operator" not in metrics.exposition().decode()
    assert "tradingsystem_phase" not in operator_metrics.exposition().decode()
