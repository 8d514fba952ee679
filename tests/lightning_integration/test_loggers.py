"""What a run measures reaches every logger, the same numbers under the same names."""

from __future__ import annotations

import csv
import json

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_integration.metrics_file import MetricsFile
from lightning_integration.trainer import loggers

STEPS = 12
SHARES = {"frac_all_solved", "frac_all_failed", "frac_mixed", "frac_reward_zero_std", "reward_mean"}
LEARNED = {"staleness_max", "observation_ms", "calibration"}
LEARNED |= {"success_predicted", "success_observed"}
TIMES = {"selection_ms", "step_ms", "train_seconds", "rollouts_generated"}
WAITED = {"groups_out", "groups_incomplete", "rollouts_duplicate", "rollouts_unscored"}
WAITED |= {"staleness_mean", "staleness_max", "lost_hard", "lost_middle", "lost_easy"}
SELECTOR = {"frac_unseen", "frac_tied_at_cut"}
POOL = {"learnable", "saturated", "hopeless", "unvisited", "visits_per_prompt", "wasted_rollouts"}
METRICS = {f"selection/{name}" for name in SHARES | LEARNED | TIMES | WAITED | SELECTOR | POOL}

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*treespec"),
    pytest.mark.filterwarnings("ignore:.*no `val_dataloader`"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:wandb"),
]


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    """The folder of a run with all four loggers."""
    import wandb

    folder = tmp_path_factory.mktemp("loggers")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CACHE", "CONFIG", "DATA"):
            patch.setenv(f"WANDB_{name}_DIR", str(folder / "wandb_own"))
        patch.setenv("WANDB_SILENT", "true")
        patch.setenv("WANDB_ERROR_REPORTING", "false")
        everyone = [
            MetricsFile(folder / "own"),
            loggers.CSVLogger(folder, name="csv", version=""),
            loggers.TensorBoardLogger(folder, name="tensorboard", version=""),
            loggers.WandbLogger(save_dir=folder, offline=True),
        ]
        data = tiny.data(validation=None, max_staleness=1)
        tiny.train(folder, datamodule=data, logger=everyone, max_epochs=1)
        wandb.teardown()
    return folder


def from_csv(folder):
    """{name: {step: value}} of what a logger kept."""
    kept = {}
    with (folder / "metrics.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            for name, text in row.items():
                if text and name not in ("epoch", "step"):
                    kept.setdefault(name, {})[int(row["step"])] = float(text)
    return kept


def from_tensorboard(folder):
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {
        name: {event.step: event.value for event in events.Scalars(name)}
        for name in events.Tags()["scalars"]
        if name != "epoch"
    }


def from_wandb(folder):
    from wandb.proto.wandb_internal_pb2 import Record
    from wandb.sdk.internal.datastore import DataStore

    (file,) = folder.glob("offline-run-*/*.wandb")
    store, kept = DataStore(), {}
    store.open_for_scan(str(file))
    while (data := store.scan_data()) is not None:
        record = Record.FromString(data)
        row = {"/".join(i.nested_key): json.loads(i.value_json) for i in record.history.item}
        for name in row.keys() - {"epoch", "trainer/global_step"}:
            if not name.startswith("_") and "/prompts/" not in name:  # a table, see below
                kept.setdefault(name, {})[row["trainer/global_step"]] = row[name]
    return kept


READERS = {"csv": from_csv, "tensorboard": from_tensorboard, "wandb": from_wandb}


def test_the_run_logs_every_metric(run):
    kept = from_csv(run / "own")
    assert set(kept) == METRICS
    assert sorted(kept["selection/frac_mixed"]) == list(range(STEPS))


@pytest.mark.parametrize("logger", READERS)
def test_a_logger_keeps_what_the_run_logs(run, logger):
    assert READERS[logger](run / logger) == from_csv(run / "own")


def test_tensorboard_and_wandb_show_the_prompts_to_look_at(run):
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    (tag,) = (name for name in events.Tags()["tensors"] if name.startswith("selection/prompts"))
    text = events.Tensors(tag)[-1].tensor_proto.string_val[0].decode()
    assert text.startswith("| why | id | prompt | key | answer | visits | solved | first |")
    (*_, table) = sorted(run.glob("wandb/offline-run-*/files/media/table/selection/prompts*.json"))
    assert json.loads(table.read_text())["columns"][:3] == ["why", "id", "prompt"]
