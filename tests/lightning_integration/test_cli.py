from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from insight_ext.cli.main import main as insight_ext
from lightning_integration.cli import main

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*treespec"),
    pytest.mark.filterwarnings("ignore:.*groups"),
    pytest.mark.filterwarnings("ignore:.*eval mode at the start of training"),
]

CONFIG = """
model:
  model: model
  rollouts: 4
  max_new_tokens: 3
data:
  pool: prompts.jsonl
  validation: held_out.jsonl
  prompts_per_step: 4
  steps_per_epoch: 6
trainer:
  max_epochs: 2
  log_every_n_steps: 1
  accelerator: cpu
  enable_progress_bar: false
  enable_model_summary: false
checkpoint_every: 4
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with a model, prompts and a configuration."""
    from lightning_integration.demo.model import make_model, make_tokenizer

    folder = tmp_path_factory.mktemp("project")
    tokenizer = make_tokenizer("0123456789+=")
    for saved in (make_model(tokenizer, layers=1, heads=1), tokenizer):
        saved.save_pretrained(folder / "model")
    for name, numbers in (("prompts", range(30)), ("held_out", range(30, 35))):
        rows = [{"id": f"q{i}", "prompt": f"{i}+1=", "answer": str(i + 1)} for i in numbers]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "own.yaml").write_text(CONFIG)
    return folder


@pytest.fixture
def here(project, tmp_path, monkeypatch):
    """A copy of the project as the working directory."""
    shutil.copytree(project, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setattr(sys, "argv", ["lightning_integration"])
    return tmp_path / "project"


def fit(*options):
    return main(["fit", "--config", "own.yaml", *options])


def test_a_threshold_that_is_found_in_training_is_that_of_validation(here, capsys):
    auto = ["--selection.success_threshold", "auto"]
    assert fit(*auto, "--model.filter", "learnability") == 0
    assert main(["validate", "--config", "own.yaml", *auto]) == 2
    assert "expected a number where nothing is trained, got auto" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--data.selector", "insigth"], "did you mean 'insight'?"),
        (["--data.pool", "nope.jsonl"], "nope.jsonl: expected prompts"),
        (["--model.reward", "exact_mach"], "did you mean 'exact_match'?"),
        (["--model.reward", "nine:reward"], "the present folder, "),
        (["--model.filter", "speeed"], "did you mean 'speed'?"),
        (["--model.engine", "vlm"], "did you mean 'vllm'?"),
    ],
    ids=lambda given: given[-1] if isinstance(given, list) else "",
)
def test_a_wrong_name_is_told_before_a_model_is_loaded(here, monkeypatch, capsys, options, told):
    monkeypatch.setattr("lightning_integration.grpo.rollout_module.load_model", None)
    assert fit(*options) == 2
    assert told in capsys.readouterr().err


def test_fields_of_other_names_are_named_in_a_configuration_and_in_a_command(here, capsys):
    for name in ("prompts", "held_out"):
        rows = [json.loads(row) for row in (here / f"{name}.jsonl").read_text().splitlines()]
        renamed = [{"id": row["id"], "task": row["prompt"], "key": row["answer"]} for row in rows]
        (here / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in renamed))
    assert fit() == 2
    assert "in a command --field prompt=FIELD, under `data:`" in capsys.readouterr().err
    assert fit("--data.fields", "{prompt: task, answer: key}", "--trainer.max_epochs", "1") == 0
    capsys.readouterr()
    asked = ["rank", "--log", "runs/own", "--pool", "prompts.jsonl", "--output", "-"]
    assert insight_ext(asked) == 2
    assert insight_ext([*asked, "--field", "prompt=task", "--field", "answer=key"]) == 0
    assert "1+1=" in capsys.readouterr().out


def test_a_wrong_command_is_told_with_all_there_are(capsys):
    assert main(["fitt"]) == 2
    told = capsys.readouterr().err
    assert "export, sample; did you mean 'fit'?" in told
    assert main(["--help"]) == 0
    assert all(f"  {name} " in capsys.readouterr().out for name in ["export"])


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("--selection.historyevery=3", "did you mean '--selection.history_every'?; "),
        ("--trainer.max_epoch=3", "did you mean '--trainer.max_epochs'?; "),
        ("--model.rollouts=many", 'Parser key "model.rollouts": Expected '),
    ],
)
def test_a_wrong_option_is_told_in_one_line_without_all_that_there_are(here, capsys, option, told):
    assert fit(option) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert line.endswith("`lightning_integration fit --help` lists what there is")


