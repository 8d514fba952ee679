from __future__ import annotations

import errno
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insight_ext import ArgumentError
from insight_ext.curators import lim, point_biserial
from insight_ext.curators.rank import rank
from insight_ext.offline import visits
from insight_ext.offline.logs import read_answers, read_log
from insight_ext.offline.tables import write_columns

ANSWERS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(0, 4), st.booleans(), st.floats(1.0, 9.0)),
    min_size=1,
    max_size=40,
)


@settings(deadline=None, max_examples=60)
@given(rows=ANSWERS, part=st.integers(1, 7), counted=st.booleans())
def test_parts_of_any_size_tell_the_same(tmp_path_factory, rows, part, counted):
    path = tmp_path_factory.mktemp("log") / "log.parquet"
    ids, steps, right, uncertainty = (list(column) for column in zip(*rows, strict=True))
    columns = {"id": ids, "step": steps, "uncertainty": uncertainty}
    if counted:
        columns |= {"successes": list(map(int, right)), "rollouts": [1] * len(rows)}
    else:
        columns |= {"reward": list(map(float, right))}
    write_columns(path, columns)

    def told() -> list[object]:
        log = read_log(path)
        answers = read_answers(path)
        return [
            log.ids,
            *(getattr(log, name).tolist() for name in ("prompt", "successes", "rollouts", "step")),
            [[column.tolist() for column in moment] for moment in log.moments()],
            [column.tolist() for column in log.totals()],
            rank(log).ids,
            _or_error(lambda: lim(log, keep=-9).scores),
            answers.uncertainty.tolist(),
            _or_error(lambda: point_biserial(answers).scores),
        ]

    whole = told()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(visits, "PART", part)
        assert repr(told()) == repr(whole)


def _or_error(work):
    try:
        return np.round(work(), 9)
    except Exception as error:
        return str(error)


def test_no_room_for_the_visits_is_one_sentence(tmp_path, monkeypatch):
    write_columns(tmp_path / "log.csv", {"id": ["a"], "successes": [1], "rollouts": [8]})

    class Full:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def write(self, _):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    with pytest.raises(ArgumentError, match=r"room for the log's visits.*No space left.*TMPDIR"):
        read_log(tmp_path / "log.csv")


def test_visits_leave_the_memory_when_they_were_looked_at(tmp_path):
    rows = visits.Visits()
    for first in range(0, 8 << 20, 1 << 20):
        rows.append({"prompt": np.arange(first, first + (1 << 20))})
    prompt = rows.columns()["prompt"]
    before = _resident()
    most = 0
    for part in visits.parts_of(len(prompt), prompt):
        assert prompt[part].sum() >= 0
        most = max(most, _resident() - before)
    assert most < prompt.nbytes / 4


def _resident() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssFile:")[2].split()[0]) * 1024
