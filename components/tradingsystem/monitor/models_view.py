"""The models service's word in sentences: what serves, who is on trial and how far, what was taken back and why. Pure: the same in every place."""

from __future__ import annotations

from tradingsystem.domain.control import ModelsState
from tradingsystem.domain.time import new_york_clock, new_york_date

PHASES = {
    "Gate": "its evidence is being judged",
    "Probe": "it is being loaded and asked its golden vectors",
    "Shadow": "scored unheard",
    "Canary": "decides for a part of the symbols",
}
"""What a candidate goes through in each phase."""


def told(state: ModelsState) -> list[str]:
    """One sentence each; the first says what serves."""
    pinned = ", pinned" if state.pinned and state.pinned == state.serving else ""
    before = f"; a rollback goes to version {state.previous}" if state.previous and not state.pinned else ""
    found = [f"version {state.serving} serves{pinned}{before}"]
    if state.trial:
        found.append(f"version {state.trial} is on trial: {trial(state)}")
    if state.rolled_back:
        to = f" for version {state.rolled_back_to}" if state.rolled_back_to else ""
        found.append(f"version {state.rolled_back} was taken back{to}{_at(state.rolled_back_at_ns)}: {state.rolled_back_because}")
    return found


def problems(state: ModelsState) -> list[str]:
    """What a person should know, one sentence each. A candidate that was refused is none: nothing has changed by it."""
    drifted = state.drifted.get(str(state.serving))
    found = (
        [f"what version {state.serving} reads live is not what it was judged on: {drifted}; it serves on: a person decides"]
        if drifted
        else []
    )
    if not state.pinned or state.pinned == state.serving:
        return found
    why = state.refused.get(str(state.pinned), "it has not been looked at yet")
    return [*found, f"version {state.pinned} is pinned and does not serve: {why}; version {state.serving} does"]


def trial(state: ModelsState) -> str:
    """The phase of the candidate on trial, and how far it is; empty when nobody is."""
    if not state.trial:
        return ""
    words = f"{state.phase} ({PHASES.get(state.phase, 'unknown to this build')})"
    if state.phase_open_seconds_needed:
        words += f", {state.phase_open_seconds // 60} of {state.phase_open_seconds_needed // 60} minutes of open market"
    elif state.phase_since_ns:
        words += f"{_at(state.phase_since_ns).replace(' on', ', since', 1)}"
    return f"{words}, asked for by {state.trial_by}" if state.trial_by else words


def _at(at_ns: int) -> str:
    return f" on {new_york_date(at_ns):%d %b} at {new_york_clock(at_ns)}" if at_ns else ""
