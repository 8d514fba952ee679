from __future__ import annotations

import csv
import math
import re
import shutil
from copy import deepcopy

import pyarrow.parquet as pq
import pytest
import torch

from insight_ext import (
    ArgumentError,
    CheckpointError,
    Group,
    ObservationError,
    Prompt,
    PromptPool,
)
from insight_ext.curators import point_biserial
from insight_ext.filters import FILTERS, VCRL, DynamicSampling
from insight_ext.offline.logs import read_answers
from insight_ext.runs.glossary import glossary
from lightning_integration import GRPOModule, PromptDataModule, PromptSelectionCallback
from lightning_integration.demo.model import make_model, make_tokenizer
from lightning_integration.rollouts import Rollouts

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*treespec"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists"),
    pytest.mark.filterwarnings("ignore:.*no `val_dataloader`"),
    pytest.mark.filterwarnings("ignore:.*eval mode at the start of training"),
    pytest.mark.filterwarnings("ignore:.*groups"),
    pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed"),
]

TOKENIZER = make_tokenizer("0123456789+=")
NAMES = pytest.mark.parametrize("name", FILTERS)
PROMPTS, BATCH, ROLLOUTS = 40, 4, 8
OPTIONS = {"vcrl": {"early": 0.5, "warmup": 3, "late": 0.9}, "dynamic_sampling": {"refill": 3}}


def pool(size=PROMPTS):
    return PromptPool(Prompt(f"p{i}", f"{i}+1=", str(i + 1)) for i in range(size))


def data(selector="uniform", size=PROMPTS, steps=2):
    return PromptDataModule(pool(size), selector, None, BATCH, steps)


class Answers:
    """An engine that answers prompt i rightly ("1") with a chance that the test decides.

    Wrong answers are longer and less certain. It remembers what it was asked.
    """

    def __init__(self, chance=lambda i: (i % 5) / 4):
        self.chance = chance
        self.asked = []

    def generate(self, prompts, n, sampling):
        encoded = TOKENIZER(list(prompts), padding=True, padding_side="left", return_tensors="pt")
        numbers = [int(prompt.partition("+")[0]) for prompt in prompts]
        self.asked += [(number, n) for number in numbers]
        chance = torch.tensor([[self.chance(number)] for number in numbers])
        generator = torch.Generator().manual_seed(sampling.seed)
        right = (torch.rand(len(prompts), n, generator=generator) < chance).flatten()
        texts = ["1" if one else "00" for one in right.tolist()]
        drawn = TOKENIZER(
            [text + TOKENIZER.eos_token for text in texts],
            padding=True,
            padding_side="right",
            return_tensors="pt",
        )
        mask = drawn.attention_mask.bool()
        return Rollouts(
            encoded.input_ids.repeat_interleave(n, dim=0),
            encoded.attention_mask.bool().repeat_interleave(n, dim=0),
            drawn.input_ids,
            mask,
            torch.where(right[:, None], -1.0, -2.0) * mask,
            texts,
            ["stop"] * len(texts),
        )

    def sync(self, model):
        pass


def is_one(prompt, completion):
    return float(completion == "1")


def module(engine=None, **options):
    torch.manual_seed(0)
    model = make_model(TOKENIZER, layers=1, heads=1, feed_forward=64)
    settings = {"reward": is_one, "rollouts": ROLLOUTS, "max_new_tokens": 3, "learning_rate": 1e-3}
    return GRPOModule(model, TOKENIZER, engine=engine, **settings | options)


def filtered(name, engine=None, **options):
    return module(engine, filter=name, filter_options=OPTIONS.get(name), **options)


def run(tiny, folder, trained, datamodule=None, ckpt_path=None, **options):
    datamodule = datamodule or data()
    return tiny.train(
        folder, ckpt_path, module=trained, datamodule=datamodule, **{"max_epochs": 1} | options
    )


