from __future__ import annotations

import math

import pytest
import torch

from insight_ext.selectors import Gps
from insight_ext.selectors.base import NONE
from insight_ext.selectors.gps import greedy_batch


def brute_force(gains, directions, k, diversity):
    chosen: list[int] = []
    for _ in range(k):
        best, at = -float("inf"), -1
        for i in range(len(gains)):
            if i in chosen:
                continue
            gain = float(gains[i])
            if chosen:
                gain += (
                    diversity
                    * sum(1 - float(directions[i] @ directions[j]) for j in chosen)
                    / len(chosen)
                )
            if gain > best:
                best, at = gain, i
        chosen.append(at)
    return chosen


def test_the_greedy_batch_is_the_formula():
    random = torch.Generator().manual_seed(3)
    directions = torch.nn.functional.normalize(torch.randn(60, 4, generator=random), dim=1)
    gains = -torch.rand(60, generator=random)
    for diversity in (0.0, 0.5, 3.0):
        expected = brute_force(gains, directions, 30, diversity)
        assert greedy_batch(gains, directions, 30, diversity).tolist() == expected


def test_diversity_spreads_the_batch():
    features = torch.cat((torch.eye(2)[:1].repeat(30, 1), torch.eye(2)[1:].repeat(30, 1)))
    selector = Gps(60, features=features, diversity=5.0)
    chosen = selector.select(10, step=0)
    assert 4 <= int((chosen < 30).sum()) <= 6


def test_the_batch_before_counts():
    features = torch.cat((torch.eye(2)[:1].repeat(30, 1), torch.eye(2)[1:].repeat(30, 1)))
    selector = Gps(60, features=features, diversity=5.0, exploration=0.5)
    others = torch.arange(30, 60)
    dealt = selector.select(8, step=0, exclude=others)  # the strategy's, and by lot
    assert bool((dealt < 30).all())
    assert bool((selector.select(1, step=1) >= 30).all())


@pytest.mark.parametrize("sizes", [(12,), (1,) * 12, (5, 4, 3)])
def test_the_anchor_is_the_mean_direction_of_all_that_the_step_before_was_dealt(sizes):
    features = torch.randn(60, 4, generator=torch.Generator().manual_seed(2))
    selector, dealt = Gps(60, features=features, exploration=0.3), NONE
    for k in sizes:
        dealt = torch.cat((dealt, selector.select(k, step=0, exclude=dealt)))
    selector.observe(dealt, dealt % 9, 8, step=0)
    terms = selector.explain(range(60))
    selector.select(1, step=1)
    directions = torch.nn.functional.normalize(features, dim=1)
    distance = 1 - directions @ directions[dealt].mean(0)
    expected = -((terms["success_rate"] - 0.5) ** 2) + 0.02 * distance
    torch.testing.assert_close(selector.explain(range(60))["score"], expected)


def test_a_step_dealt_one_by_one_spreads_as_one_dealt_at_once():
    features = torch.randn(60, 4, generator=torch.Generator().manual_seed(2))
    whole = Gps(60, features=features, diversity=1.0, shortlist=60).select(16, step=0)
    selector, dealt = Gps(60, features=features, diversity=1.0, shortlist=60), NONE
    for _ in range(16):
        dealt = torch.cat((dealt, selector.select(1, step=0, exclude=dealt)))
    assert dealt.tolist() == whole.tolist()


def test_the_gain_of_a_single_prompt_is_the_formula():
    features = torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, -2.0]])
    selector = Gps(3, features=features, diversity=0.5, target=0.4)
    selector.observe([0, 2], [7, 2], 8, step=0)
    selector.select(1, step=1, exclude=torch.tensor([1, 2]))
    selector.select(1, step=2)
    terms = selector.explain([0, 1, 2])
    cosine = torch.tensor([1.0, 0.6, -0.8])
    expected = -((terms["success_rate"] - 0.4) ** 2) + 0.5 * (1 - cosine)
    torch.testing.assert_close(terms["score"], expected)


def test_predictions_start_from_the_means_of_the_prior():
    features = torch.randn(60, 4, generator=torch.Generator().manual_seed(2))
    rates = torch.linspace(0.0, 1.0, 60)
    told = Gps(60, features=features, prior=rates, prior_strength=6)
    plain = Gps(60, features=features)
    logits = plain.model.model.decode(features, contexts_of(plain)).double()
    means = (1 + 6 * rates.double()) / 8
    expected = torch.sigmoid(logits + torch.log(means / (1 - means))).mean(0)
    torch.testing.assert_close(told.model.success_rates().double(), expected, rtol=1e-5, atol=1e-6)
    some = torch.tensor([3, 50, 7])
    torch.testing.assert_close(told.model.success_rates(some).double(), expected[some])


def contexts_of(selector):
    """The contexts that predictions of the present step are averaged over, before any results."""
    model = selector.model
    return torch.randn(model.samples, model.model.context, generator=model._generator(0))


def test_a_pair_is_where_all_predictions_start():
    features = torch.randn(60, 4, generator=torch.Generator().manual_seed(2))
    told, plain = Gps(60, features=features, prior=(0.3, 1.2)), Gps(60, features=features)
    logits = plain.model.model.decode(features, contexts_of(plain))
    expected = torch.sigmoid(logits + math.log(0.3 / 1.2)).mean(0)
    torch.testing.assert_close(told.model.success_rates(), expected)


def test_a_fitted_prior_is_where_predictions_start_from_then_on():
    features = torch.randn(200, 4, generator=torch.Generator().manual_seed(2))
    selector = Gps(200, features=features, prior="empirical")
    assert selector.model.start == 0.0
    selector.observe(range(100), torch.arange(100) % 3, 8, step=0)
    alpha, beta = selector.posterior.prior
    assert selector.model.start == pytest.approx(math.log(alpha / beta))
    other = Gps(200, features=features, prior="empirical")
    other.load_state_dict(selector.state_dict())
    assert torch.equal(other.predict(range(200)), selector.predict(range(200)))


def test_success_rates_of_a_weaker_model_are_moved_to_this_ones():
    random = torch.Generator().manual_seed(0)
    difficulty = 2.0 * torch.randn(2000, generator=random)
    weaker, truth = torch.sigmoid(-1.5 - difficulty), torch.sigmoid(1.0 - difficulty)
    nothing = torch.randn(2000, 4, generator=random)
    selector = Gps(2000, features=nothing, prior=weaker, prior_strength=200)
    at_first = float((selector.model.success_rates() - truth).abs().mean())
    for step, chosen in enumerate(torch.randperm(2000, generator=random)[:1600].split(32)):
        won = torch.binomial(torch.full((32,), 8.0), truth[chosen], generator=random).long()
        selector.observe(chosen, won, 8, step=step)
    assert float((selector.model.success_rates() - truth).abs().mean()) < 0.4 * at_first
