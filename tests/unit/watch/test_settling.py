"""When a change counts: the rules, on a clock that is a number."""

from dataclasses import replace

import pytest

from watcherd.directory import INACCESSIBLE, Stamp, Survey
from watcherd.watch.settling import ChangeSet, Quiet, Settling, differing

OLD = Stamp(device=1, inode=10, size=100, mtime_ns=1, ctime_ns=1)
NEW_INODE = Stamp(device=1, inode=11, size=120, mtime_ns=2, ctime_ns=2)
REWRITTEN = replace(OLD, size=130, mtime_ns=3, ctime_ns=3)
EMPTY = replace(OLD, size=0, mtime_ns=4, ctime_ns=4)


class Clock:
    """Settling, on a time that this advances; looks are made when they are due, as the watcher does."""

    def __init__(self, **known: Stamp) -> None:
        self.settling = Settling(Quiet())
        self.settling.start({f"{name}.yaml": stamp for name, stamp in known.items()})
        self.disk = dict(self.settling.handed_out)
        self.now = 1000.0

    def change(self, path: str, stamp: Stamp | None, *, deleted: bool = False) -> None:
        self.put(path, stamp)
        self.settling.hint(path, stamp, self.now, deleted=deleted)

    def put(self, path: str, stamp: Stamp | None) -> None:
        """Change the disk without an event."""
        if stamp is None:
            self.disk.pop(path, None)
        else:
            self.disk[path] = stamp

    def pass_ms(self, ms: float) -> ChangeSet | None:
        """Let time pass and return what is ready at the end of it."""
        end = self.now + ms / 1000
        while (due := self.settling.next_due()) is not None and due <= end + 1e-9:
            self.now = max(self.now, due)
            for path in self.settling.due(self.now):
                self.settling.look(path, self.disk.get(path), self.now)
            if self.settling.is_ready(self.now):
                break
        self.now = end
        return self.settling.take(self.now) if self.settling.is_ready(self.now) else None


def paths(change_set: ChangeSet | None) -> set[str]:
    assert change_set is not None
    return set(change_set.paths)


def test_a_rename_over_counts_after_two_milliseconds_of_rest() -> None:
    clock = Clock(a=OLD)
    clock.change("a.yaml", NEW_INODE)
    assert clock.pass_ms(1.9) is None
    assert clock.pass_ms(0.2) == ChangeSet(frozenset({"a.yaml"}), full=False, reason="event")


def test_a_write_in_place_counts_after_ten_milliseconds_of_rest_and_is_told_apart() -> None:
    clock = Clock(a=OLD)
    clock.change("a.yaml", REWRITTEN)
    assert clock.pass_ms(9) is None
    found = clock.pass_ms(2)
    assert paths(found) == {"a.yaml"}
    assert found is not None
    assert found.in_place == {"a.yaml"}


def test_a_new_file_may_still_be_written_and_waits_as_a_write_does() -> None:
    clock = Clock()
    clock.change("a.yaml", OLD)
    assert clock.pass_ms(9) is None
    assert paths(clock.pass_ms(2)) == {"a.yaml"}


def test_a_new_inode_that_is_still_growing_waits_as_a_write_does() -> None:
    clock = Clock(a=OLD)
    clock.change("a.yaml", NEW_INODE)
    clock.pass_ms(1)
    clock.change("a.yaml", replace(NEW_INODE, size=200))
    assert clock.pass_ms(9) is None
    assert paths(clock.pass_ms(2)) == {"a.yaml"}


def test_a_deleted_and_created_file_was_not_renamed_over_and_waits_as_a_write_does() -> None:
    clock = Clock(a=OLD)
    clock.change("a.yaml", NEW_INODE, deleted=True)
    assert clock.pass_ms(9) is None
    found = clock.pass_ms(2)
    assert found is not None
    assert found.in_place == {"a.yaml"}
    assert not found.gone


def test_a_change_that_raised_no_event_is_seen_by_the_second_look_and_waits_again() -> None:
    clock = Clock(a=OLD)
    clock.change("a.yaml", REWRITTEN)
    clock.put("a.yaml", replace(REWRITTEN, size=131))
    assert clock.pass_ms(15) is None
    assert paths(clock.pass_ms(6)) == {"a.yaml"}