def test_a_wrong_key_of_a_configuration_is_told_with_the_nearest_one(here, capsys):
    text = Path("own.yaml").read_text()
    Path("own.yaml").write_text(text.replace("  rollouts:", "  rolouts:", 1))
    assert fit() == 2
    assert "did you mean 'model.rollouts'?" in capsys.readouterr().err


def test_a_configuration_that_is_not_there_is_told_in_words(here, capsys):
    assert main(["fit", "--config", "nope.yaml"]) == 2
    told = "lightning_integration: nope.yaml: expected a YAML file, got: No such file or directory"
    assert capsys.readouterr().err.strip() == told


def test_ctrl_c_ends_a_training_with_130_and_a_line_that_says_what_is_kept(here, capfd, recwarn):
    command = [sys.executable, "-m", "lightning_integration", "fit", "--config", "own.yaml"]
    command += ["--data.steps_per_epoch", "100000"]

    def heed_ctrl_c() -> None:  # programs in the background are started to ignore it
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(command, start_new_session=True, preexec_fn=heed_ctrl_c) as process:
        last = Path("runs/own/checkpoints/last.ckpt")
        while not last.exists() and process.poll() is None:
            os.sched_yield()
        process.send_signal(signal.SIGINT)
    told = capfd.readouterr().err
    assert process.returncode == 130
    assert "Traceback" not in told
    kept = re.search(
        r"stopped after (\d+) steps; .*last.ckpt is kept; resume with --ckpt_path", told
    )
    more = f"--trainer.max_steps={int(kept[1]) + 2}"
    assert fit("--data.steps_per_epoch=100000", "--ckpt_path=last", more) == 0
    # It goes on exactly, in the middle of an epoch, too: no reason for Lightning to warn.
    assert not [each for each in recwarn if "not resumable" in str(each.message)]


def test_without_a_terminal_plain_lines_say_how_far_a_training_is(here, capsys):
    config = Path("own.yaml")
    config.write_text(config.read_text().replace("  enable_progress_bar: false\n", ""))
    assert fit("--trainer.max_epochs", "1") == 0
    told = capsys.readouterr().err
    assert "training: 1 of 6 steps" in told
    assert re.search(r"training: held-out accuracy \d+\.\d% after 6, 6 of 6 steps", told)
    assert fit("--ckpt_path", "last") == 0
    told = capsys.readouterr().err
    assert re.search(r"training: .*7 of 12 steps", told)
    assert "12 of 12 steps" in told


def steps():
    return pq.read_table("runs/own/groups.parquet")["step"].to_pylist()


def test_a_run_leaves_everything_in_one_folder_and_goes_on_from_there(here, capsys):
    assert fit() == 0
    folder = here / "runs/own"
    assert {"config.yaml", "metrics.csv", "groups.parquet", "beliefs.parquet"} <= {
        path.name for path in folder.iterdir()
    }
    assert list(folder.glob("events.out.tfevents.*"))
    assert (folder / "checkpoints/last.ckpt").is_file()
    assert steps() == [step for step in range(12) for _ in range(4)]

    capsys.readouterr()
    assert fit() == 2
    assert "runs/own holds a run already" in capsys.readouterr().err
    assert fit("--ckpt_path", "last", "--trainer.max_epochs", "3") == 0
    assert steps() == [step for step in range(18) for _ in range(4)]
    resolved = yaml.safe_load((folder / "config.yaml").read_text())
    assert resolved["trainer"]["default_root_dir"] == "runs/own"
    assert resolved["data"]["selector"] == "insight"


def test_the_resolved_configuration_is_one(here):
    assert fit() == 0
    shutil.move("runs/own", "runs/first")
    assert main(["fit", "--config", "runs/first/config.yaml"]) == 0
    assert pq.read_table("runs/own/groups.parquet").equals(
        pq.read_table("runs/first/groups.parquet")
    )


def test_a_rehearsal_writes_nothing(here):
    assert fit("--trainer.fast_dev_run", "true") == 0
    assert not (here / "runs").exists()


