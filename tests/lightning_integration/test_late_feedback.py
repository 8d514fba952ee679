"""Results that come late, in pieces, twice or not at all, in a real training."""

from __future__ import annotations

import csv
import random

import pytest
import torch

from insight_ext import ArgumentError, Group, GroupResult, ObservationError
from insight_ext.distributed.ranks import digest
from insight_ext.filters import DynamicSampling
from lightning_integration import PromptDataModule, PromptSelectionCallback
from lightning_integration.trainer import LightningModule

pytestmark = pytest.mark.filterwarnings("ignore")
STEPS, STALENESS, PROMPTS, ROLLOUTS = 30, 4, 4, 8


class UnreliableEngine:
    """Answers within a few steps: shuffles, splits, drops and duplicates, by a seed and the step.

    What it still holds can be read from `queue`, (due step, result), and put back.
    """

    def __init__(self, queue=()):
        self.queue = list(queue)
        self.sent = []  # every (group, rollout number) handed over
        self.accepted = {}  # prompt of every group that was asked for

    def submit(self, groups, indices, step):
        chance = random.Random(step)
        for group, index in zip(groups, indices, strict=True):
            self.accepted[group] = index
            rewards = [float(chance.random() < 1 - index / 60) for _ in range(ROLLOUTS)]
            cut = chance.randrange(1, ROLLOUTS)
            for first, part in ((0, rewards[:cut]), (cut, rewards[cut:])):
                if chance.random() < 0.1:
                    continue  # dropped
                for _ in range(1 + (chance.random() < 0.2)):  # now and then twice
                    due = step + chance.randrange(STALENESS + 2)
                    self.queue.append((due, GroupResult(group, part, first, ROLLOUTS)))

    def collect(self, step):
        ready = [result for due, result in self.queue if due <= step]
        self.queue = [(due, result) for due, result in self.queue if due > step]
        random.Random(step).shuffle(ready)
        for result in ready:
            self.sent += [(result.group, result.first + i) for i in range(len(result.rewards))]
        return ready


class Learner(LightningModule):
    def __init__(self, engine=None, spoil=None):
        super().__init__()
        self.skill = torch.nn.Parameter(torch.tensor(1.0))
        self.engine = engine or UnreliableEngine()
        self.spoil = spoil
        self.dealt = []

    def training_step(self, batch, batch_idx):
        step, indices = batch["step"], batch["indices"].tolist()
        self.dealt.append(indices)
        self.engine.submit(batch["groups"].tolist(), indices, step)
        results = self.engine.collect(step)
        if self.spoil == step:
            results.append(GroupResult(10_000, [1.0]))
        return {"loss": -self.skill, "results": results}

    def on_save_checkpoint(self, checkpoint):
        checkpoint["queue"] = [[due, *result] for due, result in self.engine.queue]

    def on_load_checkpoint(self, checkpoint):
        self.engine.queue = [(due, GroupResult(*rest)) for due, *rest in checkpoint["queue"]]

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def late(tiny, staleness=STALENESS, size=PROMPTS, selector="insight", **options):
    return PromptDataModule(
        tiny.pool(),
        selector,
        {"decay": 1.0},
        prompts_per_step=size,
        steps_per_epoch=STEPS,
        max_staleness=staleness,
        **options,
    )


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("late")
    module, data = Learner(), late(tiny)
    tiny.train(folder, module=module, datamodule=data, max_epochs=1)
    return folder, module, data


def test_every_rollout_becomes_evidence_once(run):
    _, module, data = run
    posterior, ledger = data.selector.posterior, data.loop._flights
    assert ledger.duplicates > 0
    assert ledger.incomplete > 0
    evidence = float((posterior.alpha + posterior.beta - 2).sum())
    held = len(ledger.received)
    assert evidence + held + ledger.duplicates == len(module.engine.sent)
    # Groups out at the end are those of the latest steps.
    assert all(flight.group >= PROMPTS * (STEPS - STALENESS) for flight in ledger)


@pytest.mark.parametrize("selector", ["insight", "uniform"])
def test_a_prompt_in_flight_is_not_dealt_again(tiny, tmp_path, selector):
    class Watching(Learner):
        most = 0

        def training_step(self, batch, batch_idx):
            prompts = [dealt.position for dealt in self.trainer.datamodule.loop.in_flight]
            self.most = max(self.most, len(prompts))
            assert len(set(prompts)) == len(prompts)
            return super().training_step(batch, batch_idx)

    module = Watching()
    data = late(tiny, selector=selector)
    tiny.train(tmp_path, module=module, datamodule=data, max_epochs=1)
    assert module.most > PROMPTS


def test_staleness_and_what_is_out_are_logged(run):
    folder, _, data = run
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    stale = [
        float(row["selection/staleness_max"]) for row in rows if row["selection/staleness_max"]
    ]
    assert 1 <= max(stale) <= STALENESS
    assert float(rows[-1]["selection/rollouts_duplicate"]) == data.loop._flights.duplicates
    assert float(rows[-1]["selection/groups_out"]) == len(data.loop._flights)
    assert float(rows[-1]["selection/groups_incomplete"]) == data.loop._flights.incomplete


