"""Compile what the services would compile at their first start, so that a pod starts trading in seconds: run once, while the image is built.

Numba keys compiled code by processor: on another kind of processor it is compiled again at start, into the container's own temporary folder.
"""

from __future__ import annotations

import datetime
import itertools

from tradingsystem.adapters.polygon.parse import FrameParser
from tradingsystem.filter.warming import warm_up
from tradingsystem.ingestion import kernels
from tradingsystem.process.generated_day import generate

DATE = datetime.date(2026, 3, 2)
SYMBOLS, SECONDS, EDGE = 50, 300, 0.006

warm_up()
kernels.judge()
kernels.mark_last_quotes()
FrameParser(())
day = generate(7, DATE, SYMBOLS, EDGE)
for _ in itertools.islice(day.seconds(), SECONDS):
    pass
