from __future__ import annotations

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


def test_the_likeliest_to_be_mixed_is_selected():
    selector = Dps(4)
    selector.observe([0, 1, 3], [8, 3, 0], 8, step=0)
    assert selector.select(1, step=1).tolist() == [1]
