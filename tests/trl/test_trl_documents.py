"""What the guide and the README show of TRL works as shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("trl")

from benchmarks.trl_run import correct, tiny_dataset, tiny_model
from insight_ext.offline.logs import read_log

ROOT = Path(__file__).parent.parent.parent

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def brevity(completion_ids, **_):
    return [-len(ids) / 100 for ids in completion_ids]


@pytest.mark.parametrize("page", ["docs/trainers.md", "README.md"])
def test_the_lines_for_trl_run(page, tmp_path, monkeypatch):
    programs = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    (program,) = [each for each in programs if "insight_ext.adapters.trl" in each]
    monkeypatch.chdir(tmp_path)
    model, tokenizer = tiny_model()
    tokenizer.save_pretrained(tmp_path / "model")
    model.save_pretrained(tmp_path / "model")

    def accuracy(completion_ids, chance, **_):
        return correct(completion_ids, chance)

    yours = {
        "model": str(tmp_path / "model"),
        "dataset": tiny_dataset(),
        "accuracy": accuracy,
        "brevity": brevity,
        "settings": {
            "max_steps": 20,
            "per_device_train_batch_size": 64,
            "max_completion_length": 4,
            "report_to": [],
            "use_cpu": True,
            "bf16": False,
        },
    }
    exec(program, yours)
    assert (tmp_path / "runs/own/checkpoint-20/insight_ext.pt").is_file()
    assert len(read_log(tmp_path / "runs/own").ids) == 160
