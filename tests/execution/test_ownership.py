"""Whose account, whose services, whose orders: what must be ours before anything opens."""

from __future__ import annotations

import msgspec
import pytest

from tests.execution.desk import Desk, execution_slice
from tests.execution.venue import Running, Venue, opened
from tests.promises.waiting import run
from tradingsystem.domain.agreement import Peers
from tradingsystem.domain.control import Beat
from tradingsystem.domain.trading import LatchKind, TradingState
from tradingsystem.execution import inbox
from tradingsystem.messages.codec import encode
from tradingsystem.messages.identifiers import entry_id, exit_id, is_another_systems
from tradingsystem.spec.slices import ExecutionSlice


def beat(service: str, *, build: str = "b1", schema: int = 1, boot_hash: str = "h1") -> Beat:
    return Beat(service, "i", build, schema, boot_hash, 0, "ready", 0, {})


def with_account(number: str) -> ExecutionSlice:
    settings = execution_slice()
    broker = msgspec.structs.replace(settings.execution.broker, account_number=number)
    return msgspec.structs.replace(settings, execution=msgspec.structs.replace(settings.execution, broker=broker))


@pytest.mark.parametrize("other", [{"build": "b2"}, {"schema": 2}, {"boot_hash": "h2"}])
def test_services_of_two_builds_are_not_one_system(other: dict[str, object]) -> None:
    """Build, schema and boot configuration: each difference is named with who runs what; agreement is silence."""
    peers = Peers(("filter", "execution"))
    assert peers.problem() == "not heard yet: filter, execution"
    peers.hear(beat("filter"))
    peers.hear(beat("execution", **other))  # type: ignore[arg-type]
    assert next(iter(other)) in peers.problem()
    assert "filter" in peers.problem()
    peers.hear(beat("execution"))
    assert peers.problem() == ""
    peers.lose("filter")
    assert peers.problem() == "not heard yet: filter"


def test_nothing_opens_while_services_disagree_and_what_is_held_is_closed() -> None:
    """The Knight gate: entries are refused by name; protection and the flattening at the close go on."""
    desk = Desk()
    desk.quote("AAA", 99.98, 100.0)
    desk.signal("AAA")
    desk.advance(2)
    held = desk.state.held("AAA")
    assert held > 0
    desk.enter(inbox.PeersHeard(received_at_ns=desk.now_ns, problem="filter runs another build"))
    desk.quote("BBB", 49.99, 50.0)
    desk.signal("BBB")
    desk.advance(2)
    assert desk.state.held("BBB") == 0
    assert desk.state.statistics.refused["services-disagree"] == 1
    desk.to(desk.session.close_ns - 60 * 10**9)
    assert desk.state.held("AAA") == 0
    assert int(desk.ledger.position("AAA").quantity) == 0


def test_keys_of_another_account_latch() -> None:
    """An account that is not the one in the resource: halted, with both numbers, and again after a person cleared it without mending it."""
    desk = Desk(settings=with_account("PA3WRONG"))
    (latch,) = [one for one in desk.state.latches.values() if one.kind is LatchKind.ACCOUNT]
    assert "PA3WRONG" in latch.reason
    assert desk.state.account is not None
    assert desk.state.account.account_number in latch.reason
    assert desk.state.trading()[0] is TradingState.HALTED


def test_the_right_account_does_not_latch() -> None:
    """The number in the resource is the broker's."""
    account = Desk().state.account
    assert account is not None
    desk = Desk(settings=with_account(account.account_number))
    assert not desk.state.latches


def test_ids_of_another_system_are_known_as_such() -> None:
    """Ours and a stranger's are not; what a system of another name made is."""
    assert not is_another_systems("one", entry_id("one", "signal", "AAA", 1))
    assert is_another_systems("one", entry_id("two", "signal", "BRK.B", 2))
    assert is_another_systems("one", exit_id("two", "AAA", "epoch", "close", 3))
    assert not is_another_systems("one", "my-own-order-7")
    assert not is_another_systems("one", "61e69015-8549-4bfd-b9c3-01e75843f47d")


def test_another_system_on_the_account_latches() -> None:
    """Two systems on one dedicated account: the second finds the first's order and stays halted."""
    desk = Desk()
    body = {
        "symbol": "CCC",
        "qty": "5",
        "side": "buy",
        "type": "limit",
        "limit_price": "10.00",
        "time_in_force": "day",
        "client_order_id": entry_id("another", "signal", "CCC", 1),
    }
    desk.quote("CCC", 19.99, 20.0)
    desk.exchange.submit(body, desk.now_ns)
    desk.advance(40)
    assert [latch.kind for latch in desk.state.latches.values()] == [LatchKind.ACCOUNT]
    assert desk.state.trading()[0] is TradingState.HALTED


def test_more_entries_than_signals_halt() -> None:
    """A counter outside the strategy: an entry that no signal accounts for is not sent, and the system halts."""

    async def main() -> None:
        async with opened(Venue(speed=20.0)) as venue:
            venue.quote("AAA", 99.98, 100.0)
            running = Running(venue)
            await running.start()
            running.service._courier.signal_heard(-2)  # as if the strategy had acted on a signal that never was
            await venue.signal("AAA")
            await venue.until(lambda: running.service.state.trading()[0] is TradingState.HALTED)
            assert not venue.ledger.orders
            assert "out-versus-in" in running.service.state.trading()[1] or running.service.state.latches
            await running.stop()

    run(main())


def test_the_service_hears_its_peers_by_their_beats() -> None:
    """A service that was told of peers refuses until all were heard with one build, then trades."""

    async def main() -> None:
        async with opened(Venue(speed=20.0)) as venue:
            venue.quote("AAA", 99.98, 100.0)
            running = Running(venue, peers=("filter", "execution"))
            await running.start()
            venue.bus.publish(venue.subjects.beat("filter"), encode(beat("filter")))
            venue.bus.publish(venue.subjects.beat("execution"), encode(beat("execution", build="b2")))
            await venue.until(lambda: "disagree" in running.service.state.peers_problem)
            await venue.signal("AAA")
            await venue.until(lambda: running.service.state.statistics.refused.get("services-disagree", 0) == 1)
            venue.bus.publish(venue.subjects.beat("execution"), encode(beat("execution")))
            await venue.until(lambda: running.service.state.peers_problem == "")
            await venue.signal("AAA")
            await venue.until(lambda: venue.shares("AAA") > 0)
            await running.stop()

    run(main())
