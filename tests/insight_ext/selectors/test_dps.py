from __future__ import annotations

import numpy as np
import torch

from insight_ext.selectors import Dps


def test_the_columns_of_the_transition_matrix_sum_to_one():
    selector = Dps(20)
    for step in range(5):
        chosen = selector.select(8, step=step)
        selector.observe(chosen, chosen % 9, 8, step=step)
        torch.testing.assert_close(selector.transition.sum(0), torch.ones(3))
        torch.testing.assert_close(selector.states.sum(1), torch.ones(20))


def test_a_visit_shows_the_state_by_hand():
    selector = Dps(1, error=0.1)
    selector.observe([0], [3], 8, step=0)
    # Uniform before; the mixed state shows itself with .9, each other shows mixed with .05.
    torch.testing.assert_close(selector.states, torch.tensor([[0.05, 0.9, 0.05]]))


def test_unvisited_prompts_drift_by_the_transition_matrix():
    selector = Dps(2, persistence=8.0, error=1e-7)
    selector.observe([0], [3], 8, step=0)
    selector.observe([1], [3], 8, step=1)
    # Columns are (1, 8, 1) / 10 around the diagonal.
    torch.testing.assert_close(selector.states[0], torch.tensor([0.1, 0.8, 0.1]))


def test_transitions_seen_are_transitions_expected():
    selector = Dps(1, error=0.01)
    for step, successes in enumerate((0, 4) * 20):
        selector.observe([0], [successes], 8, step=step)
    assert bool(selector.transition[1, 0] > 0.6)  # wrong -> mixed
    assert bool(selector.transition[0, 1] > 0.6)  # and back


def test_one_matrix_is_learned_from_all_prompts_with_errors():
    n, error, memory, persistence = 8, 0.1, 0.9, 4.0
    selector = Dps(n, error=error, memory=memory, persistence=persistence)
    prior = np.ones((3, 3)) + (persistence - 1) * np.eye(3)
    counts, states, visits = prior.copy(), np.full((n, 3), 1 / 3), np.zeros(n)
    random = np.random.default_rng(0)
    for step in range(7):
        chosen = random.choice(n, 4, replace=False)
        shown = random.integers(0, 3, 4)  # wrong, mixed, right
        selector.observe(chosen, np.array([0, 3, 8])[shown], 8, step=step)
        moves = counts / counts.sum(0)
        after = states @ moves.T
        seen = np.zeros((3, 3))
        for i, state in zip(chosen, shown, strict=True):
            likely = np.full(3, error / 2)
            likely[state] = 1 - error
            joint = likely[:, None] * moves * states[i]
            joint /= joint.sum()
            after[i] = joint.sum(1)
            if visits[i]:
                seen += joint
            visits[i] += 1
        counts = memory * counts + (1 - memory) * prior + seen
        states = after
        scores = selector.explain(range(n))["score"].numpy()
        np.testing.assert_allclose(scores, states @ (counts / counts.sum(0))[1], rtol=1e-4)


def test_the_likeliest_to_be_mixed_is_selected():
    selector = Dps(4)
    selector.observe([0, 1, 3], [8, 3, 0], 8, step=0)
    assert selector.select(1, step=1).tolist() == [1]
