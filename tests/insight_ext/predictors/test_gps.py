from __future__ import annotations

import pytest
import torch

from insight_ext import CheckpointError
from insight_ext.predictors import Gps


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


def test_a_state_of_another_width_is_refused():
    embeddings = torch.ones(5, 2)
    saved = Gps(5, embeddings, width=16).state_dict()
    with pytest.raises(CheckpointError, match="other widths"):
        Gps(5, embeddings).load_state_dict(saved)
