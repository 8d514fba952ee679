"""Real TRL trainers roll out the chosen prompts, whatever their settings."""

from __future__ import annotations

import functools
import itertools
import json
import math

import pytest

pytest.importorskip("trl")

import pyarrow.parquet as pq
from trl import GRPOTrainer
from trl.experimental.gmpo import GMPOConfig, GMPOTrainer

from benchmarks.trl_run import correct, make_trainer, tiny_dataset
from insight_ext import ObservationError, PromptPool
from insight_ext.adapters.trl import select_prompts
from insight_ext.adapters.trl_checks import COLUMN
from insight_ext.offline.logs import read_answers

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def shaped(completion_ids, **_):
    return [len(ids) / 100 for ids in completion_ids]


async def correct_later(completion_ids, chance, **_):
    return correct(completion_ids, chance)


def correct_or_unscorable(completion_ids, chance, **_):
    rewards = correct(completion_ids, chance)
    rewards[0], rewards[9] = None, math.nan
    return rewards


def correct_one_by_one(completion_ids, chance, **_):
    yield from correct(completion_ids, chance)


class Judge:
    """A reward function that is an object, asynchronous."""

    async def __call__(self, completion_ids, chance, **_):
        return correct(completion_ids, chance)


class OwnTrainer(GRPOTrainer):
    def compute_loss(self, *args, **kwargs):
        self.asked = True
        return super().compute_loss(*args, **kwargs)


def all_rewards_of_each_group(watch):
    """By group, whether all 8 rollouts were told once."""
    numbers = {}
    for group, rewards, first in watch.told:
        numbers.setdefault(group, []).extend(range(first, first + len(rewards)))
    return {group: sorted(each) == list(range(8)) for group, each in numbers.items()}


@pytest.mark.parametrize("kind", ["grpo", "rloo"])
def test_every_generation_is_chosen_from_the_results_of_all_before(kind, tmp_path, watched):
    trainer = make_trainer(tmp_path, kind, max_steps=5)
    watch = watched(select_prompts(trainer))
    trainer.train()
    assert watch.lags == [0] * 5
    assert [len(set(chosen)) for chosen in watch.chosen] == [8] * 5
    assert all_rewards_of_each_group(watch) == dict.fromkeys(range(40), True)
    assert int(watch.loop.selector.posterior.visits.sum()) == 40


@pytest.mark.parametrize(
    ("settings", "generations", "lags"),
    [
        ({"gradient_accumulation_steps": 4}, 6, {0}),
        ({"num_iterations": 2}, 3, {0}),
        ({"steps_per_generation": 2}, 3, {0}),
        ({"steps_per_generation": 2, "gradient_accumulation_steps": 2}, 6, {0}),
        ({"steps_per_generation": 3, "gradient_accumulation_steps": 2}, 4, {0}),
        ({"steps_per_generation": 4, "num_iterations": 3}, 1, {0}),
        # All generations of one optimiser step are fetched before the first is rolled out.
        ({"steps_per_generation": 1, "gradient_accumulation_steps": 4}, 24, {0, 1, 2, 3}),
        ({"generation_batch_size": 32}, 3, {0}),
        ({"dataloader_num_workers": 2}, 6, {0}),
    ],
    ids=str,
)
def test_the_layout_is_that_of_trl(settings, generations, lags, tmp_path, watched):
    trainer = make_trainer(
        tmp_path, **{"per_device_train_batch_size": 16, "max_steps": 6, **settings}
    )
    prompts = trainer.args.generation_batch_size // 8
    watch = watched(select_prompts(trainer))
    trainer.train()
    assert len(watch.chosen) == generations
    assert {len(set(chosen)) for chosen in watch.chosen} == {prompts}
    assert set(watch.lags) == lags
    assert all_rewards_of_each_group(watch) == dict.fromkeys(range(prompts * generations), True)


def test_no_prompt_comes_twice_among_the_generations_of_one_step(tmp_path, watched):
    trainer = make_trainer(
        tmp_path,
        per_device_train_batch_size=32,
        gradient_accumulation_steps=4,
        steps_per_generation=1,
        dataset=tiny_dataset(16),
    )
    watch = watched(select_prompts(trainer))
    trainer.train()
    for step in range(4):
        chosen = watch.chosen[4 * step : 4 * step + 4]
        assert sorted(itertools.chain(*chosen)) == list(range(16))