def test_an_event_without_a_visible_change_is_handed_out_all_the_same() -> None:
    clock = Clock(a=OLD)  # two writes of one size within one tick of the clock have one stamp
    clock.change("a.yaml", OLD)
    assert paths(clock.pass_ms(11)) == {"a.yaml"}


def test_absence_counts_as_deletion_after_a_hundred_milliseconds() -> None:
    clock = Clock(a=OLD)
    clock.change("a.yaml", None, deleted=True)
    assert clock.pass_ms(99) is None
    found = clock.pass_ms(2)
    assert found is not None
    assert found.gone == found.paths == {"a.yaml"}


def test_a_file_that_is_back_within_the_hundred_milliseconds_was_never_gone() -> None:
    clock = Clock(a=OLD)
    clock.change("a.yaml", None, deleted=True)
    assert clock.pass_ms(90) is None
    clock.change("a.yaml", NEW_INODE)
    found = clock.pass_ms(20)
    assert paths(found) == {"a.yaml"}
    assert found is not None
    assert not found.gone


def test_an_empty_file_counts_only_after_two_hundred_milliseconds() -> None:
    clock = Clock(a=OLD)
    clock.change("a.yaml", EMPTY)
    assert clock.pass_ms(199) is None
    assert paths(clock.pass_ms(2)) == {"a.yaml"}


def test_a_truncated_file_that_is_filled_counts_ten_milliseconds_after_the_filling() -> None:
    clock = Clock(a=OLD)
    clock.change("a.yaml", EMPTY)
    assert clock.pass_ms(50) is None
    clock.change("a.yaml", REWRITTEN)
    assert clock.pass_ms(9) is None
    assert paths(clock.pass_ms(2)) == {"a.yaml"}


def test_files_that_change_together_come_together() -> None:
    clock = Clock(a=OLD, b=OLD, c=OLD)
    clock.change("a.yaml", NEW_INODE)
    clock.pass_ms(1)
    clock.change("b.yaml", NEW_INODE)
    assert clock.pass_ms(5) is None, "who changed two may be about to change a third"
    clock.change("c.yaml", None, deleted=True)
    assert clock.pass_ms(99) is None, "a rename is one change: the new name waits for the old one to be gone"
    found = clock.pass_ms(2)
    assert paths(found) == {"a.yaml", "b.yaml", "c.yaml"}


def test_a_file_that_goes_on_changing_is_left_out_after_two_hundred_milliseconds_and_comes_later() -> None:
    clock = Clock(a=OLD, slow=OLD)
    clock.change("slow.yaml", REWRITTEN)
    clock.change("a.yaml", NEW_INODE)
    found = None
    for number in range(45):
        clock.change("slow.yaml", replace(REWRITTEN, size=200 + number))
        found = found or clock.pass_ms(5)
    assert found is not None
    assert found.paths == {"a.yaml"}
    clock.change("a.yaml", replace(NEW_INODE, inode=12))
    clock.change("slow.yaml", replace(REWRITTEN, size=999))
    assert clock.pass_ms(1) is None
    clock.change("slow.yaml", replace(REWRITTEN, size=1000))
    assert paths(clock.pass_ms(9.5)) == {"a.yaml"}, "it does not hold up others any more"
    assert paths(clock.pass_ms(11)) == {"slow.yaml"}


def test_a_stream_of_new_changes_does_not_hold_up_what_has_settled_for_ever() -> None:
    clock = Clock()
    found: list[ChangeSet] = []
    for number in range(100):
        clock.change(f"{number}.yaml", OLD)
        change_set = clock.pass_ms(5)
        if change_set is not None:
            found.append(change_set)
    assert 1 <= len(found) <= 3
    assert "0.yaml" in found[0].paths


def test_a_file_replaced_over_and_over_comes_every_two_hundred_milliseconds() -> None:
    clock = Clock(a=OLD)
    found = []
    for number in range(600):
        clock.change("a.yaml", replace(NEW_INODE, inode=100 + number))
        found += [change_set] if (change_set := clock.pass_ms(1)) else []
    assert 2 <= len(found) <= 4


