from __future__ import annotations

from io import StringIO
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from insight_ext.progress import Progress, duration


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def told(file: StringIO, seconds: float = 1.0, **options: object) -> Progress:
    clock = count(0.0, seconds)
    return Progress("work", 10, file=file, clock=lambda: next(clock), **options)


def test_without_a_terminal_a_line_comes_with_every_new_detail_and_at_the_end():
    file = StringIO()
    progress = told(file)
    for done in range(1, 11):
        progress.update(done, f"arm {1 + done // 6} of 2")
    lines = file.getvalue().splitlines()
    assert [line.partition(" steps")[0] for line in lines] == [
        "work: arm 1 of 2, 1 of 10",
        "work: arm 2 of 2, 6 of 10",
        "work: arm 2 of 2, 10 of 10",
    ]


def test_without_a_terminal_a_line_comes_every_half_minute():
    file = StringIO()
    progress = told(file, seconds=10.0)
    for done in range(1, 10):
        progress.update(done)
    assert len(file.getvalue().splitlines()) == 3


def test_in_a_terminal_one_line_is_rewritten():
    file = Terminal()
    progress = told(file)
    for done in range(1, 11):
        progress.update(done)
    assert file.getvalue().count("\n") == 1
    assert file.getvalue().count("\r") == 10


def test_what_was_done_before_does_not_count_towards_the_pace():
    file = StringIO()
    told(file, before=8).update(9)
    assert file.getvalue() == "work: 9 of 10 steps, 1 s left\n"


@given(st.integers(0, 400_000))
def test_a_duration_reads_back(seconds):
    fields = duration(seconds).removesuffix(" s").split(":")
    assert sum(int(field) * 60**place for place, field in enumerate(reversed(fields))) == seconds
