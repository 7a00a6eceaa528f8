"""Runs the wire auditor as the separate program it is: it gets the captured bytes and the limits, and nothing of ours."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec

import tradingsystem
from tradingsystem.domain.errors import InvalidInput
from tradingsystem.spec.risk import Risk
from tradingsystem.world.verdict import Audited

COVER_SECONDS = 3.0
SCALED_SECONDS = 0.010
"""When time is scaled, age and skew limits are max(limit, speed x 10 ms) of market time."""


def auditor(chosen: Path | None) -> Path:
    """The program: the one chosen, else the checkout's. Raises ``InvalidInput`` when there is none."""
    program = chosen or Path(tradingsystem.__file__).parents[2] / "tests" / "audit" / "audit.py"
    if not program.is_file():
        raise InvalidInput(f"{program}: no wire auditor there; it is tests/audit/audit.py of a checkout, or name one with --audit")
    return program


def cover_seconds(speed: float) -> float:
    """How long filled shares may be without a stop, market seconds."""
    return max(COVER_SECONDS, speed * SCALED_SECONDS)


async def audit(program: Path, capture: Path, risk: Risk, speed: float) -> Audited:
    """What the auditor says of a capture. A program that cannot run is a status, not an exception."""
    arguments = [
        str(capture),
        *("--order-notional-max", str(risk.order_notional_max)),
        *("--positions-max", str(risk.positions_open_max)),
        *("--orders-per-minute-max", str(risk.orders_per_minute_max)),
        *("--cover-seconds", f"{cover_seconds(speed):g}"),
    ]
    command = [sys.executable, str(program)] if program.suffix == ".py" else [str(program)]
    process = await asyncio.create_subprocess_exec(
        *command, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    told, errors = await process.communicate()
    return read_audit(process.returncode or 0, told.decode(errors="replace"), errors.decode(errors="replace"))


def read_audit(status: int, told: str, errors: str = "") -> Audited:
    """Findings are indented lines, the summary is JSON on the last one; a last word that is no JSON is a finding by itself."""
    lines = told.splitlines()
    findings = [line.strip() for line in lines if line.startswith("  ")]
    try:
        summary = msgspec.json.decode(lines[-1], type=dict[str, object]) if lines else {}
    except (msgspec.DecodeError, UnicodeDecodeError):
        summary = {}
    if not summary:
        findings.append(f"no summary, exit status {status}: {(errors.strip().splitlines() or ['it said nothing'])[-1]}")
    return Audited(status, tuple(findings), summary)