def test_validation_leaves_the_run_alone(here):
    assert fit("--trainer.max_epochs", "1") == 0
    before = {p: p.read_bytes() for p in (here / "runs").glob("**/*") if p.is_file()}
    assert main(["validate", "--config", "own.yaml", "--ckpt_path", "last"]) == 0
    assert {p: p.read_bytes() for p in (here / "runs").glob("**/*") if p.is_file()} == before


def test_a_pool_may_come_from_a_function(here):
    pool = {
        "class_path": "insight_ext.PromptPool.from_jsonl",
        "init_args": {"path": "prompts.jsonl"},
    }
    assert fit("--data.pool", json.dumps(pool), "--trainer.fast_dev_run", "true") == 0


SEVERAL = """
model:
  reward: [exact_match, "brief:brevity"]
  reward_weights: [1.0, 0.5]
"""
BREVITY = """
def brevity(prompt, completion):
    return -len(completion)
"""


def test_several_rewards_with_one_outcome_come_from_the_configuration(here, capsys, monkeypatch):
    (here / "several.yaml").write_text(SEVERAL)
    (here / "brief.py").write_text(BREVITY)
    monkeypatch.syspath_prepend(here)
    assert fit("--config", "several.yaml") == 2
    assert "outcome: expected the one reward" in capsys.readouterr().err
    assert fit("--config", "several.yaml", "--model.outcome", "exact_match") == 0
    names = (here / "runs/own/metrics.csv").read_text().splitlines()[0].split(",")
    assert {"reward/exact_match", "reward/brevity"} <= set(names)


@pytest.mark.parametrize(
    ("chosen", "options"),
    [
        ("dynamic_sampling", {"max_batches": 2}),
        ({"class_path": "insight_ext.filters.VCRL", "init_args": {"early": 0.0}}, None),
    ],
)
def test_a_filter_comes_from_the_configuration_and_its_run_goes_on(here, chosen, options):
    model = yaml.safe_load(CONFIG)["model"] | {"filter": chosen, "filter_options": options}
    (here / "own.yaml").write_text(yaml.safe_dump(yaml.safe_load(CONFIG) | {"model": model}))
    assert fit("--trainer.max_epochs", "1") == 0
    assert fit("--ckpt_path", "last") == 0
    assert set(steps()) == set(range(12))
    with (here / "runs/own/metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    trained = [row for row in rows if row["selection/rollouts_generated"]]
    assert {row["selection/filter_rollouts"] != "" for row in trained} == {True}
    rolled_out = sum(pq.read_table("runs/own/groups.parquet")["rollouts"].to_pylist())
    assert float(trained[-1]["selection/rollouts_generated"]) == rolled_out
    assert fit("--ckpt_path", "last", "--model.filter", "null", "--model.filter_options", "null")
    assert main(["validate", "--config", "own.yaml", "--ckpt_path", "last"]) == 0


@pytest.mark.parametrize("selector", ["insight", "gps"])
def test_a_strategy_learns_from_fields_of_the_prompts(here, capsys, selector):
    rows = [json.loads(line) for line in (here / "prompts.jsonl").read_text().splitlines()]
    kinds = [row | {"kind": ["one digit", "two digits"][int(row["id"][1:]) > 9]} for row in rows]
    (here / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kinds))
    chosen = (f"--data.selector={selector}", "--data.selector_options.features=meta:kind")
    assert fit(*chosen, "--trainer.max_epochs=1") == 0
    assert fit(*chosen, "--ckpt_path=last") == 0
    assert steps() == [step for step in range(12) for _ in range(4)]
    resolved = yaml.safe_load((here / "runs/own/config.yaml").read_text())
    assert resolved["data"]["selector_options"] == {"features": "meta:kind"}
    (here / "runs").rename(here / "before")
    assert fit(f"--data.selector={selector}", "--data.selector_options.features=meta:sort") == 2
    assert "no field 'sort'; its fields are kind" in capsys.readouterr().err