def test_a_change_that_was_not_handed_out_yet_is_taken_back_when_the_file_changes_again() -> None:
    clock = Clock(a=OLD)
    clock.change("a.yaml", NEW_INODE)
    settling = clock.settling
    settling.look("a.yaml", NEW_INODE, clock.now + 0.003)
    assert settling.is_ready(clock.now + 0.003)
    clock.change("a.yaml", replace(NEW_INODE, size=1))
    assert not settling.is_ready(clock.now + 0.003)
    found = clock.pass_ms(11)
    assert found is not None
    assert found.in_place == {"a.yaml"}


def test_what_is_made_after_a_deletion_that_nobody_took_yet_was_not_renamed_over() -> None:
    clock = Clock(a=OLD)
    settling = clock.settling
    clock.change("a.yaml", None, deleted=True)
    settling.look("a.yaml", None, clock.now + 0.1)
    assert settling.is_ready(clock.now + 0.1)
    clock.change("a.yaml", NEW_INODE)
    assert clock.pass_ms(9) is None
    found = clock.pass_ms(2)
    assert found is not None
    assert found.in_place == {"a.yaml"}
    assert not found.gone


def test_what_has_changed_comes_before_the_whole_directory_which_says_what_to_leave_alone() -> None:
    clock = Clock(a=OLD, b=OLD, c=OLD)
    clock.change("b.yaml", None, deleted=True)
    clock.pass_ms(0)
    clock.settling.ask("signal", clock.now, full=True)
    found = []
    for number in range(30):
        clock.change("c.yaml", replace(REWRITTEN, size=200 + number))
        found += [change_set] if (change_set := clock.pass_ms(9)) else []
    assert found == [
        ChangeSet(frozenset({"b.yaml"}), full=False, reason="event", gone=frozenset({"b.yaml"})),
        ChangeSet(frozenset(), full=True, reason="signal", held=frozenset({"c.yaml"})),
    ]


def test_what_has_settled_and_waits_for_others_is_left_alone_by_a_full_set() -> None:
    clock = Clock(a=OLD, c=OLD)
    clock.settling.ask("signal", clock.now, full=True)
    clock.settling.hint("a.yaml", NEW_INODE, clock.now + 0.1)
    clock.settling.hint("c.yaml", REWRITTEN, clock.now + 0.1)
    clock.settling.look("a.yaml", NEW_INODE, clock.now + 0.15)
    clock.settling.hint("c.yaml", EMPTY, clock.now + 0.15)
    assert not clock.settling.is_ready(clock.now + 0.199)
    assert clock.settling.is_ready(clock.now + 0.201)
    found = clock.settling.take(clock.now + 0.201)
    assert found == ChangeSet(frozenset(), full=True, reason="signal", held=frozenset({"a.yaml", "c.yaml"}))


def test_a_full_set_that_waits_stands_in_the_way_of_nothing() -> None:
    clock = Clock(a=OLD, b=OLD)
    clock.settling.ask("reconcile", clock.now, full=True)
    clock.change("a.yaml", NEW_INODE)
    offer = clock.settling.early()
    assert offer is not None
    clock.settling.ask("signal", clock.now, full=True)
    assert clock.settling.early() == offer
    assert clock.settling.settles_at(offer) == pytest.approx(clock.now + 0.002)
    assert paths(clock.pass_ms(2)) == {"a.yaml"}
    assert clock.settling.take(clock.now) == ChangeSet(frozenset(), full=True, reason="signal")
    assert not clock.settling.is_ready(clock.now)


def test_a_full_set_with_nothing_changing_is_ready_at_once() -> None:
    clock = Clock(a=OLD)
    clock.settling.ask("reconcile", clock.now, full=True)
    assert clock.pass_ms(0) == ChangeSet(frozenset(), full=True, reason="reconcile")
    assert clock.pass_ms(1000) is None


def test_merged_sets_keep_the_strongest_reason() -> None:
    clock = Clock(a=OLD)
    for reason in ("reconcile", "signal", "request"):
        clock.settling.ask(reason, clock.now, full=True)
    found = clock.pass_ms(0)
    assert found is not None
    assert found.reason == "signal"
    clock.change("a.yaml", NEW_INODE)
    found = clock.pass_ms(5)
    assert found is not None
    assert found.reason == "event"


