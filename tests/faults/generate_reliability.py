"""Writes docs/reliability.md: every fault of the catalogue, what must happen, the test that proves it, and the recovery time a run has measured.

A fault without a test says "not tested yet"; a test that covers a part of a fault says which. Run by `make generate`; `make faults` and `make chaos`
measure. That each named test exists is itself a test: tests/faults/test_catalogue.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"
MEASURED = ROOT / "docs" / "reliability.json"
CHAOS = ROOT / "docs" / "chaos.json"
NOT_YET = "**not tested yet**"

SECRETS = "tests/faults/test_secrets.py"
TLS = "tests/faults/test_tls.py"
SERVER_TLS = "tests/faults/test_message_server_tls.py"
SERVERS = "tests/faults/test_message_servers.py"
SERVICES = "tests/faults/test_services.py"
JOURNAL = "tests/faults/test_journal.py"
NATS = "tests/promises/test_nats_faults.py"
EXECUTION = "tests/execution/test_faults.py"
FEWER = "tests/execution/test_fewer_shares.py"
SPLITS = "tests/execution/test_splits.py"
CARRIED = "tests/execution/test_carried.py"
AGES = "tests/execution/test_ages.py"
WRITER = "tests/execution/test_writer.py"
WIRE = "tests/execution/test_wire.py"
STREAM = "tests/adapters/test_alpaca_stream.py"
ANSWERS = "tests/adapters/test_alpaca_errors.py"
DAYS = "tests/world/test_world_days.py"
SWITCH = "tests/e2e/test_kill_switch.py"


@dataclass(frozen=True)
class Row:
    """One fault. ``tests`` are pytest node ids; ``missing`` is the part of it that no test reaches."""

    fault: str
    expectation: str
    tests: tuple[str, ...] = ()
    missing: str = ""


CATALOGUE = (
    Row(
        "Message server killed",
        "Intents are refused at once, nothing stale leaves later, trading goes on after heartbeat and reconciliation",
        (
            f"{SERVICES}::test_nats_server_killed",
            f"{NATS}::test_nothing_leaves_late",
            f"{NATS}::test_a_killed_server_s_tape_is_remembered_anew",
        ),
    ),
    Row(
        "Message server frozen, connection up",
        "An append says that nobody knows; the lease is won back; nothing is sent without it",
        (f"{SERVICES}::test_nats_server_frozen_for_ten_seconds", f"{NATS}::test_a_hanging_server_leaves_the_outcome_unknown"),
    ),
    Row(
        "Leader of three message servers lost, or a partition of them",
        "Two of three go on by themselves, nothing lost or doubled. The smaller side cannot write intents, so it sends nothing, and is fenced when healed",
        (
            f"{SERVERS}::test_the_leader_of_three_killed",
            f"{SERVERS}::test_two_of_three_gone",
            f"{SERVERS}::test_the_leader_cut_off_from_the_others",
        ),
    ),
    Row(
        "The journal lost, wholly",
        "State is built again from the broker; a new store halts outside Simulation",
        (f"{JOURNAL}::test_nats_data_wiped_between_two_runs", f"{NATS}::test_a_wiped_store_has_another_identity"),
    ),
    Row(
        "The journal lost, its last seconds",
        "Orders that it has forgotten are known by the broker's word, covered, and not sent again",
        (
            f"{JOURNAL}::test_the_journal_lost_its_last_seconds",
            "tests/world/test_journal_check.py::test_a_store_that_lost_its_last_seconds_is_known_by_the_recording",
        ),
    ),
    Row(
        "Read loop of the message client dead, connection up",
        "Missed echoes replace the client",
        (f"{NATS}::test_a_dead_read_loop_is_noticed_and_replaced",),
    ),
    Row(
        "Broker takes an order and answers 500 or 504, or never",
        "UNKNOWN: frozen, counted as filled, asked for by our id, never sent again",
        (
            f"{SERVICES}::test_post_whose_answer_never_comes",
            f"{WIRE}::test_a_broker_that_accepts_and_answers_504",
            f"{EXECUTION}::test_an_order_that_was_taken_without_an_answer",
            f"{EXECUTION}::test_an_order_that_never_arrived",
            f"{EXECUTION}::test_an_unknown_order_counts_as_filled",
        ),
    ),
    Row(
        "Broker answers 429",
        "Waits as long as it was told; a reserve is kept for exits",
        (f"{ANSWERS}::test_rate_limit_waits_as_told", f"{ANSWERS}::test_the_budget_keeps_a_reserve_for_exits"),
    ),
    Row(
        "Broker refuses: 403, 422, an id it knows",
        "A refusal with its reason is final; a known id is asked for, not given up; twenty within a minute halt",
        (
            f"{ANSWERS}::test_refusals",
            f"{EXECUTION}::test_a_duplicate_id_is_not_a_refusal",
            f"{EXECUTION}::test_a_refusal_of_one_bracket_is_a_refusal_of_both",
            "tests/execution/test_latch_scenarios.py::test_refusals_by_a_broker_that_takes_nothing",
        ),
    ),
    Row(
        "A trade update twice",
        "One execution counts once",
        (f"{STREAM}::test_a_repeated_execution_is_heard_once", "tests/execution/test_orders.py::test_fills_are_counted_once_in_any_order"),
    ),
    Row(
        "Trade updates out of order",
        "Filled shares only grow; a terminal order never comes back",
        (
            "tests/execution/test_orders.py::test_fills_are_counted_once_in_any_order",
            "tests/execution/test_orders.py::test_a_terminal_order_never_comes_back_by_an_event",
            f"{EXECUTION}::test_events_before_the_answer",
        ),
    ),
    Row(
        "Broker's sockets half open",
        "The missing pong ends the stream; a new one is made and the account compared",
        (f"{SERVICES}::test_broker_half_open",),
    ),
    Row(
        "Broker black-holed: nothing arrives, connections stand",
        "Noticed by the missing pong; nothing opens until the account was compared again",
        (f"{SERVICES}::test_broker_black_holed", f"{EXECUTION}::test_a_lost_connection_opens_nothing"),
    ),
    Row(
        "Market data out of order or late",
        "Older than the last is dropped and counted; too old never reaches a decision",
        (
            "tests/ingestion/test_validation.py::test_each_fault_has_its_reason",
            "tests/ingestion/test_validation.py::test_order_is_kept_per_symbol_and_kind",
            "tests/filter/test_step.py::test_a_stale_quote_is_no_quote",
        ),
    ),
    Row(
        "Crossed quotes, zero, negative, NaN, infinite, absurd numbers",
        "Refused with a reason before features; NaN passes no limit",
        (
            "tests/ingestion/test_validation.py::test_every_believed_row_is_finite_and_plausible",
            "tests/e2e/test_bad_venues.py::test_bad_market_data_is_counted_and_dropped",
            "tests/risk/test_gate.py::test_nothing_strange_is_approved",
        ),
    ),
    Row(
        "A price jumps tenfold",
        "A wild print is not believed until the market confirms it",
        (
            "tests/ingestion/test_validation.py::test_wild_prints_that_disagree_confirm_nothing",
            "tests/ingestion/test_validation.py::test_a_real_gap_in_price_is_believed_when_confirmed",
        ),
    ),
    Row(
        "A position is held over a split",
        "Announced, and the broker's shares say the same: shares, average price and stop are those after it at once, and the symbol's features begin anew. "
        "Only one of the two: the symbol is frozen, nothing is sold that is not there, a person decides",
        (
            f"{SPLITS}::test_announced_and_carried_out",
            f"{SPLITS}::test_an_announcement_alone_changes_nothing",
            f"{SPLITS}::test_shares_that_no_announcement_explains_are_a_persons",
            f"{SPLITS}::test_whoever_starts_again_knows_it",
            "tests/execution/test_wire.py::test_a_split_over_the_night",
            "tests/market/test_state.py::test_a_symbol_that_has_split_over_the_night_begins_as_a_new_one",
            f"{FEWER}::test_after_a_reverse_split_no_order_asks_for_shares_that_are_gone",
        ),
    ),
    Row(
        "A feed stops",
        "The mute connection is replaced; what is not fresh is not traded; all feeds for a minute: Reducing, for five: Halted",
        (
            "tests/adapters/test_polygon_client.py::test_a_mute_connection_is_left_and_replaced",
            "tests/ingestion/test_freshness.py::test_symbols_without_a_fresh_quote_are_named",
            "tests/filter/test_service.py::test_what_nobody_has_is_a_gap_that_stops_entries",
            f"{AGES}::test_one_fresh_feed_of_prices_is_enough",
            f"{AGES}::test_reducing_by_age_opens_nothing_and_closes_what_is_held",
            f"{AGES}::test_the_service_listens_and_looks",
            f"{DAYS}::test_who_must_speak_fails_and_comes_back",
        ),
    ),
    Row(
        "Clock jumps",
        "The tape does not turn; a leap that does not last is not followed, so no close is missed",
        (
            "tests/ingestion/test_sealing.py::test_a_clock_that_steps_back_does_not_turn_the_tape",
            f"{DAYS}::test_a_clock_that_leaps_by_an_hour_and_back",
            "tests/domain/test_steady_time.py::test_an_hour_for_some_seconds_changes_nothing",
            "tests/domain/test_steady_time.py::test_a_leap_that_lasts_is_believed",
            "tests/execution/test_clock_skew.py::test_a_clock_that_is_not_the_brokers_opens_nothing",
        ),
    ),
    Row(
        "This machine's clock is not the broker's",
        "Proven by the Date of its answers: an alarm, no entry beyond half a second, exits go on; set right, it trades again",
        (
            "tests/execution/test_clock_skew.py::test_a_clock_that_is_not_the_brokers_opens_nothing",
            "tests/adapters/test_clock_skew.py::test_never_more_than_is_there",
            "tests/adapters/test_clock_skew.py::test_several_quick_answers_prove_it_to_a_fifth_of_a_second",
            "tests/adapters/test_clock_skew.py::test_a_small_difference_that_was_mended_is_forgotten_in_time",
            f"{DAYS}::test_who_must_speak_fails_and_comes_back",
        ),
    ),
    Row(
        "Disk of the journal full",
        "No journal line, no order; what is held stays under its stops",
        (
            f"{JOURNAL}::test_disk_of_nats_full",
            f"{JOURNAL}::test_the_disk_is_told_before_it_is_full",
            "tests/monitor/test_view.py::test_what_fills_is_told_before_it_is_full",
        ),
    ),
    Row(
        "One flipped bit or a torn line in the journal",
        "Named by place, in the store and in the recording",
        (
            "tests/world/test_journal_check.py::test_one_flipped_byte_in_the_store_is_named",
            "tests/world/test_journal_check.py::test_one_flipped_byte_in_the_recording_is_named",
            "tests/world/test_journal_check.py::test_a_torn_store_is_named",
            "tests/domain/test_seals.py::test_whatever_is_done_to_an_entry_names_it",
        ),
    ),
    Row(
        "Model file damaged, of another schema, or by another hand",
        "Not loaded; the next that verifies serves",
        (
            "tests/bundles/test_bundle.py::test_one_flipped_bit_is_found",
            "tests/models/test_store.py::test_a_damaged_version_is_refused_and_the_next_serves",
            "tests/models/test_store.py::test_other_features_are_refused",
        ),
    ),
    Row(
        "A model answers NaN or nonsense",
        "What is no probability is never used",
        ("tests/ensemble/test_blend.py::test_what_is_not_a_probability_is_never_used",),
    ),
    Row(
        "Inference too slow",
        "A late answer has no signals; the next cut speaks",
        (
            "tests/filter/test_service.py::test_a_late_model_has_no_signals_and_the_next_cut_speaks",
            "tests/adapters/test_triton.py::test_a_killed_server_costs_one_deadline_and_comes_back_with_its_versions",
            "tests/adapters/test_fallback.py::test_only_failures_in_a_row_open_it",
        ),
    ),
    Row(
        "A GPU node drained",
        "Orders stay managed, inference moves into the filter's process and back",
        (
            "tests/operator/test_triton_pod.py::test_triton_answers_the_cuts_and_nobody_waits_for_it",
            "tests/operator/test_status.py::test_a_bundle_that_serves_in_process_while_triton_is_not_ready_is_said_so",
            "tests/kubernetes/test_5_placement.py::test_no_such_gpu_is_said_with_its_reason",
        ),
        "the drain of a real node",
    ),
    Row(
        "Any process killed",
        "It comes back and reconciles; one order per intent",
        (
            "tests/e2e/test_kill.py::test_every_service_can_be_killed_in_one_day",
            f"{WIRE}::test_killed_three_times_on_the_real_journal",
            f"{EXECUTION}::test_a_crash_with_everything_in_flight",
        ),
    ),
    Row(
        "Execution frozen for less than its lease",
        "It goes on as the same process",
        (f"{SERVICES}::test_execution_frozen_for_five_seconds",),
    ),
    Row(
        "Two executions alive, one frozen and thawed",
        "The fence refuses the old one, which ends; the other takes over its orders",
        (
            "tests/e2e/test_one_writer.py::test_two_forced_alive_write_one_after_the_other",
            f"{WRITER}::test_who_was_replaced_can_write_nothing",
            f"{WRITER}::test_who_finds_another_owner_stops",
        ),
    ),
    Row(
        "Operator killed in the middle of its work",
        "The next start converges, no trading pod is restarted",
        (
            "tests/kubernetes/test_1_a_session_with_repairs.py::test_an_operator_killed_mid_apply_restarts_nothing",
            "tests/operator/test_reconcile.py::test_killed_again_and_again_it_converges_to_one_revision",
        ),
    ),
    Row(
        "Kubernetes API, or the operator, away for long",
        "Pods trade on and the kill switch works; after 15 minutes Reducing, after an hour Halted, and back by itself",
        (
            "tests/kubernetes/test_1_a_session_with_repairs.py::test_without_an_api_server_pods_trade_on",
            f"{AGES}::test_a_silence_is_told_once_at_each_step_and_once_when_it_ends",
            f"{AGES}::test_reducing_by_age_opens_nothing_and_closes_what_is_held",
            f"{AGES}::test_halted_by_age_cancels_open_entries_and_ends_by_itself",
            f"{AGES}::test_the_service_listens_and_looks",
            f"{DAYS}::test_who_must_speak_fails_and_comes_back",
            "tests/operator/test_control.py::test_execution_hears_that_the_resource_stands",
            "tests/operator/test_running_system.py::test_execution_is_told_of_the_resource_as_long_as_it_is_read",
        ),
        "the quarter of an hour on real pods",
    ),
    Row(
        "An invalid edit of the resource",
        "Refused with every mistake at once; the last good one stays",
        (
            "tests/e2e/test_bad_input.py::test_ten_mistakes_are_told_at_once",
            "tests/operator/test_resource.py::test_case_beyond_the_border_is_refused_with_field_and_remedy",
            "tests/operator/test_resource.py::test_wrong_shape_is_refused_by_both",
        ),
    ),
    Row(
        "A live limit that is negative, no number or absurd",
        "Refused and named; the last good settings stay in force",
        ("tests/execution/test_live_limits.py::test_a_bad_limit_never_reaches_a_running_gate", f"{SWITCH}::test_by_the_manifest"),
    ),
    Row(
        "A secret missing or wrong",
        "Named by its key, never printed; nothing runs",
        (
            f"{SECRETS}::test_a_first_key_that_is_missing_is_an_error_at_the_start",
            "tests/e2e/test_bad_input.py::test_missing_keys_are_named_before_anything_runs",
            "tests/e2e/test_bad_input.py::test_a_wrong_key_is_named_and_never_printed",
        ),
    ),
    Row(
        "A secret exchanged while running",
        "Used within seconds, without a restart; one that is wrong is named, never printed, and mended the same way",
        (
            f"{SECRETS}::test_an_exchanged_key_is_used_without_a_restart",
            f"{SECRETS}::test_an_exchanged_key_is_seen_in_time",
            f"{SECRETS}::test_a_key_in_the_middle_of_its_exchange_serves_on",
        ),
    ),
    Row(
        "A slow reader",
        "Disconnected by the venue, a loss that is told and filled; a busy loop is not taken for deaf",
        (
            "tests/simulator/test_faults.py::test_a_slow_reader_is_disconnected",
            "tests/filter/test_service.py::test_what_the_bus_lost_is_fetched_from_the_tape",
            f"{NATS}::test_a_busy_loop_is_not_deafness",
        ),
    ),
    Row(
        "Kill switch, then everything restarted, then the store wiped",
        "Still halted until a person resumes",
        (
            f"{SWITCH}::test_by_the_manifest",
            f"{SWITCH}::test_by_command",
            f"{SWITCH}::test_by_a_plain_message",
            f"{SWITCH}::test_by_a_file",
            f"{SWITCH}::test_at_the_broker",
            f"{SWITCH}::test_the_watcher",
            f"{SWITCH}::test_halted_after_the_store_is_wiped",
        ),
    ),
    Row(
        "Services of different builds",
        "Nothing opens until all agree",
        (
            "tests/faults/test_rolling_update.py::test_nothing_opens_until_all_are_of_one_build",
            "tests/execution/test_ownership.py::test_the_service_hears_its_peers_by_their_beats",
            "tests/monitor/test_view.py::test_disagreement_is_named_with_both_sides",
        ),
    ),
    Row(
        "Redis gone",
        "An empty cache, no change in decisions",
        ("tests/promises/test_caches.py::test_a_redis_that_is_not_there_is_an_empty_cache",),
    ),
    Row(
        "DNS fails, TLS broken or expired",
        "Refused and named; a write is known not to have been sent; an alarm of its own two weeks before a venue's certificate ends",
        (
            f"{TLS}::test_a_bad_certificate_is_refused_and_a_short_one_told",
            f"{TLS}::test_the_end_of_a_certificate_is_told_two_weeks_ahead",
            f"{TLS}::test_a_name_that_does_not_resolve_is_an_address_that_cannot_be_reached",
        ),
    ),
    Row(
        "TLS towards the message server broken, expired or left out",
        "Refused and named; where TLS was asked for, a server without it is told neither name nor password",
        (
            f"{SERVER_TLS}::test_the_right_certificate_is_spoken_to",
            f"{SERVER_TLS}::test_a_bad_certificate_is_refused_and_named",
            f"{SERVER_TLS}::test_a_server_in_clear_is_told_nothing",
            f"{SERVER_TLS}::test_a_real_server_without_tls_is_refused_where_it_was_asked",
            f"{SERVER_TLS}::test_authorities_that_cannot_be_read_are_named",
            f"{SERVER_TLS}::test_one_of_several_addresses_is_enough",
        ),
    ),
    Row("A flood of signals", "Repeated executions latch until a person clears them", (f"{EXECUTION}::test_a_loop_latches",)),
    Row("Half-days, holidays, a change of clocks", "Flat before that day's close", (f"{EXECUTION}::test_half_days_are_short",)),
    Row(
        "What is held cannot be sold before the close: halted symbol, dead broker",
        "A stop that outlives the session, the latch CARRIED, and over the night; at the next open it is closed before anything else",
        (
            f"{CARRIED}::test_a_resting_stop_and_the_latch",
            f"{CARRIED}::test_it_is_the_first_act_of_the_next_session",
            f"{CARRIED}::test_a_person_lets_it_go_on",
            f"{CARRIED}::test_a_crash_in_the_night_changes_nothing",
            "tests/execution/test_latch_scenarios.py::test_carried_by_a_halt_over_the_close",
        ),
    ),
    Row(
        "A canary promotes a worse model",
        "Refused, or taken back by its live losses; one command goes back",
        (
            "tests/bundles/test_gate.py::test_worthless_candidates_rarely_pass",
            "tests/bundles/test_gate.py::test_evidence_against_another_champion_is_outdated",
            "tests/models/test_promotion.py::test_what_is_seen_live_ends_a_trial",
            "tests/models/test_promotion.py::test_a_better_candidate_comes_to_serve_and_is_taken_back_when_it_turns_bad",
            "tests/e2e/test_challenger.py::test_every_step_is_in_the_journal_with_its_reason",
        ),
    ),
)


def measured() -> dict[str, dict[str, Any]]:
    """Recovery times by test, as the last measuring run left them."""
    return json.loads(MEASURED.read_text()) if MEASURED.exists() else {}


def line(row: Row, known: dict[str, dict[str, Any]]) -> str:
    """One row of the table."""
    tests = "<br>".join(f"`{test}`" for test in row.tests) or NOT_YET
    if row.missing:
        tests += f"<br>{NOT_YET}: {row.missing}"
    times = [f"{known[test]['seconds']:.1f} s" for test in row.tests if test in known]
    return f"| {row.fault} | {row.expectation} | {tests} | {', '.join(times) or '-'} |"


def chaos() -> str:
    """What the last kept run found (`make chaos JSON=docs/chaos.json`); nothing when there is none."""
    if not CHAOS.exists():
        return ""
    found = json.loads(CHAOS.read_text())
    words = "no finding" if not found["findings"] else f"{len(found['findings'])} findings"
    head = (
        f"## Killed at random\n\n`make chaos KILLS={found['kills']} SEED={found['seed']}` on {found['machine']}, {found['date']}: {found['kills']} kills in "
        f"{found['days']} days, {found['in_flight']} of them with an entry in flight, {found['orders']} orders, {words}. A killed process is back and the "
        f"account compared after {found['p50_seconds']:.1f} s (median), {found['max_seconds']:.1f} s at most. A service that falls again before it has worked "
        "for three seconds is started after growing pauses.\n\n| victim | kills | median | longest | with an entry in flight |\n"
        "| --- | --- | --- | --- | --- |\n"
    )
    return head + "".join(
        f"| {row['victim']} | {row['kills']} | {row['p50_seconds']:.1f} s | {row['max_seconds']:.1f} s | {row['in_flight']} |\n"
        for row in found["victims"]
    )


def page() -> str:
    """The whole page."""
    known = measured()
    where = sorted({f"{each['machine']}, {each['date']}" for each in known.values()})
    parts = [
        "<!-- Generated by tests/faults/generate_reliability.py: do not edit. -->",
        "# Reliability",
        "What can go wrong, what must happen then, and the test that makes it go wrong. Tests on real processes ask the broker's side - the simulator's "
        "ledger, or the [wire auditor](../tests/audit/audit.py), which shares no code with the product - whether an id was accepted twice, a limit passed, "
        "a share left uncovered or a position left over. Where a test reaches only a part of its fault, the rest is named as not tested.",
        "The recovery time is from the fault, or from its end where it has one, until every process is ready and the account has been compared; for the kill "
        "switch, by test, until resting entries of ours are cancelled by the broker's word. Measured by "
        f"`make faults` on: {'; '.join(where) or 'nothing yet'}. Where others use the machine at the same time, as they did, times are upper bounds.",
        "\n".join(
            ["| fault | expectation | test | recovery |", "| --- | --- | --- | --- |", *(line(row, known) for row in CATALOGUE)],
        ),
        chaos(),
    ]
    return "\n\n".join(part for part in parts if part).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