def test_epochs_have_as_many_steps_as_in_trls_own_order(tmp_path):
    def steps(select):
        trainer = make_trainer(tmp_path, max_steps=-1, num_train_epochs=2, dataset=tiny_dataset(44))
        if select:
            select_prompts(trainer)
        trainer.train()
        return trainer.state.global_step, trainer.state.epoch, len(trainer.get_train_dataloader())

    assert steps(True) == steps(False) == (10, 2.0, 5)


@pytest.mark.parametrize(
    "function",
    [
        *(correct, correct_later, correct_one_by_one, Judge()),
        *map(functools.partial, (correct, correct_later, Judge())),
    ],
    ids=["function", "async", "generator", "async object", "partial", "async partial", "both"],
)
def test_every_kind_of_reward_function_is_understood(function, tmp_path, watched):
    trainer = make_trainer(tmp_path, reward_funcs=function)
    watch = watched(select_prompts(trainer))
    trainer.train()
    assert all_rewards_of_each_group(watch) == dict.fromkeys(range(32), True)


@pytest.mark.parametrize("outcome", ["correct", correct])
def test_the_named_one_of_several_rewards_says_what_is_correct(outcome, tmp_path, watched):
    trainer = make_trainer(tmp_path, reward_funcs=[shaped, correct])
    watch = watched(select_prompts(trainer, outcome=outcome))
    trainer.train()
    assert {reward for _, rewards, _ in watch.told for reward in rewards} <= {0.0, 1.0}
    assert trainer.state.log_history[0]["rewards/shaped/mean"] > 0


def test_answers_that_could_not_be_scored_are_left_out(tmp_path, watched):
    trainer = make_trainer(tmp_path, reward_funcs=correct_or_unscorable, max_steps=3)
    watch = watched(select_prompts(trainer))
    trainer.train()
    assert len(watch.told) == 24
    assert int(watch.loop.selector.posterior.visits.sum()) == 24


def test_evaluation_in_between_changes_no_belief(tmp_path, watched):
    trainer = make_trainer(
        tmp_path,
        max_steps=4,
        eval_strategy="steps",
        eval_steps=1,
        per_device_eval_batch_size=16,
        more={"eval_dataset": tiny_dataset(4)},
    )
    watch = watched(select_prompts(trainer))
    trainer.train()
    assert all_rewards_of_each_group(watch) == dict.fromkeys(range(32), True)
    logs = trainer.state.log_history
    assert not any("selection" in name for log in logs if "eval_reward" in log for name in log)
    assert len([log for log in logs if "eval_reward" in log]) == 4


@pytest.mark.parametrize("base", [OwnTrainer, GMPOTrainer])
def test_subclasses_are_served(base, tmp_path, watched):
    trainer = make_trainer(tmp_path, base=base, config=GMPOConfig if base is GMPOTrainer else None)
    watch = watched(select_prompts(trainer))
    trainer.train()
    assert isinstance(trainer, base)
    assert watch.lags == [0] * 4