@pytest.mark.parametrize("written", ["in the file", "on the command line"])
@pytest.mark.parametrize("source", ["meta:rate", "log:earlier.csv", "empirical"])
def test_a_prior_is_named_in_a_configuration(here, capsys, source, written):
    rows = [json.loads(line) for line in (here / "prompts.jsonl").read_text().splitlines()]
    rated = [row | {"rate": "3/4"} for row in rows]
    (here / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rated))
    logged = "".join(f"{row['id']},0,6,8\n" for row in rows)
    (here / "earlier.csv").write_text(f"id,step,successes,rollouts\n{logged}")
    options = {"prior": source, **({} if source == "empirical" else {"prior_strength": 4})}
    if written == "in the file":
        config = yaml.safe_load(CONFIG)
        config["data"] |= {"selector": "mixed_group", "selector_options": options}
        (here / "own.yaml").write_text(yaml.safe_dump(config))
        asked = []
    else:
        asked = [f"--data.selector_options.{name}={value}" for name, value in options.items()]
        asked.append("--data.selector=mixed_group")
    assert fit(*asked, "--trainer.max_epochs=1") == 0
    first = pq.read_table("runs/own/groups.parquet")["predicted"].to_pylist()[:4]
    # Three of four answers were right, in the field and in the log; nothing is fitted to nothing.
    assert first == pytest.approx([0.5 if source == "empirical" else 4 / 6] * 4)
    (here / "runs").rename(here / "before")
    assert fit("--data.selector_options.prior=meta:ratio") == 2
    message = "prior: expected every prompt to have a field 'ratio', prompt 'q0' (row 0) has rate"
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("selector", ["insight", "gps"])
def test_a_prior_is_named_beside_features(here, capsys, selector):
    rows = [json.loads(line) for line in (here / "prompts.jsonl").read_text().splitlines()]
    told = [row | {"kind": len(row["id"]), "rate": "3/4"} for row in rows]
    (here / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in told))
    options = {"features": "meta:kind", "prior": "meta:rate", "prior_strength": 4}
    config = yaml.safe_load(CONFIG)
    config["data"] |= {"selector": selector, "selector_options": options}
    (here / "own.yaml").write_text(yaml.safe_dump(config))
    assert fit("--trainer.max_epochs=1") == 0
    first = pq.read_table("runs/own/groups.parquet")["predicted"].to_pylist()[:4]
    if selector == "insight":  # half an answer of one from the kind, three of four from the field
        assert first == pytest.approx([3.5 / 5] * 4)
    else:
        assert min(first) > 0.5
    assert fit("--ckpt_path=last") == 0
    assert steps() == [step for step in range(12) for _ in range(4)]
    (here / "runs").rename(here / "before")
    assert fit("--data.selector_options.prior=meta:kind") == 2
    assert "success rate in [0, 1]" in capsys.readouterr().err


def broken_line(folder):
    with (folder / "prompts.jsonl").open("a") as file:
        file.write('{"id": "q99", "prompt": \n')


def twice(folder):
    with (folder / "prompts.jsonl").open("a") as file:
        file.write('{"id": "q7", "prompt": "7+1=", "answer": "8"}\n')


def no_tokenizer(folder):
    for path in (folder / "model").glob("*token*"):
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "options", "expected"),
    [
        (broken_line, (), "prompts.jsonl:31"),
        (twice, (), "'q7'"),
        (lambda folder: (folder / "prompts.jsonl").write_text(""), (), "empty"),
        (lambda folder: (folder / "prompts.jsonl").unlink(), (), "prompts.jsonl"),
        (no_tokenizer, (), "tokenizer"),
        (None, ("--model.model", "nowhere"), "nowhere"),
        (None, ("--data.selector", "nobody"), "insight"),
        (None, ("--data.prompts_per_step", "31"), "the pool has 30 prompts"),
        (None, ("--model.model", "Owner/Model"), "hf download Owner/Model --local-dir Model"),
        (None, ("--model.reward", "tokenize:open"), "a function of a prompt and a completion"),
        (None, ("--model.reward", "reward.py"), "did you mean 'reward:NAME'?"),
        (None, ("--data.selector_options", "{mu: 3.0}"), "mu"),
        (None, ("--model.rollouts", "1"), "rollouts"),
        (None, ("--model.filter", "magic"), "dynamic_sampling, learnability"),
        (None, ("--model.filter", "vcrl", "--model.filter_options", "{cap: 3}"), "cap"),
        (None, ("--ckpt_path", "nowhere.ckpt"), "nowhere.ckpt"),
        (None, ("--ckpt_path", "last"), "expected a run to resume"),
        (None, ("--ckpt_path", "prompts.jsonl"), "prompts.jsonl"),
    ],
)
def test_bad_input_is_one_line(here, capsys, spoil, options, expected):
    if spoil:
        spoil(here)
    assert fit(*options) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("lightning_integration: ")
    assert expected in message
    assert not (here / "runs").exists()


