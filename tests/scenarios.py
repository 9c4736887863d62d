"""The scenarios that watcherd must stand, and the tests that show it; writes tests/SCENARIOS.md.

`python tests/scenarios.py` writes the page. `--check` fails when a scenario has no test, when a
test that is named here does not exist, or when the page is not what this table says.
"""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS / "SCENARIOS.md"

HEAD = """\
# Scenarios

What watcherd must stand, and the tests that show it. Written by `python tests/scenarios.py` from the table in that
file; `make check` fails when a scenario has no test. Tests marked slow are run by `make test-slow`.
"""

CALLS = "behaviour/test_calls.py"
CHECKS = "behaviour/test_checks.py"
CLIENTS = "e2e/test_clients.py"
DELETIONS = "behaviour/test_deletions.py"
EDITORS = "behaviour/test_editors.py"
WATCHER = "unit/watch/test_watcher.py"
DIRECTORY = "unit/test_directory.py"
EXAMPLES = "behaviour/test_examples.py"
FAULTS = "e2e/test_faults.py"
FLOWS = "behaviour/test_flows.py"
HANDLERS = "behaviour/test_handlers.py"
INVARIANTS = "behaviour/test_invariants.py"
LEAKS = "behaviour/test_leaks.py"
LOOKS = "behaviour/test_looks.py"
LIFE = "e2e/test_life.py"
READING = "unit/pim/test_reading.py"
RELOADS = "behaviour/test_reloads.py"
SERVICE = "e2e/test_service.py"
STREAMS = "behaviour/test_streams.py"
STOPPING = "e2e/test_stopping.py"
TRAFFIC = "e2e/test_traffic.py"
WATCHING = "e2e/test_watching.py"
WAVES = "e2e/test_waves.py"
WORKERS = "e2e/test_workers.py"
ACROSS = "behaviour/test_connections_across_swaps.py"
OTHERS = "e2e/test_others.py"
PLACE = "unit/store/test_place.py"

