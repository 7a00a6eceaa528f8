"""What models says, in sentences: what serves, who is on trial and how far, what was taken back; and what of it a person must act on."""

from __future__ import annotations

import msgspec

from tradingsystem.domain.control import ModelsState
from tradingsystem.monitor.models_view import problems, told

AT_NS = 1_772_461_800_000_000_000  # 2 March 2026, 09:30 in New York
STATE = ModelsState(serving=3, pinned=0, generation=1, refused={"4": "NotBetter: it is not"}, previous=2)


def test_a_quiet_system_has_one_sentence_and_no_problem() -> None:
    """A refused candidate has changed nothing, so nobody needs to act."""
    assert told(STATE) == ["version 3 serves; a rollback goes to version 2"]
    assert problems(STATE) == []


def test_a_trial_says_its_phase_and_how_far_it_is() -> None:
    """In minutes of open market where the phase takes them, else since when; and who asked for it."""
    shadow = msgspec.structs.replace(STATE, trial=5, phase="Shadow", phase_open_seconds=1_259, phase_open_seconds_needed=3_600)
    assert told(shadow)[1] == "version 5 is on trial: Shadow (scored unheard), 20 of 60 minutes of open market"
    probe = msgspec.structs.replace(STATE, trial=5, phase="Probe", phase_since_ns=AT_NS, trial_by="ada: drill")
    assert told(probe)[1].endswith("its golden vectors), since 02 Mar at 09:30:00, asked for by ada: drill")


def test_a_rollback_is_remembered_with_its_reason() -> None:
    """Which, for which, when, why."""
    back = msgspec.structs.replace(
        STATE, previous=0, rolled_back=4, rolled_back_to=3, rolled_back_at_ns=AT_NS, rolled_back_because="LiveLoss: evidence 900 to 1"
    )
    assert told(back) == ["version 3 serves", "version 4 was taken back for version 3 on 02 Mar at 09:30:00: LiveLoss: evidence 900 to 1"]


def test_a_pin_that_does_not_serve_is_a_problem() -> None:
    """The settings ask for what cannot be: a person decides."""
    assert "pinned" in told(msgspec.structs.replace(STATE, pinned=3))[0]
    refused = msgspec.structs.replace(STATE, pinned=9, refused={"9": "VersionNotFound: no such version"})
    assert problems(refused) == ["version 9 is pinned and does not serve: VersionNotFound: no such version; version 3 does"]
    assert "not been looked at" in problems(msgspec.structs.replace(STATE, pinned=9))[0]
