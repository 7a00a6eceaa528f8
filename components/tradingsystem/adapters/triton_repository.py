"""Triton's model repository on a disk, assembled from bundles.

A version's folder appears whole or not at all: it is written and flushed beside the repository, then renamed into it. Nothing else in a model's folder is
ever touched while a server runs: Triton takes a newer file there for a change of every version.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from tradingsystem.bundles.bundle import Bundle
from tradingsystem.bundles.triton_config import ALL, FUSED
from tradingsystem.bundles.triton_repository import configs, ensemble_files, fused_files


class TritonRepository:
    """The folder that a server was started with. ``int8`` says which graph of a bundle is laid out."""

    def __init__(self, folder: Path, *, int8: bool = True) -> None:
        self.folder = folder
        self._staging = folder.with_name(folder.name + ".staging")
        self._int8 = int8

    def prepare(self) -> None:
        """Every model with its configurations and no version; before a server starts. Raises ``OSError``."""
        shutil.rmtree(self._staging, ignore_errors=True)
        for path, content in configs().items():
            target = self.folder / path
            if target.exists() and target.read_bytes() == content:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)

    def add(self, bundle: Bundle) -> None:
        """The bundle's version of ``fused``, unless it lies there as it should. Raises ``OSError``."""
        self._place(FUSED, bundle.manifest.version, fused_files(bundle, int8=self._int8))

    def add_ensemble(self, bundle: Bundle) -> None:
        """The bundle's version of the ensemble and its parts. Raises ``OSError``, or what onnx says of the graph."""
        for model, files in ensemble_files(bundle, int8=self._int8).items():
            self._place(model, bundle.manifest.version, files)

    def keep(self, versions: frozenset[int]) -> None:
        """Remove every other version. Only what no server has loaded: Triton forbids changing a folder in use."""
        for model in ALL:
            for folder in (self.folder / model).iterdir():
                if folder.name.isdecimal() and int(folder.name) not in versions:
                    shutil.rmtree(folder)

    def _place(self, model: str, version: int, files: Mapping[str, bytes]) -> None:
        target = self.folder / model / str(version)
        if target.is_dir():
            if all((target / name).is_file() and (target / name).read_bytes() == content for name, content in files.items()):
                return
            shutil.rmtree(target)
        staged = self._staging / model / str(version)
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(parents=True)
        for name, content in files.items():
            with (staged / name).open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        staged.rename(target)
        shutil.rmtree(self._staging, ignore_errors=True)