def test_a_survey_hints_at_what_came_changed_and_went_and_at_nothing_else() -> None:
    clock = Clock(same=OLD, changed=OLD, went=OLD)
    clock.disk = {"same.yaml": OLD, "changed.yaml": NEW_INODE, "came.yaml": OLD}
    survey = Survey(stamps=clock.disk, places=frozenset(), linked=False, closed=frozenset())
    suspects = differing(clock.settling.known(), survey)
    assert sorted(suspects) == ["came.yaml", "changed.yaml", "went.yaml"]
    for path in suspects:
        assert clock.settling.suspect(path, clock.disk.get(path), clock.now)
    assert not differing(clock.settling.known(), survey)
    assert paths(clock.pass_ms(101)) == set(suspects)
    assert not differing(clock.settling.known(), survey)


@pytest.mark.parametrize("taken", [True, False])
def test_what_was_heard_of_while_a_survey_was_made_is_not_hinted_at_by_it(taken: bool) -> None:
    clock = Clock(a=OLD, b=OLD)
    known = clock.settling.known()
    survey = Survey(stamps={"a.yaml": OLD}, places=frozenset(), linked=False, closed=frozenset())
    clock.change("b.yaml", None, deleted=True)
    if taken:
        assert paths(clock.pass_ms(101)) == {"b.yaml"}
    assert differing(known, survey) == ["b.yaml"]
    assert not clock.settling.suspect("b.yaml", None, clock.now)
    assert (clock.pass_ms(101) is None) is taken


def test_files_beneath_a_directory_that_cannot_be_listed_are_not_gone() -> None:
    known = {"closed/a.yaml": INACCESSIBLE}
    assert not differing(known, Survey({}, frozenset(), linked=False, closed=frozenset({"closed"})))
    assert differing(known, Survey({}, frozenset(), linked=False, closed=frozenset())) == ["closed/a.yaml"]


def test_when_the_root_is_gone_nothing_is_handed_out() -> None:
    clock = Clock(a=OLD)
    clock.change("a.yaml", None, deleted=True)
    clock.settling.ask("signal", clock.now, full=True)
    clock.settling.forget_changes()
    assert clock.pass_ms(1000) is None
    assert clock.settling.handed_out == {"a.yaml": OLD}


@pytest.mark.parametrize("stamp", [OLD, None])
def test_a_look_at_a_path_that_nobody_hinted_at_changes_nothing(stamp: Stamp | None) -> None:
    clock = Clock(a=OLD)
    clock.settling.look("a.yaml", stamp, clock.now)
    assert clock.pass_ms(1000) is None


def test_a_lone_rename_over_is_offered_before_it_has_settled() -> None:
    clock = Clock(a=OLD)
    clock.change("a.yaml", NEW_INODE)
    offer = clock.settling.early()
    assert offer == ChangeSet(frozenset({"a.yaml"}), full=False, reason="event", early=NEW_INODE)
    assert clock.settling.settles_at(offer) == pytest.approx(clock.now + 0.002)
    assert paths(clock.pass_ms(2)) == {"a.yaml"}
    assert clock.settling.early() is None


def test_an_offer_lapses_when_anything_more_happens() -> None:
    again = replace(NEW_INODE, inode=12)
    for path, stamp in (("a.yaml", again), ("a.yaml", None), ("a.yaml", EMPTY), ("b.yaml", REWRITTEN)):
        clock = Clock(a=OLD, b=OLD)
        clock.change("a.yaml", NEW_INODE)
        offer = clock.settling.early()
        assert offer is not None
        clock.change(path, stamp)
        assert clock.settling.settles_at(offer) is None


def test_a_changed_mode_does_not_change_what_was_offered() -> None:
    clock = Clock(a=OLD)
    clock.change("a.yaml", NEW_INODE)
    offer = clock.settling.early()
    assert offer is not None
    clock.change("a.yaml", replace(NEW_INODE, ctime_ns=9))
    assert clock.settling.settles_at(offer) == pytest.approx(clock.now + 0.002)


@pytest.mark.parametrize("stamp", [None, EMPTY, REWRITTEN])
def test_what_may_be_half_of_something_is_not_offered(stamp: Stamp | None) -> None:
    clock = Clock(a=OLD)
    clock.change("a.yaml", stamp)
    assert clock.settling.early() is None