SCENARIOS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "Editors": {
        **dict.fromkeys(
            (
                "rename-over",
                "truncate-and-write",
                "vim (backup, `4913`, rename)",
                "emacs lock links",
                "delete-and-create",
                "`cp`",
                "`rsync -a` with an old mtime",
            ),
            (f"{EDITORS}::test_a_save_is_one_change_and_never_a_removal",),
        ),
        "`git checkout` of ten files": (f"{EDITORS}::test_a_git_checkout_of_ten_files_is_one_change_set",),
        "slow writes of two seconds": (
            f"{EDITORS}::test_a_slow_write_of_two_seconds_is_always_marked_and_holds_up_nobody",
            f"{RELOADS}::test_a_reconcile_in_the_middle_of_a_slow_write_evicts_nothing",
        ),
        "`..data` swap": (
            f"{EDITORS}::test_a_swap_of_a_configmap_is_one_change_of_the_visible_names",
            f"{WATCHING}::test_files_that_are_swapped_together_as_a_config_map_become_one_swap",
        ),
        "edit of a symlink's target": (f"{EDITORS}::test_an_edit_of_a_symlinks_target_is_a_change_of_the_symlink",),
        "root deleted and made again": (
            f"{EDITORS}::test_a_root_deleted_and_made_again_keeps_its_models_until_it_is_back",
        ),
        "root renamed": (
            f"{EDITORS}::test_a_root_renamed_and_replaced_is_watched_in_its_new_shape",
            f"{EDITORS}::test_a_root_renamed_and_renamed_back_is_watched_again",
        ),
    },
    "Content": {
        "each diagnostic": (
            "unit/pim/test_codes.py::test_each_mistake_is_the_only_finding_and_is_found_where_the_mark_stands",
            "unit/pim/test_codes.py::test_every_code_is_either_caused_here_or_belongs_to_someone_else",
        ),
        "invalid UTF-8": ("unit/pim/test_codes.py::test_bytes_that_are_no_text_are_found_at_the_first_of_them",),
        "BOM": (f"{READING}::test_a_byte_order_mark_and_the_kind_of_line_break_change_nothing",),
        "CRLF": (f"{READING}::test_a_byte_order_mark_and_the_kind_of_line_break_change_nothing",),
        "empty": (
            "unit/watch/test_settling.py::test_an_empty_file_counts_only_after_two_hundred_milliseconds",
            "unit/pim/test_codes.py::test_each_mistake_is_the_only_finding_and_is_found_where_the_mark_stands",
        ),
        "FIFO in place of a file": (
            f"{DIRECTORY}::test_a_named_pipe_is_listed_and_blocks_nobody",
            f"{WATCHING}::test_bad_files_beside_good_ones_are_each_listed_and_the_watcher_lives_on",
        ),
        "unreadable file": (f"{DIRECTORY}::test_an_unreadable_file_is_listed_with_the_reason",),
        "100 MB file": (
            f"{CLIENTS}::test_a_file_of_a_hundred_megabytes_is_refused_unread_and_the_last_good_revision_serves",
            f"{READING}::test_a_file_of_a_hundred_megabytes_is_refused_by_its_size_alone",
        ),
        "alias bomb": (f"{READING}::test_an_alias_bomb_ends_at_the_bound",),
        "nesting of 500": (f"{READING}::test_deep_nesting_ends_at_the_bound_and_not_in_a_crash",),
        "duplicate keys": (
            "unit/pim/test_codes.py::test_each_mistake_is_the_only_finding_and_is_found_where_the_mark_stands",
        ),
    },
    "Races": {
        "two files, one domain; the owner deleted": (
            f"{RELOADS}::test_of_two_files_of_one_domain_the_first_stays_and_the_other_is_listed_with_its_name",
            f"{RELOADS}::test_when_the_owner_is_deleted_the_other_file_takes_over_in_the_same_reload",
        ),
        "rename of the file with the same domain": (
            f"{EDITORS}::test_a_rename_of_a_model_is_one_change_set",
            f"{WATCHING}::test_a_renamed_file_keeps_its_model_in_service_without_a_swap",
        ),
        "1,000 saves in a burst (the last wins)": (
            f"{EDITORS}::test_a_thousand_saves_in_a_burst_are_few_changes_and_the_last_one_wins",
            f"{WATCHING}::test_of_many_saves_in_a_burst_the_last_one_wins_with_far_fewer_builds",
        ),
        "a reload while a reload runs": (f"{RELOADS}::test_reloads_that_are_asked_for_at_once_follow_one_another",),
        "a save, a removal, a rename or an order in the middle of a look at the whole directory": (
            f"{LOOKS}::test_a_save_in_the_middle_of_a_look_is_live_at_once_and_stays_so",
            f"{LOOKS}::test_what_came_went_or_moved_in_the_middle_of_a_look_stays_so",
            f"{LOOKS}::test_what_an_administrator_does_in_the_middle_of_a_look_stays_so",
            f"{LOOKS}::test_what_is_changing_while_nobody_hears_of_it_is_left_to_be_looked_at_again",
        ),
        "SIGTERM, SIGHUP and SIGKILL at every step of a reload": (
            f"{FAULTS}::test_a_fault_at_any_step_of_a_reload_or_drain_leads_to_the_same_state",
        ),
        "SIGTERM, SIGHUP and SIGKILL at every step of a start": (
            f"{FAULTS}::test_a_signal_at_any_step_of_a_start_is_safe",
        ),
        "SIGTERM, SIGHUP, SIGKILL and a failing database between two waves of a start": (
            f"{WAVES}::test_a_stop_in_the_middle_of_a_start_lets_requests_finish",
            f"{WAVES}::test_a_hang_up_in_the_middle_of_a_start_is_waited_with",
            f"{WAVES}::test_a_kill_in_the_middle_of_a_start_loses_nothing",
            f"{WAVES}::test_a_database_that_fails_in_the_middle_of_a_start_is_tried_again_while_what_serves_does",
        ),
        "files saved, deleted and renamed during a start": (
            f"{WAVES}::test_files_that_are_saved_deleted_or_renamed_during_a_start_serve_as_they_are_after_it",
            "behaviour/test_waves.py::test_what_happens_to_files_during_a_start_is_found_by_the_look_after_it",
        ),
        "a failure at every step of a reload": (
            f"{INVARIANTS}::test_4_a_reload_that_fails_changes_nothing_and_the_next_one_works",
            f"{INVARIANTS}::test_4_a_failure_about_one_model_refuses_that_file_and_its_last_good_revision_serves",
            f"{INVARIANTS}::test_4_a_reload_that_is_abandoned_in_the_middle_frees_the_lock",
        ),
    },
    "Traffic": {
        "requests in flight across a swap": (
            f"{LIFE}::test_a_half_sent_request_is_answered_by_the_old_revision_after_a_swap",
            f"{TRAFFIC}::test_no_request_fails_through_a_hundred_reloads_of_a_model_and_its_neighbours",
        ),
        "requests sent ahead of their answers across a swap": (
            f"{TRAFFIC}::test_requests_that_are_sent_ahead_are_answered_in_order_each_by_one_revision",
            f"{ACROSS}::test_a_half_sent_body_ends_where_it_began_and_what_waits_behind_it_sees_the_new_revision",
            f"{ACROSS}::test_what_stands_behind_a_request_that_closes_is_not_answered",
        ),
        "a half-sent head across a swap": (f"{ACROSS}::test_a_half_sent_head_is_answered_by_what_serves_when_it_ends",),
        "requests in flight across a removal": (
            f"{CLIENTS}::test_a_request_in_flight_finishes_on_a_model_that_was_removed",
        ),
        "requests in flight across a deadline": (
            f"{CLIENTS}::test_a_request_that_stands_still_on_a_retired_revision_is_cut_and_told_so",
        ),
        "a half-sent body": (
            f"{LIFE}::test_a_half_sent_request_is_answered_by_the_old_revision_after_a_swap",
            f"{LIFE}::test_a_request_over_the_graceful_time_is_cut_named_and_makes_the_exit_status_1",
        ),
        "a slow reader": (
            f"{CLIENTS}::test_a_slow_reader_neither_holds_its_old_revision_nor_anybody_else",
            f"{STOPPING}::test_a_client_that_never_reads_a_big_answer_holds_nothing_for_long",
        ),
        "a client that disconnects": (
            f"{CLIENTS}::test_a_client_that_disconnects_in_the_middle_lets_its_revision_go",
            "unit/test_gateway.py::test_a_client_that_goes_away_leaves_the_revision",
        ),
        "streams of unrelated models": (
            f"{STREAMS}::test_a_swap_ends_the_streams_of_its_model_at_once_and_no_others",
            f"{STREAMS}::test_who_comes_back_after_a_swap_has_missed_nothing_that_the_new_revision_shows",
        ),
        "more traffic than can be served": (
            "e2e/test_limits.py::test_four_times_what_is_let_in_is_shed_while_health_and_admin_answer_and_it_recovers",
        ),
        "slow and oversized heads and bodies": (
            "e2e/test_limits.py::test_each_limit_is_a_setting_and_its_refusal_a_problem",
            "unit/test_connection.py::test_a_head_that_does_not_end_is_a_timeout",
        ),
        "keep-alive connections": (
            f"{LIFE}::test_a_half_sent_request_is_answered_by_the_old_revision_after_a_swap",
            f"{STOPPING}::test_a_keep_alive_connection_that_is_idle_is_closed_and_holds_nothing",
        ),
        "`/openapi.json` fetched in the middle": (
            f"{INVARIANTS}::test_8_the_document_is_of_one_generation_and_says_which",
        ),
    },
    "Scale": {
        "a huge model, or thousands of others, beside a small one at a start": (
            "behaviour/test_waves.py::test_a_small_model_serves_before_a_large_one_is_built_and_all_that_is_said_is_true",
            f"{WAVES}::test_small_models_serve_in_the_middle_of_a_start_and_it_says_how_far_it_is",
            "unit/test_waves.py::test_the_waves_of_a_long_start_grow_so_that_there_are_few",
        ),
        "1,000 models loaded, one changed": (
            "behaviour/test_scale.py::test_of_a_thousand_models_the_one_that_changed_is_built_and_swapped_alone",
        ),
        "10,000 swaps with flat memory, threads, descriptors, tasks": (
            "e2e/test_soak.py::test_after_ten_thousand_swaps_under_traffic_the_process_is_what_it_was",
            f"{LEAKS}::test_11_reloads_leave_memory_threads_descriptors_and_tasks_as_they_were",
        ),
        "retired revisions collectable": (
            f"{LEAKS}::test_11_a_retired_revision_is_collected_with_all_that_it_was_made_of",
            f"{LEAKS}::test_11_a_retired_revision_lives_as_long_as_a_request_on_it_and_no_longer",
            "unit/test_drain.py::test_nothing_holds_a_drained_revision",
        ),
        "random file edits against a model of what must be served": ("behaviour/test_state_machine.py::TestEdits",),
    },
    "Services": {
        "a flow across a swap": (
            f"{FLOWS}::test_a_flow_that_waits_for_a_row_across_a_reload_ends_as_the_revision_that_began_it",
            f"{CALLS}::test_a_flow_that_is_held_open_across_a_reload_ends_as_the_revision_that_began_it",
        ),
        "fifty calls at once for a stock of ten": (
            f"{FLOWS}::test_fifty_orders_at_once_sell_the_stock_of_ten_and_nothing_by_halves",
            f"{HANDLERS}::test_fifty_orders_at_once_sell_the_stock_of_ten_exactly",
        ),
        "a flow or a handler that does not end": (
            f"{FLOWS}::test_a_flow_that_goes_round_for_ever_is_given_up_and_undone",
            f"{HANDLERS}::test_a_handler_that_takes_too_long_is_503_and_nothing_is_written",
            f"{HANDLERS}::test_a_handler_that_keeps_others_from_writing_is_taken_back",
            f"{CALLS}::test_methods_that_call_each_other_without_an_end_are_given_up_and_undone",
            f"{CALLS}::test_a_flow_waits_for_a_handler_no_longer_than_a_call_may_take",
        ),
        "an edit of a handler": (
            f"{HANDLERS}::test_a_request_in_flight_keeps_its_code_and_after_it_the_copy_is_gone",
            f"{HANDLERS}::test_two_edits_of_equal_size_within_a_second_run_the_last_one",
            f"{HANDLERS}::test_code_that_is_edited_under_traffic_fails_no_request_and_leaves_nothing_behind",
            f"{HANDLERS}::test_code_that_is_edited_500_times_under_traffic_leaves_memory_flat",
            "e2e/test_handlers.py::test_saved_code_serves_and_broken_code_leaves_what_served",
        ),
        "a handler that cannot be loaded, at a reload and at a start": (
            f"{HANDLERS}::test_code_that_cannot_be_loaded_rejects_the_revision_with_file_and_line",
            f"{HANDLERS}::test_code_that_does_not_come_to_an_end_rejects_the_revision",
            f"{HANDLERS}::test_a_next_start_with_broken_code_serves_the_code_that_was_good",
        ),
        "an example that fails": (
            f"{EXAMPLES}::test_an_example_that_fails_keeps_the_revision_out_and_is_shown_with_expected_and_got",
            f"{EXAMPLES}::test_a_file_whose_example_fails_at_the_start_does_not_go_live",
            f"{EXAMPLES}::test_examples_that_hold_let_a_revision_in_and_touch_no_row",
        ),
        "a rule on every way to write, deletions too": (
            "behaviour/test_rules.py::test_a_rule_on_an_entity_is_held_on_every_way_to_write",
            f"{DELETIONS}::test_a_rule_of_a_row_that_refers_is_held_on_every_way_to_delete",
        ),
        "writes of an older revision against a newer check": (
            f"{CHECKS}::test_a_write_of_the_revision_before_that_breaks_a_new_check_is_a_conflict",
            f"{CHECKS}::test_rows_that_older_requests_wrote_past_what_the_database_does_not_watch_are_told",
        ),
    },
    "Stopping": {
        "SIGTERM and SIGINT: requests finish, new ones are refused, exit 0": (
            f"{LIFE}::test_a_stop_lets_requests_in_flight_finish_and_refuses_new_ones",
        ),
        "event streams get a last event and close": (
            "e2e/test_streams.py::test_a_stop_says_goodbye_to_every_stream_and_does_not_wait_for_them",
        ),
        "a stage over its time: named, exit 1": (
            f"{STOPPING}::test_a_stop_names_what_held_each_stage_and_goes_on_to_the_next",
        ),
        "idle connections and half-sent heads": (
            f"{LIFE}::test_idle_connections_do_not_hold_a_stop",
            f"{STOPPING}::test_a_connection_that_never_sends_a_whole_head_holds_nothing",
        ),
        "a request on a retired revision": (
            f"{STOPPING}::test_a_request_on_a_retired_revision_finishes_during_a_stop",
        ),
        "a second signal": (f"{LIFE}::test_a_second_signal_skips_to_the_end",),
        "SIGHUP during a stop": (f"{STOPPING}::test_a_hangup_during_a_stop_changes_nothing",),
        "a fault at every step of a stop": (
            f"{FAULTS}::test_a_fault_at_any_step_of_a_stop_ends_within_bounds_and_loses_nothing",
        ),
        "SIGKILL at any moment": (
            f"{LIFE}::test_after_a_kill_the_next_start_reaches_the_same_state",
            f"{FAULTS}::test_a_fault_at_any_step_of_a_reload_or_drain_leads_to_the_same_state",
        ),
    },
    "As a service": {
        "what the manager is told": (f"{SERVICE}::test_a_service_manager_is_told_of_start_changes_reload_and_stop",),
        "a blocked event loop": (f"{SERVICE}::test_a_really_blocked_event_loop_makes_the_watchdog_messages_stop",),
        "connections over a restart": (
            f"{SERVICE}::test_under_socket_activation_no_connection_is_refused_over_kills_and_restarts",
            f"{SERVICE}::test_under_socket_activation_a_stop_leaves_new_connections_to_the_next_process",
        ),
        "a reload that rejects a file": (f"{SERVICE}::test_reload_waits_and_fails_when_a_file_is_rejected",),
    },
    "Watching": {
        "a directory whose mount tells of no events": (
            f"{WATCHER}::test_a_mount_that_tells_of_no_change_is_polled_and_said_to_be_one",
        ),
        "a read-only directory": (f"{WATCHER}::test_a_directory_that_cannot_be_written_is_watched_all_the_same",),
        "no inotify to be had": (
            f"{WATCHER}::test_without_inotify_it_polls_and_names_the_limit_until_inotify_is_back",
        ),
        "a network file system": (f"{WATCHER}::test_a_network_file_system_is_polled_and_said_to_be_one",),
        "an exception, or a cancellation by nobody, in what always runs": (
            f"{FAULTS}::test_a_task_that_ends_by_whatever_begins_again_and_says_so",
        ),
        "an exception in the watcher": (
            f"{WATCHER}::test_whatever_goes_wrong_is_published_and_the_watcher_starts_again",
            f"{WATCHER}::test_a_name_that_is_not_utf8_restarts_the_watcher_which_goes_on",
        ),
        "a missing directory at the start": (
            f"{LIFE}::test_a_missing_directory_serves_what_the_catalog_knows_and_says_so",
            f"{LIFE}::test_a_missing_directory_and_an_empty_catalog_are_an_error_that_names_the_path",
        ),
    },
    "Several processes": {
        "reloads under traffic": (
            f"{WORKERS}::test_no_request_fails_through_reloads_under_traffic_on_every_worker",
            f"{WORKERS}::test_no_request_fails_through_a_hundred_reloads_under_traffic_on_every_worker",
        ),
        "`load`, `unload`, `reload --wait`": (
            f"{WORKERS}::test_load_unload_and_reload_are_answered_when_every_worker_has_followed",
        ),
        "a drain in every worker": (
            f"{WORKERS}::test_a_retired_revision_is_loosened_only_when_every_worker_has_drained_it",
        ),
        "metrics and event streams of the whole": (
            f"{WORKERS}::test_metrics_are_of_the_whole_whoever_is_asked_and_never_fall_when_a_worker_crashes",
            f"{WORKERS}::test_a_row_stream_tells_of_the_writes_of_all_workers_and_goes_on_at_another_one",
            f"{WORKERS}::test_the_admin_stream_tells_of_all_workers_and_a_client_that_goes_is_noticed",
        ),
        "a worker that crashes, cannot build, or hangs": (
            f"{WORKERS}::test_a_worker_that_crashes_under_traffic_comes_back_at_the_current_generation",
            f"{WORKERS}::test_a_worker_that_crashes_in_the_middle_of_a_reload_does_not_stop_it",
            f"{WORKERS}::test_what_one_worker_cannot_build_serves_nowhere",
            f"{WORKERS}::test_a_worker_that_hangs_is_replaced",
            f"{WORKERS}::test_while_a_worker_gives_no_sign_of_life_the_service_manager_hears_none",
        ),
        "a backup that is ended in the middle": (
            "e2e/test_backup.py::test_a_backup_that_is_ended_in_the_middle_leaves_no_half_copy",
        ),
        "more connections than there may be open files": (
            "e2e/test_crowds.py::test_a_crowd_takes_no_file_that_the_daemon_needs_itself",
        ),
        "a log that nobody reads": (
            "e2e/test_log.py::test_a_daemon_whose_log_nobody_reads_serves_says_so_and_goes_on_with_the_next_reader",
            "unit/test_logs.py::test_a_log_that_nobody_reads_goes_on_with_the_next_reader_and_says_what_is_lost",
        ),
        "a worker without descriptors, and one that cannot be started": (
            f"{WORKERS}::test_a_worker_without_a_descriptor_left_keeps_its_connections_and_serves_on",
            f"{WORKERS}::test_a_worker_that_cannot_be_started_again_is_told_of_and_tried_until_it_can",
        ),
        "a parent that is killed": (
            f"{WORKERS}::test_when_the_parent_is_killed_the_workers_end_and_the_next_one_starts",
        ),
        "a second daemon on one SQLite database": (
            f"{OTHERS}::test_a_second_daemon_on_the_same_directory_is_refused_and_the_next_one_after_a_kill_is_not",
        ),
        "a database that is moved or deleted under the daemon": (
            f"{OTHERS}::test_a_database_file_that_is_moved_away_takes_no_write_until_it_is_back",
            f"{OTHERS}::test_no_row_that_was_acknowledged_is_lost_when_the_data_directory_is_deleted",
            f"{PLACE}::test_writes_from_all_sides_are_in_the_copy_if_they_were_acknowledged",
        ),
        "a process that keeps everybody from the database": (
            f"{OTHERS}::test_while_another_process_keeps_everybody_from_reading_all_else_is_answered",
            f"{OTHERS}::test_reads_go_on_and_writes_wait_while_another_process_writes",
        ),
        "SIGHUP and SIGTERM": (
            f"{WORKERS}::test_a_hang_up_reloads_all_workers_and_a_signal_to_a_worker_changes_nothing",
            f"{WORKERS}::test_a_stop_lets_requests_in_flight_in_every_worker_finish_and_refuses_new_ones",
            f"{WORKERS}::test_a_request_over_the_graceful_time_is_cut_in_its_worker_and_named",
        ),
        "a unix socket, and one that was passed": (
            f"{WORKERS}::test_workers_serve_a_unix_socket",
            f"{WORKERS}::test_workers_serve_a_passed_socket_and_leave_connections_to_the_next_process",
        ),
        "a crowd of connections": (
            "unit/test_balance.py::test_a_crowd_that_comes_at_once_is_shared_evenly_even_when_one_process_wakes_up_late",
        ),
    },
}


