from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from insight_ext import ArgumentError
from insight_ext.cli.main import main
from insight_ext.simulate.agreement import agreement, spearman
from insight_ext.simulate.arms import selector_of
from insight_ext.simulate.calibrate import calibrate
from insight_ext.simulate.kinds_learner import KindsLearner, KindsSettings, read_kinds
from insight_ext.simulate.recorded import read_recording

TRUE = KindsSettings(
    kinds=["easy", "middle", "hard"],
    counts=[40, 60, 60],
    held_out=[40, 80, 80],
    start=[3.0, 0.0, -2.0],
    start_deviation=0.0,
    spread=[1.0, 1.5, 1.5],
    transfer=[[0.02, 0.0, 0.0], [0.0, 0.06, 0.01], [0.0, 0.02, 0.05]],
    fading=[0.001, 0.001, 0.001],
    own=0.2,
    wander=0.005,
    wear=8.0,
    power=0.5,
    prompts_per_step=16,
    steps=80,
)
ARMS = {"random": "uniform", "insight": "insight", "mixed_group": "mixed_group", "mopps": "mopps"}


def record(folder: Path, settings: KindsSettings = TRUE, seeds: int = 1) -> Path:
    """An experiment's folder, as runs on this learner would have written it."""
    (folder / "experiment.json").parent.mkdir(parents=True, exist_ok=True)
    about = {
        "pool": dict(zip(settings.kinds, settings.counts, strict=True)),
        "held_out": dict(zip(settings.kinds, settings.held_out, strict=True)),
        "arms": {arm: {"selector": name} for arm, name in ARMS.items()},
    }
    (folder / "experiment.json").write_text(json.dumps(about))
    for arm in ARMS:
        for seed in range(seeds):
            _record_run(folder / f"{arm}-seed{seed}", settings, arm, seed)
    return folder


def _record_run(folder: Path, settings: KindsSettings, arm: str, seed: int) -> None:
    learner, asked = KindsLearner(settings, seed), np.random.default_rng(seed)
    selector = selector_of(arm, learner, seed, 8)
    none = torch.empty(0, dtype=torch.int64)
    groups = {name: [] for name in ("id", "index", "step", "successes", "rollouts")}
    rows = []
    held = np.array(settings.held_out)
    for step in range(settings.steps):
        chosen = selector.select(settings.prompts_per_step, step=step, exclude=none)
        successes = learner.train(chosen, 8)
        selector.observe(chosen, successes, torch.full_like(successes, 8), step=step)
        groups["index"] += chosen.tolist()
        groups["id"] += [f"{settings.kinds[learner.kind[i]]}/{i}" for i in chosen.tolist()]
        groups["step"] += [step] * len(chosen)
        groups["successes"] += successes.tolist()
        groups["rollouts"] += [8] * len(chosen)
        if step % 5 == 4:
            right = asked.binomial(held, learner.accuracies)
            by_kind = dict(zip(settings.kinds, right / held, strict=True))
            columns = {f"val_accuracy/{kind}": value for kind, value in by_kind.items()}
            rows.append({"step": step, "val_accuracy": right.sum() / held.sum(), **columns})
    (folder / "groups.parquet").mkdir(parents=True)
    table = pa.table(groups)
    table = table.append_column("predicted", pa.nulls(table.num_rows, pa.float32()))
    pq.write_table(table, folder / "groups.parquet/part-0000000000.parquet")
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return record(tmp_path_factory.mktemp("recorded") / "run")


@pytest.fixture(scope="module")
def fit(recorded):
    return calibrate(read_recording([recorded]))


def test_the_fit_finds_where_a_learner_that_it_knows_began_and_how_its_prompts_differ(fit):
    assert fit.settings.start[1:] == pytest.approx(TRUE.start[1:], abs=0.4)
    assert fit.settings.spread[1:] == pytest.approx(TRUE.spread[1:], rel=0.35)


def test_the_fitted_learner_ends_as_accurate_as_the_recorded_one(fit):
    ends = []
    for settings in (TRUE, fit.settings):
        levels = []
        for seed in range(4):
            learner = KindsLearner(settings, seed)
            selector = selector_of("insight", learner, seed, 8)
            for step in range(settings.steps):
                chosen = selector.select(16, step=step)
                successes = learner.train(chosen, 8)
                selector.observe(chosen, successes, 8, step=step)
            levels.append(learner.level)
        ends.append(np.mean(levels))
    assert ends[1] == pytest.approx(ends[0], abs=0.05)


def test_every_estimate_lies_in_its_interval(fit):
    assert fit.runs == 4
    for estimate in fit.estimates.values():
        assert estimate.low <= estimate.value <= estimate.high


