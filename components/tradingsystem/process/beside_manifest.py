"""What a manifest names that others made, on this machine: in a cluster objects of the system's namespace, here files and folders of their names beside it.

``selection: ConfigMap`` is a file with the list of symbols, ``simulation.dataClaimName`` a folder with recorded days. Both are read when the system is started.
"""

from __future__ import annotations

from pathlib import Path

from tradingsystem.domain.errors import InvalidInput
from tradingsystem.spec import TradingSystem
from tradingsystem.spec.symbols import read_symbols, with_symbols
from tradingsystem.spec.universe import Selection


def with_listed_symbols(system: TradingSystem, manifest: Path) -> TradingSystem:
    """The resource with the symbols of the file that stands for its ConfigMap; as it is when it names none. Raises ``InvalidInput``."""
    universe = system.spec.universe
    if universe.selection is not Selection.CONFIG_MAP:
        return system
    path = manifest.resolve().parent / universe.config_map_ref.name
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InvalidInput(
            f"spec.universe.configMapRef: {path}: cannot read the list of symbols ({why}); put it there, one symbol a line"
        ) from error
    return with_symbols(system, read_symbols(text, str(path), universe.symbols_max))


def recorded_folder(system: TradingSystem, manifest: Path) -> Path | None:
    """The place of the recorded days within the folder that stands for their volume claim; None when it names none. Raises ``InvalidInput``."""
    simulation = system.spec.simulation
    if not system.spec.plays_recorded or not simulation.data_claim_name:
        return None
    volume = manifest.resolve().parent / simulation.data_claim_name
    if not volume.is_dir():
        raise InvalidInput(
            f"spec.simulation.dataClaimName: {volume}: no such folder; on this machine the recorded days lie there (a link to them will do)"
        )
    place = volume / simulation.data
    if not place.exists():
        raise InvalidInput(
            f"spec.simulation.data: {place}: not in the folder that stands for the volume claim {simulation.data_claim_name}"
        )
    return place
