"""The report as a whole: one file that holds everything, or says what is missing."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from insight_ext.cli.main import main
from insight_ext.errors import InsightError
from insight_ext.report import summary_rows, write_report
from insight_ext.report.prompts import difficult
from insight_ext.report.summary import write_summary
from insight_ext.runs.reader import read_runs


def test_the_report_is_one_file_with_every_figure(
    experiment_folder: Callable[..., Path],
) -> None:
    folder = experiment_folder()
    page = write_report(folder).read_text(encoding="utf-8")
    figures = {path.stem for path in (folder / "figures").iterdir()}
    assert figures == {
        *(f"accuracy_{effort}" for effort in ("steps", "rollouts", "seconds", "gain", "kinds")),
        *(f"groups_{outcome}" for outcome in ("mixed", "solved", "failed")),
        *(
            f"{chart}_{arm}"
            for chart in ("beliefs", "calibration")
            for arm in ("random", "insight")
        ),
        *("milliseconds", "prompts_drawn", "prompts_taught"),
    }
    assert page.count("<img ") == page.count("<figcaption>") == len(figures)
    assert page.count("data:image/png;base64,") == len(figures)
    assert not re.search(r"""(src|href)=["'](?!data:)|url\(|@import|https?://""", page)
    assert "is not shown" not in page
    assert "insight, 2 seeds: data.selector insight" in page


def test_what_was_not_logged_is_named_and_no_figure_is_empty_or_old(
    experiment_folder: Callable[..., Path],
) -> None:
    run = experiment_folder(("a<b>",), seeds=1, steps=10) / "a<b>-seed0"
    (run / "metrics.csv").write_text("epoch,step,reward_mean\n0,0,0.5\n")
    for data in ("groups.parquet", "beliefs.parquet"):
        shutil.rmtree(run / data)
    (run / "figures").mkdir()
    (run / "figures" / "groups_mixed.png").write_bytes(b"of an earlier report")
    page = write_report(run).read_text(encoding="utf-8")
    assert "<img " not in page
    assert list((run / "figures").iterdir()) == []
    for missing in ("Held-out accuracy against steps", "Share of mixed groups", "Calibration: "):
        assert re.search(rf"<strong>{missing}[^<]*</strong> is not shown: ", page)
    assert "<b>" not in page


def test_what_no_arm_logged_is_said_once(experiment_folder: Callable[..., Path]) -> None:
    folder = experiment_folder(("random", "a", "b"), seeds=2, steps=10)
    for run in folder.iterdir():
        shutil.rmtree(run / "beliefs.parquet")
        lines = (run / "metrics.csv").read_text().replace("train_seconds", "other")
        (run / "metrics.csv").write_text(lines)
    page = write_report(folder).read_text(encoding="utf-8")
    assert page.count("Beliefs about the pool: random, a, b</strong> is not shown") == 1
    assert page.count("no seed with accuracy and seconds in both") == 1


def test_the_report_of_one_run_judges_and_compares_nothing(
    experiment_folder: Callable[..., Path],
) -> None:
    run = experiment_folder(("random",), seeds=1, steps=20) / "random-seed0"
    page = write_report(run).read_text(encoding="utf-8")
    for word in ("baseline", "target", "met<", "missed", "make train", "seeds"):
        assert word not in page
    assert "Held-out accuracy went from" in page


def test_what_a_run_says_of_itself_stands_at_the_top(
    experiment_folder: Callable[..., Path],
) -> None:
    run = experiment_folder(("insight",), seeds=1, steps=10) / "insight-seed0"
    facts = {"started": "2025-01-02 03:04:05 UTC", "commit": "0123abc", "machine": "8 cores"}
    (run / "run.json").write_text(json.dumps(facts))
    top = write_report(run).read_text(encoding="utf-8").partition("<h2>")[0]
    shown = dict(re.findall("<dt>(.*?)</dt><dd>(.*?)</dd>", top))
    assert shown.pop("Written")
    assert shown == {
        "Started": "2025-01-02 03:04:05 UTC",
        "Commit": "0123abc",
        "Machine": "8 cores",
        "Model": "tiny",
        "Prompts": "400 in the pool",
        "Selector": "insight",
        "Training": "10 steps, 640 rollouts",
    }


def test_prompts_never_solved_are_shown_with_an_answer_and_their_key(
    experiment_folder: Callable[..., Path],
) -> None:
    run = experiment_folder(("random",), seeds=1, steps=60) / "random-seed0"
    page = write_report(run).read_text(encoding="utf-8")
    assert "the run kept none of them" in page
    ((found,), _) = read_runs(run)
    looked = difficult(found)
    assert looked is not None
    assert looked.unsolved == len(looked.never) or len(looked.never) == 10
    assert all(prompt.successes == 0 for prompt in looked.never)
    rates = [prompt.successes / prompt.rollouts for prompt in looked.hardest]
    assert rates == sorted(rates)
    assert rates[0] > 0
    answer = {"step": 3, "id": looked.never[0].id, "prompt": "1 + 1 =", "answer": "3"}
    sample = json.dumps({**answer, "completion": "2<b>", "reward": 0.0})
    (run / "samples.jsonl").write_text(sample + "\n")
    page = write_report(run).read_text(encoding="utf-8")
    assert re.findall(r"<td data-head=\"(Text|Key|An answer)\">(.*?)</td>", page) == [
        ("Text", "1 + 1 ="),
        ("Key", "3"),
        ("An answer", "2&lt;b&gt; (step 3, reward 0)"),
    ]


def test_the_command_draws_the_report_of_a_run_and_names_it(
    experiment_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = experiment_folder(("random",), seeds=1, steps=10) / "random-seed0"
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out.strip() == str(run / "report.html")
    assert "<img " in (run / "report.html").read_text(encoding="utf-8")


def test_the_command_refuses_a_folder_without_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert message.startswith("insight-ext report: ")
    assert str(tmp_path) in message


def test_the_summary_is_written_as_the_rows_say(experiment_folder: Callable[..., Path]) -> None:
    folder = experiment_folder(steps=10)
    rows = summary_rows(folder)
    write_summary(rows, folder)
    with (folder / "summary.csv").open() as file:
        written = [row["result"].removeprefix("'") for row in csv.DictReader(file)]  # "+1.0 ..."
    assert written == [row.result for row in rows]
    saved = json.loads((folder / "summary.json").read_text())
    assert [row["value"] for row in saved] == [row.value for row in rows]


@pytest.mark.parametrize("module", ["matplotlib", "pyarrow", "yaml"])
def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    module: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InsightError, match=rf"{module} to be installed; run: pip install"):
        write_report(tmp_path)