@pytest.mark.parametrize("content", ["cut", "foreign"])
def test_a_file_that_is_no_checkpoint_is_refused_and_the_run_is_left(here, capsys, content):
    assert fit("--trainer.max_epochs", "1") == 0
    last = here / "runs/own/checkpoints/last.ckpt"
    if content == "cut":
        last.write_bytes(last.read_bytes()[:-1000])
    else:
        torch.save({"weights": torch.zeros(3)}, last)
    before = {p: p.read_bytes() for p in (here / "runs").glob("**/*") if p.is_file()}
    assert fit("--ckpt_path", "last") == 2
    assert "last.ckpt: expected a checkpoint" in capsys.readouterr().err.splitlines()[-1]
    assert {p: p.read_bytes() for p in (here / "runs").glob("**/*") if p.is_file()} == before


def test_there_must_be_a_run_to_resume(here, capsys):
    assert fit("--ckpt_path", "last") == 2
    assert "--ckpt_path last: expected a run to resume in runs/own" in capsys.readouterr().err


def test_another_pool_is_refused_and_the_run_is_left_as_it_was(here, capsys):
    assert fit("--trainer.max_epochs", "1") == 0
    before = {p: p.read_bytes() for p in (here / "runs").glob("**/*") if p.is_file()}
    (here / "prompts.jsonl").write_text('{"id": "new", "prompt": "1+1=", "answer": "2"}\n')
    assert fit("--ckpt_path", "last", "--data.prompts_per_step", "1") == 2
    assert "another pool: expected some of its" in capsys.readouterr().err.splitlines()[-1]
    after = {p: p.read_bytes() for p in (here / "runs").glob("**/*") if p.is_file()}
    assert {p: after[p] for p in before} == before