def test_chat_messages_are_prompts(tmp_path, watched):
    rows = [
        {"prompt": [{"role": "user", "content": row["prompt"]}], "chance": row["chance"]}
        for row in tiny_dataset(40)
    ]
    trainer = make_trainer(tmp_path, dataset=type(tiny_dataset(1)).from_list(rows))
    trainer.processing_class.chat_template = (
        "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    )
    watch = watched(select_prompts(trainer))
    trainer.train()
    assert watch.lags == [0] * 4


def test_the_other_reward_functions_get_the_columns_as_before(tmp_path):
    seen = []

    def curious(completion_ids, **columns):
        seen.append(columns)
        return [0.0] * len(completion_ids)

    trainer = make_trainer(tmp_path, reward_funcs=[correct, curious], max_steps=1)
    select_prompts(trainer, outcome=correct)
    trainer.train()
    assert seen[0].keys() - {COLUMN} >= {"chance", "trainer_state", "prompts"}
    assert len(seen[0]["chance"]) == 64


def test_metrics_go_through_the_log_of_trl(tmp_path):
    trainer = make_trainer(tmp_path, max_steps=6, logging_steps=3)
    select_prompts(trainer)
    trainer.train()
    logs = [log for log in trainer.state.log_history if "loss" in log]
    for log in logs:  # means over the three steps, as TRL's own of the same groups
        assert log["selection/frac_mixed"] == pytest.approx(1 - log["frac_reward_zero_std"])
        assert log["selection/reward_mean"] == pytest.approx(log["reward"])
    assert [log["selection/rollouts_generated"] for log in logs] == [192, 384]


def test_every_group_is_recorded_in_the_output_folder(tmp_path):
    dataset = tiny_dataset().add_column("name", [f"task-{at}" for at in range(200)])
    trainer = make_trainer(tmp_path, dataset=dataset)
    select_prompts(trainer, fields={"id": "name"})
    trainer.train()
    rows = pq.read_table(tmp_path / "groups.parquet").to_pylist()
    assert [row["step"] for row in rows] == [step for step in range(4) for _ in range(8)]
    for row in rows:
        assert row["id"] == f"task-{row['index']}"
        chance = dataset[row["index"]]["chance"]
        assert row["rollouts"] == 8
        assert chance == 0.5 or row["successes"] == 8 * chance


@pytest.mark.parametrize("chat", [False, True])
def test_answers_are_kept_for_people_to_look_at(chat, tmp_path):
    seen = set()

    def looked_at(completions, completion_ids, chance, **_):
        seen.update(each[-1]["content"] if chat else each for each in completions)
        return correct(completion_ids, chance)

    dataset = tiny_dataset()
    if chat:
        said = [[{"role": "user", "content": text}] for text in dataset["prompt"]]
        dataset = dataset.remove_columns("prompt").add_column("prompt", said)
    trainer = make_trainer(tmp_path, dataset=dataset, reward_funcs=looked_at)
    trainer.processing_class.chat_template = (
        "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    )
    loop = select_prompts(trainer)
    trainer.train()
    samples = (tmp_path / "samples.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in samples]
    assert len(rows) >= 4 * 4
    assert {row["completion"] for row in rows} <= seen
    assert all(row["prompt"] == loop.pool[loop.pool.position(row["id"])].prompt for row in rows)


def correct_and_uncertain(completion_ids, chance, log_extra, **_):
    log_extra("perplexity", [1.0 + sum(ids) / 100 for ids in completion_ids])
    log_extra("words", [str(ids) for ids in completion_ids])
    return correct(completion_ids, chance)


async def correct_and_uncertain_later(**columns):
    return correct_and_uncertain(**columns)


@pytest.mark.parametrize("function", [correct_and_uncertain, correct_and_uncertain_later])
def test_answers_are_recorded_with_the_uncertainty_that_trl_logs(function, tmp_path):
    trainer = make_trainer(tmp_path, reward_funcs=function, log_completions=True)
    loop = select_prompts(trainer, answers=True)
    trainer.train()
    ours = read_answers(tmp_path, pool=loop.pool)
    trls = read_answers(tmp_path / "completions", pool=loop.pool)
    assert len(ours) == len(trls) == 4 * 64
    assert len(set(ours.uncertainty.tolist())) > 8
    rows = [
        sorted(zip(*map(list, (log.prompt, log.uncertainty, log.successes)), strict=True))
        for log in (ours, trls)
    ]
    assert rows[0] == rows[1]


def test_an_uncertainty_that_is_not_there_for_each_answer_is_refused(tmp_path):
    def uncertain(completion_ids, log_extra, **_):
        log_extra("entropy", [0.5])
        return [0.0] * len(completion_ids)

    trainer = make_trainer(tmp_path, reward_funcs=uncertain)
    select_prompts(trainer)
    with pytest.raises(ObservationError, match="entropy: expected one for each of 64 answ"):
        trainer.train()


def test_the_data_set_is_the_pool_that_a_file_of_its_rows_is(tmp_path):
    rows = [{"prompt": f"{at}+1=", "solution": str(at + 1), "chance": 0.5} for at in range(20)]
    dataset = type(tiny_dataset(1)).from_list(rows)
    dataset.to_parquet(tmp_path / "rows.parquet")
    loop = select_prompts(make_trainer(tmp_path / "run", dataset=dataset))
    assert loop.pool.fingerprint == PromptPool.from_file(tmp_path / "rows.parquet").fingerprint


def test_a_seed_of_the_trainer_is_a_seed_of_the_choice(tmp_path, watched):
    def chosen(seed):
        trainer = make_trainer(tmp_path / str(seed), seed=seed)
        watch = watched(select_prompts(trainer))
        trainer.train()
        return watch.chosen

    assert chosen(0) == chosen(0) != chosen(1)


@pytest.mark.parametrize(
    ("settings", "groups"),
    [({}, 32), ({"num_iterations": 3}, 16), ({"gradient_accumulation_steps": 2}, 64)],
    ids=str,
)
def test_a_run_too_short_for_its_prompts_is_warned_of(settings, groups, tmp_path, watched):
    trainer = make_trainer(tmp_path, **settings)
    watch = watched(select_prompts(trainer))
    with pytest.warns(UserWarning, match=f"a run of {groups} groups visits each of 200 prompts"):
        trainer.train()
    assert sum(map(len, watch.chosen)) == groups