def test_a_fit_is_read_as_it_was_written(fit, tmp_path):
    fit.settings.write(tmp_path / "fit.json")
    again = read_kinds(tmp_path / "fit.json")
    assert KindsLearner(again, 3).level == KindsLearner(fit.settings, 3).level


def test_agreement_ranks_real_runs_beside_simulated_ones(recorded, fit, tmp_path):
    fit.settings.write(tmp_path / "fit.json")
    seen = agreement(recorded, str(tmp_path / "fit.json"), simulations=2)
    assert set(seen.arms) == set(ARMS)
    each, mean, _ = seen.correlations("final accuracy")
    assert len(each) == 1
    assert -1.0 <= mean <= 1.0


def with_filter(recorded: Path, tmp_path: Path, name: str) -> Path:
    """The recorded experiment, whose random arm had this filter behind it."""
    folder = Path(shutil.copytree(recorded, tmp_path / "filtered"))
    about = json.loads((folder / "experiment.json").read_text())
    about["arms"]["random"]["filter"] = name
    (folder / "experiment.json").write_text(json.dumps(about))
    return folder


def test_dynamic_sampling_is_simulated_where_it_was_recorded(recorded, fit, tmp_path):
    fit.settings.write(tmp_path / "fit.json")
    folder = with_filter(recorded, tmp_path, "dynamic_sampling")
    plain, dynamic = (
        agreement(each, str(tmp_path / "fit.json"), simulations=2) for each in (recorded, folder)
    )
    random = plain.arms.index("random")
    ends = [seen.simulated["final accuracy"].mean(0) for seen in (plain, dynamic)]
    assert ends[1][random] > ends[0][random] + 0.02
    assert np.array_equal(np.delete(ends[1], random), np.delete(ends[0], random))


def test_another_filter_is_refused_by_name(recorded, fit, tmp_path):
    fit.settings.write(tmp_path / "fit.json")
    folder = with_filter(recorded, tmp_path, "greso")
    with pytest.raises(ArgumentError, match="strategy 'random': of the filters dynamic_sampling"):
        agreement(folder, str(tmp_path / "fit.json"), simulations=1)


def test_a_ranking_agrees_with_itself_and_opposes_its_reverse():
    values = np.array([0.3, 0.1, 0.1, 0.9])
    assert spearman(values, values) == pytest.approx(1.0)
    assert spearman(values, -values) == pytest.approx(-1.0)


def test_the_commands_print_tables(recorded, fit, tmp_path, capsys):
    fit.settings.write(tmp_path / "fit.json")
    arguments = ["agree", str(recorded), "--learner", str(tmp_path / "fit.json"), "--seeds", "1"]
    assert main(arguments) == 0
    assert "Spearman with the simulation" in capsys.readouterr().out


def broken(tmp_path: Path, change) -> Path:
    folder = record(tmp_path / "run")
    change(folder)
    return folder


def _without_kinds(folder):
    path = folder / "mopps-seed0/metrics.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(",".join(line.split(",")[:2]) for line in lines) + "\n")


def _one_prompt(folder):
    about = json.loads((folder / "experiment.json").read_text())
    about["pool"]["hard"] = 1
    (folder / "experiment.json").write_text(json.dumps(about))


def _no_groups(folder):
    (folder / "mopps-seed0/groups.parquet/part-0000000000.parquet").unlink()


def _no_pool(folder):
    about = json.loads((folder / "experiment.json").read_text())
    del about["pool"]
    (folder / "experiment.json").write_text(json.dumps(about))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without_kinds, "mopps-seed0/metrics.csv: expected the columns val_accuracy/easy"),
        (_one_prompt, "kind 'hard' has 1 prompt"),
        (_no_groups, "mopps-seed0: expected groups.parquet, found none"),
        (_no_pool, "experiment.json: expected 'pool'"),
    ],
)
def test_a_recording_that_lacks_something_is_refused_by_name(tmp_path, change, message):
    with pytest.raises(ArgumentError, match=message):
        read_recording([broken(tmp_path, change)])


def test_too_few_steps_and_too_few_runs_say_how_many(recorded, tmp_path):
    short = record(tmp_path / "short", KindsSettings(**{**vars(TRUE), "steps": 20}))
    with pytest.raises(ArgumentError, match="20 steps, and a fit needs 30 or more"):
        read_recording([short])
    with pytest.raises(ArgumentError, match="expected 3 runs or more.*got 2"):
        read_recording([recorded], ["random", "insight"])


def test_an_unknown_strategy_of_a_recording_is_named(recorded, capsys):
    assert main(["agree", str(recorded), "--strategies", "insihgt"]) == 2
    assert "did you mean 'insight'?" in capsys.readouterr().err
