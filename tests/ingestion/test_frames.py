"""Raw frames are gathered for a moment and never pile up; only those that somebody asked for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
from websockets.asyncio.server import ServerConnection

from tests.adapters.listening import IN_SESSION_NS, SessionClock
from tests.adapters.polygon_server import PolygonServer, frame, running
from tests.ingestion.test_service import POLYGON, SUBJECT, polygon, serving, trade
from tests.promises.waiting import until
from tradingsystem.adapters.clocks import SystemClock
from tradingsystem.adapters.in_process_bus import InProcessTape
from tradingsystem.domain.frames import Frame
from tradingsystem.ingestion.frames import FRAME_BYTES_MAX, MESSAGE_BYTES_MAX, WAIT_NS, FrameTray
from tradingsystem.messages.codec import decode
from tradingsystem.recorder.segments import read_records
from tradingsystem.recorder.service import RecorderService

RECORDED = msgspec.structs.replace(POLYGON, record_frames=True)


def some(size: int, source: str = POLYGON.name) -> Frame:
    return Frame(source, IN_SESSION_NS, b"x" * size)


def test_only_sources_that_ask_are_kept() -> None:
    """Both sockets of one that does, none of one that does not."""
    tray = FrameTray([RECORDED, msgspec.structs.replace(POLYGON, name="quiet")])
    assert [tray.keeps(name) for name in (RECORDED.name, f"{RECORDED.name}-indices", "quiet", "quiet-indices")] == [
        True,
        True,
        False,
        False,
    ]


def test_frames_leave_when_they_are_many_or_old() -> None:
    """Nothing waits for longer than a moment, and no message grows beyond its bound."""
    tray = FrameTray([RECORDED])
    assert tray.put(some(10), 0) == []
    assert tray.due(WAIT_NS - 1) == []
    assert tray.due(WAIT_NS) == [some(10)]
    assert tray.due(WAIT_NS * 2) == []
    sent = [tray.put(some(100_000), 0) for _ in range(20)] + [tray.take()]
    assert sum(len(message) for message in sent) == 20
    assert max(sum(len(one.payload) for one in message) for message in sent) <= MESSAGE_BYTES_MAX


def test_a_frame_no_message_could_carry_is_counted() -> None:
    """It is dropped from the recording, not from the tape."""
    tray = FrameTray([RECORDED])
    assert tray.put(some(FRAME_BYTES_MAX + 1), 0) == []
    assert (tray.dropped, tray.take()) == (1, [])


def test_a_recording_holds_the_frames_byte_for_byte(tmp_path: Path) -> None:
    """From the socket through ingestion to the recorder's disk, statuses and garbage included, in order, with the moment of receipt."""

    garbage = "[{not json"
    sent = [frame(trade(10.0 + number)) for number in range(5)]

    async def scenario() -> None:
        clock, ready, stop = SessionClock(), asyncio.Event(), asyncio.Event()

        async def play(socket: ServerConnection, _: int) -> None:
            await ready.wait()
            for text in (*sent, garbage):
                await socket.send(text)

        async with running(PolygonServer(after=play)) as server, serving([polygon(server, clock)], RECORDED, clock=clock) as bench:
            recorder = RecorderService(
                system="test", directory=tmp_path, clock=SystemClock(), bus=bench.bus, journal=bench.journal, tape=InProcessTape("test")
            )
            heard: list[Frame] = []
            await bench.bus.subscribe(SUBJECT.frames, lambda delivery: heard.extend(decode(delivery.payload, list[Frame])))
            recording = asyncio.create_task(recorder.run(ready.set, stop))
            await until(lambda: heard and heard[-1].payload == garbage.encode() and recorder.detail()["frame"] >= len(heard), 60)
            stop.set()
            await recording

    asyncio.run(scenario())
    kept = list(read_records(tmp_path, "frame"))
    assert [one.payload.decode() for one in kept][-6:] == [*sent, garbage]
    assert {one.subject for one in kept} <= {RECORDED.name, f"{RECORDED.name}-indices"}
    assert [one.seq for one in kept] == list(range(1, len(kept) + 1))
    assert all(one.at_ns >= IN_SESSION_NS for one in kept)