def main(arguments: list[str]) -> int:
    """Write the page, or check it; returns the exit status."""
    wrong = list(problems())
    page = render()
    if arguments == ["--check"]:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page:
            wrong.append(f"{PAGE.relative_to(TESTS.parent)} is out of date: run python tests/scenarios.py")
    elif not wrong:
        PAGE.write_text(page, encoding="utf-8")
    for line in wrong:
        sys.stderr.write(f"{line}\n")
    return 1 if wrong else 0


def problems() -> Iterator[str]:
    """Everything that is wrong with the table, one line each."""
    for chapter, scenarios in SCENARIOS.items():
        for scenario, tests in scenarios.items():
            if not tests:
                yield f"{chapter}: {scenario}: no test"
            for test in tests:
                file, _, name = test.partition("::")
                if name not in names_in(file):
                    yield f"{chapter}: {scenario}: there is no test {test}"


def render() -> str:
    """The page."""
    lines = [HEAD]
    for chapter, scenarios in SCENARIOS.items():
        lines += [f"## {chapter}", "", "| scenario | tests |", "| --- | --- |"]
        for scenario, tests in scenarios.items():
            lines.append(f"| {scenario} | {'<br>'.join(map(link, tests))} |")
        lines.append("")
    return "\n".join(lines)


def link(test: str) -> str:
    """A test's name as a sentence, leading to its file."""
    file, _, name = test.partition("::")
    return f"[{name.removeprefix('test_').replace('_', ' ')}]({file})"


@functools.cache
def names_in(file: str) -> frozenset[str]:
    """The tests that a file defines; none where it is missing."""
    path = TESTS / file
    if not path.is_file():
        return frozenset()
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                names.add(name)
            case ast.Assign(targets=[ast.Name(id=name)]):  # a state machine's test is its TestCase
                names.add(name)
    return frozenset(name for name in names if name.startswith(("test_", "Test")))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