def test_the_program_ends_with_status_2_and_without_a_traceback(here):
    program = [sys.executable, "-m", "lightning_integration", "fit", "--config", "own.yaml"]
    done = subprocess.run(
        [*program, "--model.model", "nowhere"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def lines_of(path):
    return Path(path).read_text().splitlines()


def test_samples_of_completions_lie_in_the_runs_folder(here):
    assert fit() == 0
    samples = [json.loads(line) for line in lines_of("runs/own/samples.jsonl")]
    assert [sample["step"] for sample in samples] == [step for step in range(12) for _ in range(4)]
    prompts = {row["id"]: row for row in map(json.loads, lines_of("prompts.jsonl"))}
    for sample in samples:
        assert sample["prompt"] == prompts[sample["id"]]["prompt"]
        assert sample["answer"] == prompts[sample["id"]]["answer"]
        assert sample["reward"] == (sample["completion"].strip() == sample["answer"])


def test_a_resumed_run_writes_each_sample_once(here):
    assert fit("--trainer.max_epochs", "1") == 0
    with Path("runs/own/samples.jsonl").open("a") as file:
        file.write(json.dumps({"step": 6, "id": "q1"}) + '\n{"step": 7')
    assert fit("--ckpt_path", "last") == 0
    steps_of = [json.loads(line)["step"] for line in lines_of("runs/own/samples.jsonl")]
    assert steps_of == [step for step in range(12) for _ in range(4)]


def test_a_checkpoint_is_exported_as_a_folder_that_transformers_loads(here, capsys):
    assert fit("--trainer.max_epochs", "1", "--model.learning_rate", "0.01") == 0
    last = "runs/own/checkpoints/last.ckpt"
    assert main(["export", last, "exported"]) == 0
    model = AutoModelForCausalLM.from_pretrained("exported")
    trained = torch.load(last, weights_only=True)["state_dict"]
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, trained[f"model.{name}"], rtol=0, atol=0)
    tokenizer = AutoTokenizer.from_pretrained("exported")
    assert tokenizer.decode(tokenizer("12+1=").input_ids) == "12+1="
    capsys.readouterr()
    assert main(["export", last, "exported"]) == 2
    assert "exported: expected a new or an empty folder" in capsys.readouterr().err


def test_a_checkpoint_without_a_model_of_grpo_is_not_exported(here, capsys):
    assert fit("--trainer.max_epochs", "1") == 0
    last = Path("runs/own/checkpoints/last.ckpt")
    content = torch.load(last, weights_only=True)
    del content["model_files"]
    torch.save(content, last)
    assert main(["export", str(last), "exported"]) == 2
    assert "expected a checkpoint of GRPOModule" in capsys.readouterr().err
    assert not Path("exported").exists()


def test_adapters_are_merged_into_what_is_exported(here):
    options = ["--trainer.max_epochs", "1", "--model.learning_rate", "0.1"]
    assert fit(*options, "--model.lora", '{"r": 2}') == 0
    assert main(["export", "runs/own/checkpoints/last.ckpt", "exported"]) == 0
    exported, base = (AutoModelForCausalLM.from_pretrained(name) for name in ("exported", "model"))
    assert exported.state_dict().keys() == base.state_dict().keys()
    assert not Path("exported/adapter_config.json").exists()
    state = torch.load("runs/own/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    layer = "model.layers.0.self_attn.q_proj"
    down, up = (
        state[f"model.base_model.model.{layer}.lora_{side}.default.weight"] for side in "AB"
    )
    scale = 8 / 2  # lora_alpha, as peft has it, by r
    expected = base.state_dict()[f"{layer}.weight"] + scale * up @ down
    torch.testing.assert_close(exported.state_dict()[f"{layer}.weight"], expected)


def test_a_run_with_adapters_goes_on_with_them_alone(here, capsys):
    assert fit("--model.lora", '{"r": 2}', "--trainer.max_epochs", "1") == 0
    assert fit("--ckpt_path", "last") == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("lightning_integration: model: expected the weights of the checkpoint")
    assert told.endswith(
        "lora and kl_coefficient of the run that wrote it, which its config.yaml has"
    )
    assert len(steps()) == 6 * 4
    assert fit("--ckpt_path", "last", "--model.lora", '{"r": 2}') == 0
    assert len(steps()) == 12 * 4


# The rules as published, see docs/strategies.md, and of each input one that is named by a field.
PUBLISHED = {
    "insight": {"decay": 1, "candidate_ratio": 4},
    "mopps": {"rule": "threshold", "interval": [0.3, 0.7], "prior": "meta:rate"},
    "mixed_group": {"rule": "proportional", "candidate_ratio": 2},
    "gps": {"features": "ngrams:8", "prior": "empirical"},
    "dps": {"shared": False, "persistence": 1, "memory": 0.5, "error": 0, "first_visit": True},
    "bots": {"references": "meta:weak,rate", "decay": 0.9, "sharing": 0.1, "candidate_ratio": None},
    "greso": {"prior": "log:earlier.csv"},
    "adarft": {"difficulty": "meta:hard", "prior": "difficulty:hard"},
    "prioritized": {"prior": [1e-6, 1e-6]},
    "difficulty_pools": {"easy": 0.75, "hard": 0.25, "weights": [0.2, 0.2]},
}


@pytest.mark.parametrize("written", ["in the file", "on the command line"])
@pytest.mark.parametrize("selector", PUBLISHED)
def test_the_rules_as_published_are_named_in_a_configuration(here, selector, written):
    rows = [json.loads(line) for line in (here / "prompts.jsonl").read_text().splitlines()]
    fields = {"rate": "3/4", "weak": 0.25, "hard": 40}
    told = "".join(json.dumps({**row, **fields}) + "\n" for row in rows)
    (here / "prompts.jsonl").write_text(told)
    logged = "".join(f"{row['id']},0,6,8\n" for row in rows)
    (here / "earlier.csv").write_text(f"id,step,successes,rollouts\n{logged}")
    options = PUBLISHED[selector]
    config = yaml.safe_load(CONFIG)
    config["trainer"] |= {"max_steps": 2, "max_epochs": -1}
    config["data"] |= {"validation": None, "selector": selector}
    asked = []
    if written == "in the file":
        config["data"]["selector_options"] = options
    else:
        texts = {name: json.dumps(value).strip('"') for name, value in options.items()}
        asked = [f"--data.selector_options.{name}={text}" for name, text in texts.items()]
    (here / "own.yaml").write_text(yaml.safe_dump(config))
    assert fit(*asked) == 0
    resolved = yaml.safe_load((here / "runs/own/config.yaml").read_text())
    assert resolved["data"]["selector_options"] == options
    assert len(pq.read_table("runs/own/groups.parquet")) == 8
