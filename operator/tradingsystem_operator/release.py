"""Which release of the data plane is rendered: its version, its images, and where the operator that renders it lives.

A value the shell fills in once from flags; rendering reads no environment. The release a system runs is kept in its revisions, so that an operator of a
later release can still render the one that runs.
"""

from __future__ import annotations

import msgspec


class Release(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One release. ``build`` is what every service reports of itself; a Triton image may be
    empty: then systems that ask for it run their models in process; without ``components_gpu_image`` nothing builds engines, and Triton runs onnxruntime."""

    version: str
    build: str
    components_image: str
    triton_image: str = ""
    triton_cpu_image: str = ""
    components_gpu_image: str = ""
    pull_policy: str = "IfNotPresent"
    operator_namespace: str = "tradingsystem-system"