def groups(folder):
    return pq.read_table(folder / "groups.parquet").to_pylist()


def column(folder, name):
    with (folder / "metrics.csv").open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file)]


def weights(trained):
    return torch.cat([p.detach().flatten() for p in trained.model.parameters()])


class Watched(GRPOModule):
    """Keeps what the updates were made on."""

    def _update(self, rollouts, advantages, weights):
        vars(self).setdefault("updates", []).append((rollouts, advantages))
        return super()._update(rollouts, advantages, weights)


def watched(name, engine):
    trained = filtered(name, engine)
    trained.__class__ = Watched
    return trained


# What a step does


@NAMES
def test_every_filter_trains_with_the_real_engine(tiny, tmp_path, name):
    trained = filtered(name, reward=lambda prompt, text: float(text[:1] in tuple("01234")))
    before = weights(trained).clone()
    assert run(tiny, tmp_path, trained).global_step == 2
    assert torch.isfinite(weights(trained)).all()
    assert not torch.equal(weights(trained), before)
    assert torch.isfinite(torch.tensor(column(tmp_path, "loss"))).all()


def test_every_logged_name_is_in_the_glossary(tiny, tmp_path):
    held_out = PromptPool([Prompt("h", "1+1=", "2", {"kind": "sums"})])
    datamodule = PromptDataModule(
        pool(), "uniform", validation=held_out, prompts_per_step=BATCH, steps_per_epoch=2
    )
    trained = filtered("vcrl", reward=[is_one, length], outcome="is_one", old_logprobs="recomputed")
    run(tiny, tmp_path, trained, datamodule)
    (head, *_) = (tmp_path / "metrics.csv").read_text().splitlines()
    patterns = {"val_accuracy/sums": "val_accuracy/KIND"}
    patterns |= dict.fromkeys(("reward/is_one", "reward/length"), "reward/NAME")
    names = {patterns.get(name, name) for name in head.split(",")} - {"step", "epoch"}
    assert {"reward/NAME", "val_accuracy/KIND", "selection/refills", "loss"} < names
    assert {name for name in names if not re.search(rf"\b{name}\b", glossary())} == set()


@NAMES
def test_every_rollout_is_counted_and_every_group_observed_once(tiny, tmp_path, name):
    engine, datamodule = Answers(), data("insight", steps=6)
    datamodule.selector.posterior.decay = 1.0
    trained = filtered(name, engine)
    run(tiny, tmp_path, trained, datamodule)
    rows, spent = groups(tmp_path), sum(n for _, n in engine.asked)
    assert (
        column(tmp_path, "selection/rollouts_generated")[-1]
        == trained.filter.rollouts_spent
        == spent
    )
    assert len({(row["step"], row["index"]) for row in rows}) == len(rows)

    asked, seen = torch.zeros(2, PROMPTS, dtype=torch.int64)
    for number, n in engine.asked:
        asked[number] += n
    for row in rows:
        seen[row["index"]] += row["rollouts"]
    assert torch.equal(seen, asked)
    posterior = datamodule.selector.posterior
    assert torch.equal(posterior.alpha + posterior.beta - 2.0, asked.float())
    assert int(posterior.visits.sum()) == len(rows)
    assert int(posterior.alpha.sum()) - PROMPTS == sum(row["successes"] for row in rows)
    assert datamodule.loop.step == 6


@NAMES
def test_answers_rewards_and_prompts_stay_together(tiny, tmp_path, name):
    trained = watched(name, Answers())
    run(tiny, tmp_path, trained, data(steps=4))
    for rollouts, advantages in trained.updates:
        assert 0 < len(advantages) <= BATCH
        prompts = rollouts.prompt_ids.view(len(advantages), ROLLOUTS, -1)
        assert (prompts == prompts[:, :1]).all()
        assert len(torch.unique(prompts[:, 0], dim=0)) == len(advantages)
        right = torch.tensor([text == "1" for text in rollouts.texts]).view(advantages.shape)
        assert torch.equal(advantages > 0, right)
        lengths = rollouts.completion_mask.sum(dim=1).view(advantages.shape)
        assert torch.equal(lengths == 2, right)
        assert torch.equal(rollouts.logprobs != 0, rollouts.completion_mask)


