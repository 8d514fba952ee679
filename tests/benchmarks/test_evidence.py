from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.evidence.__main__ import ARMS, SETTINGS, run
from benchmarks.evidence.table import read_experiments, table
from insight_ext import ArgumentError
from insight_ext.report.experiment import read_experiment

ROOT = Path(__file__).parents[2]
RECORDED = ROOT / "benchmarks/results/evidence"


def test_a_run_that_is_resumed_with_other_settings_is_refused_by_name(tmp_path):
    began = {"task": "arithmetic", "arm": ARMS["insight"], "seed": 1, **SETTINGS, "rollouts": 4}
    (tmp_path / "settings.json").write_text(json.dumps(began, indent=1) + "\n")
    with pytest.raises(ArgumentError, match=r"settings.json: .* began with, rollouts 4 \(now 8\)"):
        run(tmp_path, tmp_path / "no model", "arithmetic", "insight", 1, SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["settings.json"]


def test_a_strategy_like_random_has_an_interval_around_its_efforts():
    rows = table(read_experiment(RECORDED / "addition")).splitlines()
    (row,) = [row for row in rows if row.startswith("| inverse_evidence ")]
    assert "> 0.99 (0.92 to 1.05); 2 not reached" in row


@pytest.mark.parametrize(
    "folders",
    [
        ["addition", "addition-seeds-3-to-11"],
        ["pretrained/arithmetic"],
        ["pretrained/arithmetic-larger"],
        ["pretrained/sorting-larger"],
    ],
    ids=" ".join,
)
def test_the_documents_tables_are_what_the_command_prints(folders):
    document = (ROOT / "docs/evidence.md").read_text()
    for row in table(read_experiments([RECORDED / each for each in folders])).splitlines():
        assert row in document


def test_a_run_that_is_in_two_folders_is_refused():
    twice = [RECORDED / "addition", RECORDED / "addition"]
    with pytest.raises(ArgumentError, match=r"random-seed0: is in .*addition and in .*addition"):
        read_experiments(twice)
