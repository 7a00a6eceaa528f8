"""Who executes, and when positions are opened and closed. Long only; every position is flat before that day's close."""

import enum
from typing import Annotated

from msgspec import Meta

from tradingsystem.domain.trading import TradingState
from tradingsystem.spec.section import BasisPointsAboveZero, Minutes, MoneyAboveZero, PercentAboveZero, SecretRef, Section, about, keyed_by


class BrokerType(enum.StrEnum):
    """Which broker adapter carries orders."""

    ALPACA = "Alpaca"


class Account(enum.StrEnum):
    """Dedicated: every position in the account is ours, anything else is a mismatch. Shared: foreign positions are left alone."""

    DEDICATED = "Dedicated"
    SHARED = "Shared"


class Trading(Section, frozen=True, kw_only=True):
    """The wish of the person in charge, applied while running."""

    state: Annotated[
        TradingState,
        about(
            "Active opens and closes; Reducing only closes; Halted sends nothing but protection. Active: Paper and Live start Halted by latch anyway."
        ),
    ] = TradingState.ACTIVE


class Broker(Section, frozen=True, kw_only=True):
    """The broker and which account of it."""

    type: Annotated[BrokerType, about("Which adapter carries orders.")] = BrokerType.ALPACA
    secret_ref: Annotated[SecretRef, about("Its keys (`apiKey`, `apiSecret`). Not read in Simulation; Live needs one of its own.")] = (
        SecretRef(name="alpaca")
    )
    watcher_secret_ref: Annotated[
        SecretRef,
        about(
            "Keys of the dead-man watcher, which only cancels, where the broker gives out a second pair. Empty: the same as `secretRef`."
        ),
    ] = SecretRef()
    account_number: Annotated[
        str,
        Meta(max_length=32, pattern="^[A-Za-z0-9]*$"),
        about("The account the keys must lead to; trading refuses any other. Needed in Live, where the wrong account costs money."),
    ] = ""


class TakeProfit(Section, frozen=True, kw_only=True):
    """One target: how far, and how much of the position leaves there."""

    at_basis_points: Annotated[BasisPointsAboveZero, about("Distance above the entry.")]
    share_percent: Annotated[PercentAboveZero, about("Part of the position that is sold there, percent.")]


class EntryWindow(Section, frozen=True, kw_only=True):
    """When entries are allowed, counted from that day's real open and close."""

    after_open_minutes: Annotated[
        Minutes, about("Minutes after the open before the first entry. 5: opening prints are over and volume ratios mean something.")
    ] = 5
    before_close_minutes: Annotated[Minutes, about("Minutes before the close of the last entry. 30: the horizon p is defined on.")] = 30


FOUNDING_TARGETS = (TakeProfit(at_basis_points=50, share_percent=50), TakeProfit(at_basis_points=100, share_percent=50))


class Execution(Section, frozen=True, kw_only=True):
    """Broker, capital, stops, targets and hours."""

    broker: Annotated[Broker, about("The broker.")] = Broker()
    account: Annotated[
        Account,
        about("Dedicated: reconciliation may demand that the broker's positions are ours, all of them; so it is the default."),
    ] = Account.DEDICATED
    initial_capital: Annotated[
        MoneyAboveZero,
        about("Capital sizing starts from, account currency; more in the account is not used. 50,000: the founding capital."),
    ] = 50_000
    stop_loss_basis_points: Annotated[
        BasisPointsAboveZero, about("Distance of the stop below the entry. 50: the founding stop of 0.5 %.")
    ] = 50
    take_profits: Annotated[
        tuple[TakeProfit, ...],
        Meta(min_length=1, max_length=2),
        keyed_by("atBasisPoints"),
        about("Targets, nearest first; one bracket order each. Founding: half at 0.5 %, half at 1 %."),
    ] = FOUNDING_TARGETS
    entry_window: Annotated[EntryWindow, about("When entries are allowed.")] = EntryWindow()
    watcher_silence_seconds: Annotated[
        Annotated[int, Meta(ge=2, le=300)],
        about(
            "Seconds of machine time without a heartbeat of execution after which the watcher cancels entries that have not filled. "
            "5: longer than a busy moment, and a killed execution is back sooner."
        ),
    ] = 5
    flatten_before_close_minutes: Annotated[
        Annotated[int, Meta(ge=1, le=390)],
        about("Minutes before that day's real close at which everything is closed; half-days are short. 15: the founding 15:45."),
    ] = 15