def length(prompt, completion):
    return -0.1 * len(completion)


@pytest.mark.parametrize("chosen", [None, "dynamic_sampling"])
def test_beliefs_and_filters_count_the_outcome_and_the_gradient_the_sum(tiny, tmp_path, chosen):
    solved = {}
    for name, chance in (("right", 1.0), ("mixed", 0.5)):
        trained = module(
            Answers(lambda i, chance=chance: chance),
            reward=[length, is_one],
            reward_weights=[1.0, 0.0],
            outcome="is_one",
            filter=chosen,
        )
        before = weights(trained)
        run(tiny, tmp_path / name, trained)
        assert torch.equal(weights(trained), before) == (name == "right")
        solved[name] = {row["successes"] for row in groups(tmp_path / name)}
    assert solved["right"] == {ROLLOUTS}
    assert len(solved["mixed"]) > 1
    assert 0 < column(tmp_path / "mixed", "reward/is_one")[0] < 1
    assert -0.2 < column(tmp_path / "mixed", "reward/length")[0] < -0.1


def test_dynamic_sampling_fills_the_batch_with_groups_that_vary(tiny, tmp_path):
    engine = Answers(lambda i: 0.5 if i % 2 else 0.0)
    trained = watched("dynamic_sampling", engine)
    run(tiny, tmp_path, trained)
    assert [len(advantages) for _, advantages in trained.updates] == [BATCH, BATCH]
    generated = column(tmp_path, "selection/groups_generated")
    shares = [pytest.approx(BATCH / n) for n in generated]
    assert column(tmp_path, "selection/frac_groups_kept") == shares
    refills = [(n - BATCH) / OPTIONS["dynamic_sampling"]["refill"] for n in generated]
    assert column(tmp_path, "selection/refills") == refills
    assert sum(refills) > 0


def test_refills_have_random_numbers_of_their_own(tiny, tmp_path):
    seeds = []

    class Listening(Answers):
        def generate(self, prompts, n, sampling):
            seeds.append(sampling.seed)
            return super().generate(prompts, n, sampling)

    run(tiny, tmp_path, filtered("speed", Listening()))
    assert len(set(seeds)) == len(seeds) > 4


def test_speed_gives_up_prompts_whose_screening_agrees(tiny, tmp_path):
    engine = Answers(lambda i: 0.5 if i % 2 else 0.0)
    run(tiny, tmp_path, filtered("speed", engine), data(steps=1))
    sizes = {row["rollouts"] for row in groups(tmp_path) if row["index"] % 2 == 0}
    assert sizes == {4}
    assert {row["rollouts"] for row in groups(tmp_path)} == {4, ROLLOUTS}
    total = len(groups(tmp_path))
    assert column(tmp_path, "selection/frac_groups_kept") == [pytest.approx(BATCH / total)]
    mixed = sum(0 < row["successes"] < row["rollouts"] for row in groups(tmp_path))
    assert column(tmp_path, "selection/frac_mixed") == [pytest.approx(mixed / total)]


def test_vcrl_rolls_remembered_prompts_out_again(tiny, tmp_path):
    seen = {}

    def only_early(i):
        return 0.5 if seen.setdefault(i, len(seen)) < BATCH else 0.0

    trained = filtered("vcrl", Answers(only_early))
    run(tiny, tmp_path, trained)
    first, second = ({r["index"] for r in groups(tmp_path) if r["step"] == s} for s in (0, 1))
    assert len(first) == BATCH < len(second)
    assert first & second
    assert column(tmp_path, "selection/refills") == [0.0, 1.0]


# When little or nothing is kept


