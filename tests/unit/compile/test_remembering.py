"""What one compilation made is taken up by the next one, and by no later one."""

from __future__ import annotations

from watcherd.compile import remembering
from watcherd.compile.remembering import Remembered


def test_an_answer_is_made_once_while_each_compilation_needs_it() -> None:
    made: list[int] = []

    def double(value: int) -> int:
        made.append(value)
        return 2 * value

    doubled = Remembered(double)
    for _ in range(3):
        remembering.turn_all()
        assert (doubled(1), doubled(1)) == (2, 2)

    assert made == [1]


def test_what_a_compilation_did_not_need_is_forgotten() -> None:
    made: list[int] = []

    def double(value: int) -> int:
        made.append(value)
        return 2 * value

    doubled = Remembered(double)
    doubled(1)
    remembering.turn_all()
    doubled(2)
    remembering.turn_all()
    doubled(1)

    assert made == [1, 2, 1]
