"""Raw frames on their way to the recorder: gathered for a moment, so that a busy feed is a few messages a second. Pure: the time is an argument.

Only sources that ask for it are kept. What is lost between here and the disk is lost, as everything on the bus may be; the tape is what decides.
"""

from __future__ import annotations

from collections.abc import Sequence

from tradingsystem.domain.frames import Frame
from tradingsystem.domain.time import NS_PER_MILLISECOND
from tradingsystem.spec.sources import Source

MESSAGE_BYTES_MAX = 256 * 1024
FRAME_BYTES_MAX = 4 * 1024 * 1024  # larger ones would not fit into a message
WAIT_NS = 100 * NS_PER_MILLISECOND  # machine time
INDICES = "-indices"  # how an adapter names the second socket of a source


class FrameTray:
    """Frames that wait to be sent. ``dropped`` counts those that were too large."""

    def __init__(self, sources: Sequence[Source]) -> None:
        kept = [source.name for source in sources if source.record_frames]
        self._kept = frozenset([*kept, *(f"{name}{INDICES}" for name in kept)])
        self._waiting: list[Frame] = []
        self._bytes = 0
        self._since_ns = 0
        self.dropped = 0

    def keeps(self, source: str) -> bool:
        """Whether frames of that source are wanted."""
        return source in self._kept

    def put(self, frame: Frame, machine_ns: int) -> list[Frame]:
        """Keep a frame; the frames that are to be sent now, mostly none."""
        if len(frame.payload) > FRAME_BYTES_MAX:
            self.dropped += 1
            return []
        due = self.take() if self._bytes + len(frame.payload) > MESSAGE_BYTES_MAX else []
        if not self._waiting:
            self._since_ns = machine_ns
        self._waiting.append(frame)
        self._bytes += len(frame.payload)
        return due

    def due(self, machine_ns: int) -> list[Frame]:
        """Frames that have waited long enough."""
        return self.take() if self._waiting and machine_ns - self._since_ns >= WAIT_NS else []

    def take(self) -> list[Frame]:
        """All that wait."""
        taken, self._waiting, self._bytes = self._waiting, [], 0
        return taken