@NAMES
@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_a_run_in_which_everything_is_filtered_out_goes_on_and_learns_nothing(
    tiny, tmp_path, name, chance
):
    trained = filtered(name, Answers(lambda i: chance), kl_coefficient=0.1)
    before = weights(trained).clone()
    with pytest.warns(UserWarning, match="training on none, since no rewards vary"):
        assert run(tiny, tmp_path, trained).global_step == 2
    assert torch.equal(weights(trained), before)
    for name in ("loss", "gradient_norm", "selection/frac_groups_kept", "selection/groups_trained"):
        assert column(tmp_path, name) == [0.0, 0.0]
    assert torch.isfinite(torch.tensor(column(tmp_path, "completion_length"))).all()


def test_the_cap_is_reached_with_a_warning_and_the_step_trains_on_what_there_is(tiny, tmp_path):
    engine = Answers(lambda i: 0.5 if i == 0 else 0.0)
    trained = module(engine, filter=DynamicSampling(max_batches=3))
    with pytest.warns(UserWarning, match="3 generation batches gave 1 of 4 groups to train on"):
        run(tiny, tmp_path, trained, data(steps=4))
    assert sum(column(tmp_path, "selection/groups_trained")) > 0
    assert set(column(tmp_path, "selection/refills")) == {2.0}


def test_a_pool_without_further_prompts_ends_the_refills(tiny, tmp_path):
    engine = Answers(lambda i: 0.5 if i == 0 else 0.0)
    trained = filtered("dynamic_sampling", engine)
    with pytest.warns(UserWarning, match="generation batches gave 1 of 4 groups"):
        run(tiny, tmp_path, trained, data("insight", size=6))
    for step in (0, 1):
        indices = [row["index"] for row in groups(tmp_path) if row["step"] == step]
        assert sorted(indices) == list(range(6))


@pytest.mark.parametrize("selector", ["insight", "expected_difficulty", "greso", "mopps"])
def test_refills_ask_for_other_prompts(tiny, tmp_path, selector):
    trained = filtered("dynamic_sampling", Answers(lambda i: 0.0))
    run(tiny, tmp_path, trained, data(selector))
    assert [len(groups(tmp_path))] == [2 * (BATCH + 9 * 3)]


def test_an_oversampled_first_batch_is_rolled_out_at_once(tiny, tmp_path):
    sampling = DynamicSampling(oversample=3)
    run(tiny, tmp_path, module(Answers(lambda i: 0.5), filter=sampling), data(steps=2))
    assert column(tmp_path, "selection/groups_generated") == [3.0 * BATCH] * 2
    assert column(tmp_path, "selection/groups_trained") == [float(BATCH)] * 2
    assert column(tmp_path, "selection/refills") == [0.0] * 2


def test_a_rehearsal_teaches_nothing(tiny, tmp_path):
    datamodule = data("insight")
    run(tiny, tmp_path, filtered("dynamic_sampling", Answers()), datamodule, fast_dev_run=2)
    assert datamodule.loop.step == 0
    assert int(datamodule.selector.posterior.visits.sum()) == 0
    trained = filtered("vcrl", Answers())
    run(tiny, tmp_path, trained, data("insight"), overfit_batches=2)
    assert trained.filter.state_dict()["values"] == {"steps": 0, "rollouts_spent": 0}
    assert len(trained.filter.memory) == 0


# Checkpoints


