from __future__ import annotations

import copy

import pytest
import torch
from torch.distributions import Binomial

from insight_ext import CheckpointError
from insight_ext.predictors import Gps
from insight_ext.predictors.gps import History


def watched(steps: int, **options) -> tuple[Gps, torch.Tensor]:
    """A model that saw `steps` batches of prompts whose success rate the first column tells."""
    random = torch.Generator().manual_seed(0)
    embeddings = torch.randn(400, 4, generator=random)
    truth = torch.sigmoid(2.0 * embeddings[:, 0])
    model = Gps(400, embeddings, seed=1, **options)
    for _ in range(steps):
        chosen = torch.randperm(400, generator=random)[:64].sort().values
        successes = torch.binomial(torch.full((64,), 8.0), truth[chosen], generator=random).long()
        model.observe(chosen, successes, torch.full((64,), 8))
    return model, truth


def test_success_rates_are_learned_from_embeddings():
    model, truth = watched(80)
    predicted = model.success_rates()
    assert float(torch.corrcoef(torch.stack((predicted, truth)))[0, 1]) > 0.9
    assert float((predicted - truth).abs().mean()) < 0.12


def test_the_strength_grows_with_predictions_that_come_true():
    random = torch.Generator().manual_seed(0)
    embeddings = torch.randn(4000, 4, generator=random)
    strengths = []
    for weight in (2.0, 0.0):  # the truth follows the embedding, or nothing that can be seen
        hidden = 3.0 * torch.randn(4000, generator=random) * (weight == 0.0)
        truth = torch.sigmoid(weight * embeddings[:, 0] + hidden)
        model = Gps(4000, embeddings, seed=1)
        for chosen in torch.arange(3200).split(64):
            successes = torch.binomial(torch.full((64,), 8.0), truth[chosen], generator=random)
            model.observe(chosen, successes.long(), torch.full((64,), 8))
        strengths.append(model.strength)
    assert strengths[0] > 2.0 * strengths[1]


def test_a_prompts_own_results_are_added():
    model, _ = watched(3)
    before = [side.clone() for side in model.beliefs()]
    results = model.results.clone()
    assert int((results > 0).sum()) > 64
    for side in (0, 1):
        assert bool((before[side] > results[:, side]).all())


def test_own_results_are_counted_by_side_and_fade_with_each_visit():
    model = Gps(4, torch.eye(4), decay=0.5)
    eight = torch.full((2,), 8)
    model.observe(torch.tensor([0, 2]), torch.tensor([6, 1]), eight)
    model.observe(torch.tensor([2, 3]), torch.tensor([3, 8]), eight)
    expected = [[6.0, 2.0], [0.0, 0.0], [0.5 + 3.0, 3.5 + 5.0], [8.0, 0.0]]
    assert model.results.tolist() == expected
    rates, alpha, beta = model.success_rates(), *model.beliefs()
    torch.testing.assert_close(alpha, model.strength * rates + torch.tensor(expected)[:, 0])
    torch.testing.assert_close(beta, model.strength * (1 - rates) + torch.tensor(expected)[:, 1])


def test_a_step_of_training_follows_the_gradient_of_the_papers_bound():
    model, _ = watched(3, kl_weight=0.3)
    model.start = torch.linspace(-2.0, 2.0, 400)
    twin = copy.deepcopy(model)
    chosen, successes, rollouts = torch.arange(20), torch.arange(20) % 9, torch.full((20,), 8)
    model.observe(chosen, successes, rollouts)

    before, won, tried = twin._history.T
    past = History(twin.embeddings[before], won.float(), tried.float())
    present = History(twin.embeddings[chosen], successes.float(), rollouts.float())
    prior = twin.model.encode(past, twin.model.prior_head)
    posterior = twin.model.encode(present, twin.model.posterior_head)
    noise = torch.randn(1, twin.model.context, generator=twin._generator(1))
    logits = twin.model.decode(present.embeddings, posterior.mean + posterior.stddev * noise)[0]
    logits = logits + twin.start[chosen]
    likelihood = Binomial(rollouts, logits=logits).log_prob(successes.float())
    distance = (posterior.mean - prior.mean) ** 2
    ratio = (posterior.variance + distance) / prior.variance
    divergence = 0.5 * (ratio - 1 + prior.variance.log() - posterior.variance.log()).sum()
    twin._optimizer.zero_grad()
    (0.3 * divergence - likelihood.sum()).div(20).backward()
    for own, expected in zip(model.model.parameters(), twin.model.parameters(), strict=True):
        torch.testing.assert_close(own.grad, expected.grad, rtol=1e-3, atol=1e-5)


def test_a_state_of_another_width_is_refused():
    embeddings = torch.ones(5, 2)
    saved = Gps(5, embeddings, width=16).state_dict()
    with pytest.raises(CheckpointError, match="other widths"):
        Gps(5, embeddings).load_state_dict(saved)
