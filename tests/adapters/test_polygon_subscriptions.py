"""The list of what is held follows the list of what is wanted, and the difference is known."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tradingsystem.adapters.polygon.subscriptions import CONFIRMATION_NS, PARAMS_PER_REQUEST, Request, Subscriptions


def test_requests_are_chunked_with_the_standing_first() -> None:
    """A long wish goes out in bounded messages, and what everything depends on goes first."""
    subscriptions = Subscriptions(["A.*"], ["T", "Q"])
    subscriptions.want(f"S{number}" for number in range(PARAMS_PER_REQUEST))
    requests = subscriptions.requests(0)
    assert [len(request.params) for request in requests] == [PARAMS_PER_REQUEST, PARAMS_PER_REQUEST, 1]
    assert requests[0].params[0] == "A.*"
    assert subscriptions.requests(1) == []


def test_what_is_never_confirmed_is_overdue() -> None:
    """Only params without a confirmation are overdue, and only after the time a server may take."""
    subscriptions = Subscriptions(["A.*", "LULD.*"], [])
    subscriptions.requests(0)
    assert subscriptions.told("subscribed to: A.*")
    assert not subscriptions.told("something else")
    assert subscriptions.overdue(CONFIRMATION_NS - 1) == ()
    assert subscriptions.overdue(CONFIRMATION_NS) == ("LULD.*",)


def test_a_new_connection_holds_nothing() -> None:
    """After a reconnect everything that is wanted is requested again."""
    subscriptions = Subscriptions(["A.*"], ["T"])
    subscriptions.want(["ABC"])
    before = subscriptions.requests(0)
    subscriptions.connected()
    assert subscriptions.requests(1) == before
    assert subscriptions.confirmed == 0


@given(st.lists(st.frozensets(st.sampled_from(["A", "B", "C", "D"])), max_size=8))
def test_a_server_that_obeys_ends_up_with_exactly_the_wish(wishes: list[frozenset[str]]) -> None:
    """Whatever the order of wishes, requests add up to the last one."""
    subscriptions, held = Subscriptions(["A.*"], ["T", "Q"]), set[str]()
    for at_ns, wish in enumerate(wishes):
        subscriptions.want(wish)
        for request in subscriptions.requests(at_ns):
            assert isinstance(request, Request)
            held = held | set(request.params) if request.action == "subscribe" else held - set(request.params)
    if wishes:
        assert held == {"A.*"} | {f"{channel}.{symbol}" for symbol in wishes[-1] for channel in "TQ"}