@NAMES
@pytest.mark.parametrize("selector", ["insight", "uniform"])
def test_a_resumed_run_is_the_uninterrupted_run(tiny, tmp_path, name, selector):
    whole, through = filtered(name, Answers()), data(selector, steps=10)
    run(tiny, tmp_path / "whole", whole, through)
    shutil.copytree(tmp_path / "whole", tmp_path / "again")
    (last,) = (tmp_path / "again/checkpoints").glob("*step=5.ckpt")
    resumed, datamodule = filtered(name, Answers()), data(selector, steps=10)
    trainer = run(tiny, tmp_path / "again", resumed, datamodule, last)
    assert trainer.global_step == 10
    assert groups(tmp_path / "again") == groups(tmp_path / "whole")
    assert torch.equal(weights(resumed), weights(whole))
    assert str(resumed.filter.state_dict()) == str(whole.filter.state_dict())
    assert str(datamodule.selector.state_dict()) == str(through.selector.state_dict())
    for metric in ("selection/rollouts_generated", "selection/groups_trained", "selection/refills"):
        assert column(tmp_path / "again", metric) == column(tmp_path / "whole", metric)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"filter": VCRL(warmup=7)}, "filter: expected warmup 7, the checkpoint has 20"),
        ({"filter": DynamicSampling()}, "filter: expected kind DynamicSampling.*has VCRL"),
        ({}, "loop: expected filter None, the checkpoint has VCRL"),
    ],
)
def test_a_checkpoint_of_another_filter_is_refused_before_anything_changes(
    tiny, tmp_path, other, message
):
    run(tiny, tmp_path / "run", module(Answers(), filter="vcrl"), data(steps=5))
    (last,) = (tmp_path / "run/checkpoints").glob("*step=5.ckpt")
    trained, datamodule = module(Answers(), learning_rate=0.1, **other), data(steps=6)
    before = weights(trained).clone(), deepcopy(datamodule.selector.state_dict())
    with pytest.raises(CheckpointError, match=message):
        run(tiny, tmp_path / "other", trained, datamodule, last)
    assert torch.equal(weights(trained), before[0])
    assert str(datamodule.selector.state_dict()) == str(before[1])
    assert not (tmp_path / "other").exists()


def test_a_filter_is_not_begun_in_the_middle_of_a_run(tiny, tmp_path):
    run(tiny, tmp_path, module(Answers()), data(steps=5))
    (last,) = (tmp_path / "checkpoints").glob("*step=5.ckpt")
    with pytest.raises(CheckpointError, match="expected filter VCRL, the checkpoint has None"):
        run(tiny, tmp_path, filtered("vcrl", Answers()), data(steps=6), last)


# The log of answers


def recorded(folder):
    return pq.read_table(folder / "answers.parquet").to_pylist()


@pytest.mark.parametrize("name", [None, "speed", "uncertainty_consistency"])
def test_every_answer_is_recorded_with_its_perplexity(tiny, tmp_path, name):
    trained = module(Answers(), filter=name)
    run(tiny, tmp_path, trained, selection=PromptSelectionCallback(answers=True))
    rows = recorded(tmp_path)
    visits = groups(tmp_path)
    assert len(rows) == sum(row["rollouts"] for row in visits)
    assert sum(row["success"] for row in rows) == sum(row["successes"] for row in visits)
    for row in rows:
        assert row["perplexity"] == pytest.approx(math.exp(1 if row["success"] else 2))
        assert row["entropy"] is None
    if name is None:
        log = read_answers(tmp_path)
        assert len(point_biserial(log, count=3).kept) == 3


@pytest.mark.parametrize("name", [None, "uncertainty_consistency"])
def test_the_engine_in_the_process_tells_the_entropy(tiny, tmp_path, name):
    options = {"uncertainty": "entropy"} if name else None
    trained = module(filter=name, filter_options=options)
    run(tiny, tmp_path, trained, selection=PromptSelectionCallback(answers=True))
    entropies = [row["entropy"] for row in recorded(tmp_path)]
    assert len(entropies) == 2 * BATCH * ROLLOUTS
    assert 0 < min(entropies) < max(entropies) < math.log(len(TOKENIZER))


def test_no_answer_is_recorded_unless_asked(tiny, tmp_path):
    run(tiny, tmp_path, module(Answers()))
    assert not (tmp_path / "answers.parquet").exists()