def test_a_resumed_run_waits_for_what_was_out(run, tiny, tmp_path):
    folder, whole, expected = run
    (saved,) = (folder / "checkpoints").glob("*step=15.ckpt")
    module, data = Learner(), late(tiny)
    waits = PromptSelectionCallback(in_flight="wait")
    tiny.train(tmp_path, saved, module=module, datamodule=data, selection=waits, max_epochs=1)
    assert module.dealt == whole.dealt[15:]
    assert torch.equal(data.selector.posterior.alpha, expected.selector.posterior.alpha)
    states = [each.loop._flights.state_dict() for each in (data, expected)]
    assert digest(states[0]) == digest(states[1])


def test_prompts_whose_rollouts_died_with_the_run_come_first(run, tiny, tmp_path):
    (saved,) = (run[0] / "checkpoints").glob("*step=15.ckpt")
    loop = torch.load(saved, weights_only=True)["callbacks"]["PromptSelectionCallback"]["loop"]
    lost = [row[0] for row in loop["parts"]["flights"]["positions"]["rows"][0].tolist()]
    assert len(lost) > PROMPTS
    module, data = Learner(UnreliableEngine()), late(tiny)
    module.on_load_checkpoint = lambda checkpoint: None
    tiny.train(tmp_path, saved, module=module, datamodule=data, max_epochs=1)
    first = [index for step in module.dealt for index in step][: len(lost)]
    assert sorted(first) == sorted(lost)


def test_a_run_goes_on_with_batches_of_another_size(run, tiny, tmp_path):
    (saved,) = (run[0] / "checkpoints").glob("*step=15.ckpt")
    module, data = Learner(), late(tiny, size=PROMPTS - 1)
    tiny.train(tmp_path, saved, module=module, datamodule=data, max_epochs=1)
    assert data.loop._flights.dealt == 15 * PROMPTS + 15 * (PROMPTS - 1)


def test_rewards_of_the_step_itself_are_results_too(tiny, tmp_path):
    prompt, late_too = tiny.Learner(), tiny.Learner()
    one, other = tiny.data(), tiny.data(max_staleness=2)
    tiny.train(tmp_path / "one", module=prompt, datamodule=one)
    tiny.train(tmp_path / "other", module=late_too, datamodule=other)
    assert len(other.loop._flights) == 0
    assert float(one.selector.posterior.visits.sum()) == float(
        other.selector.posterior.visits.sum()
    )


def test_prompts_that_were_never_dealt_count_as_well(tiny, tmp_path):
    class Stranger(Learner):
        def training_step(self, batch, batch_idx):
            outputs = super().training_step(batch, batch_idx)
            other = {"results": [], "groups": [Group(59, (1.0, 1.0, 1.0))]}
            return outputs | other

    data = late(tiny)
    tiny.train(tmp_path, module=Stranger(), datamodule=data, max_epochs=1)
    assert data.selector.posterior.alpha[59] >= 1 + 3 * STEPS
    assert data.selector.posterior.visits[59] >= STEPS


def test_a_bad_result_ends_the_run_and_no_belief_changes(tiny, tmp_path):
    data = late(tiny)
    with pytest.raises(ObservationError, match="group 10000: expected a group that was dealt"):
        tiny.train(tmp_path, module=Learner(spoil=0), datamodule=data, max_epochs=1)
    assert data.selector.posterior.visits.sum() == 0


def test_results_that_come_when_nothing_is_waited_for_are_counted_and_ignored(tiny, tmp_path):
    data, module = late(tiny, 0), Learner()
    tiny.train(tmp_path, module=module, datamodule=data, max_epochs=1)
    flights, posterior = data.loop._flights, data.selector.posterior
    assert len(flights) == 0
    assert flights.duplicates > 0
    assert float((posterior.alpha + posterior.beta - 2).sum()) + flights.duplicates == len(
        module.engine.sent
    )


def test_what_cannot_be_is_refused(tiny, tmp_path):
    with pytest.raises(ArgumentError, match="max_staleness: expected a whole number .* got -1"):
        late(tiny, -1)
    filtered = Learner()
    filtered.filter = DynamicSampling()
    with pytest.raises(ArgumentError, match="max_staleness: expected 0 beside a filter"):
        tiny.train(tmp_path, module=filtered, datamodule=late(tiny), max_epochs=1)


def test_results_that_are_no_list_are_refused(tiny, tmp_path):
    class Forgetful(Learner):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch, batch_idx) | {"results": None}

    with pytest.raises(ObservationError, match="results: expected a list of GroupResult, got None"):
        tiny.train(tmp_path, module=Forgetful(), datamodule=late(tiny), max_epochs=1)


def test_a_rehearsal_learns_nothing(tiny, tmp_path):
    data = late(tiny)
    tiny.train(
        tmp_path,
        module=Learner(),
        datamodule=data,
        fast_dev_run=3,
        callbacks=[PromptSelectionCallback()],
    )
    assert data.selector.posterior.visits.sum() == 0
    assert len(data.loop._flights) == 0
