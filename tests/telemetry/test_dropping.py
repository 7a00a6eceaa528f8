"""A message that is not what its subject promises is dropped, counted and logged; whatever else goes wrong is nobody's to hide."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from tradingsystem.domain.control import Beat
from tradingsystem.messages.codec import Malformed, decode
from tradingsystem.telemetry import metrics
from tradingsystem.telemetry.dropping import Dropping


def counted() -> float:
    return metrics.bus_malformed.labels(kind="beat")._value.get()


def test_it_is_dropped_counted_and_logged() -> None:
    """Nothing of the block after the reading happens, the caller learns it, and the log names kind, place and reason."""
    before, heard = counted(), []
    with capture_logs() as logs, Dropping(Malformed, "beat", seq=7) as beat:
        heard.append(decode(b"not a beat", Beat))
    assert heard == []
    assert beat.dropped
    assert counted() == before + 1
    assert [(entry["event"], entry["kind"], entry["seq"]) for entry in logs] == [("message_malformed", "beat", 7)]
    assert "not a Beat" in logs[0]["reason"]


def test_what_can_be_read_is_not_touched() -> None:
    """Neither counted nor dropped."""
    before = counted()
    with Dropping(Malformed, "beat") as beat:
        pass
    assert not beat.dropped
    assert counted() == before


def test_another_error_is_not_hidden() -> None:
    """A defect in what is done with a message ends the service, as everywhere."""
    before = counted()
    with pytest.raises(KeyError), Dropping(Malformed, "beat"):
        raise KeyError("a defect")
    assert counted() == before