def test_your_own_module_may_tell_its_uncertainty(tiny, tmp_path):
    told = torch.rand(4, 8) + 1
    learner = tiny.Learner(spoil=lambda outputs: {**outputs, "perplexity": told})
    selection = PromptSelectionCallback(answers=True)
    tiny.train(tmp_path, module=learner, max_steps=1, selection=selection)
    assert [row["perplexity"] for row in recorded(tmp_path)] == told.flatten().tolist()


def test_an_uncertainty_of_another_shape_is_refused(tiny, tmp_path):
    learner = tiny.Learner(spoil=lambda outputs: {**outputs, "perplexity": torch.ones(3, 8)})
    with pytest.raises(ObservationError, match="perplexity: expected numbers like 'rewards', a r"):
        tiny.train(tmp_path, module=learner, max_steps=1)


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filter": "magic"}, "unknown filter 'magic'"),
        ({"filter": "vcrl", "filter_options": {"speed": 9}}, "filter 'vcrl':.*'speed'"),
        ({"filter": VCRL(), "filter_options": {"late": 0.5}}, "filter_options: expected none"),
        ({"filter_options": {"late": 0.5}}, "filter_options: expected none"),
        ({"filter": "speed", "rollouts": 4}, "screening: expected fewer than the 4 rollouts"),
        (
            {"filter": "uncertainty_consistency", "filter_options": {"uncertainty": "entropy"}},
            "does not need the entropy, got UncertaintyConsistency: Answers tells the",
        ),
    ],
)
def test_settings_that_do_not_fit_are_named(options, message):
    with pytest.raises(ArgumentError, match=message):
        module(Answers(), **options)


def test_a_loader_that_cannot_deal_further_prompts_is_refused(tiny, tmp_path):
    class Prefetched:
        def __init__(self, loader):
            self.batches = list(loader)

        def __iter__(self):
            return (batch for batch in self.batches)

    class Wrapped(PromptDataModule):
        def train_dataloader(self):
            return Prefetched(super().train_dataloader())

    engine = Answers()
    with pytest.raises(ArgumentError, match="expected the trainer's data loader.*found none"):
        run(tiny, tmp_path, filtered("vcrl", engine), Wrapped(pool(), "uniform", None, BATCH, 2))
    assert engine.asked == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3, "groups: expected a list of Group, got 3"),
        ([5], "groups: expected a list of Group"),
        ([(torch.arange(1), torch.ones(1, 2))], "groups: expected a list of Group"),
        ([Group(60, (1.0, 0.0))], r"a whole number in \[0, 59\], got 60"),
        ([Group(-1, (1.0, 0.0))], r"a whole number in \[0, 59\], got -1"),
        ([Group(5, (0.0, float("inf")))], "prompt 'p5', rollout 1"),
    ],
)
def test_groups_that_are_none_are_refused(tiny, tmp_path, given, message):
    datamodule = tiny.data()
    learner = tiny.Learner(spoil=lambda outputs: {"loss": outputs["loss"], "groups": given})
    with pytest.raises(ObservationError, match=message):
        tiny.train(tmp_path, module=learner, datamodule=datamodule)
    assert int(datamodule.selector.posterior.visits.sum()) == 0


def test_your_own_module_may_return_groups_of_several_sizes(tiny, tmp_path):
    given = [Group(3, (1.0, 0.0)), Group(1, (0.0, 1.0)), Group(7, (1.0, 1.0, 1.0))]
    learner = tiny.Learner(spoil=lambda outputs: {"loss": outputs["loss"], "groups": given})
    tiny.train(tmp_path, module=learner, max_steps=1)
    counted = [(row["index"], row["successes"], row["rollouts"]) for row in groups(tmp_path)]
    assert counted == [(3, 1, 2), (1, 1, 2), (7, 3, 3)]
    assert column(tmp_path, "selection/rollouts_generated") == [7.0]
    assert column(tmp_path, "selection/frac_mixed") == [pytest.approx(2 / 3)]
