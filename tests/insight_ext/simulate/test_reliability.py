from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import betabinom

from insight_ext import ArgumentError
from insight_ext.cli.main import main
from insight_ext.simulate import Foresight, Setting, watch
from insight_ext.simulate.reliability import CHOICES, OWN, RANDOM, beta_binomial

SMALL = Setting("logistic", pool=600, steps=10, prompts=32)


def foretold(n: int, strength: float, believed: float) -> Foresight:
    """Successes of rates drawn from beliefs of `strength`, foretold with strength `believed`."""
    random = np.random.default_rng(0)
    mean = random.uniform(0.1, 0.9, n)
    rate = random.beta(strength * mean, strength * (1 - mean))
    successes = random.binomial(8, rate)
    return Foresight(believed * mean, believed * (1 - mean), successes, 8)


def test_the_chances_are_scipys():
    alpha, beta = np.array([0.3, 1.0, 40.0]), np.array([2.0, 1.0, 3.0])
    expected = betabinom.pmf(np.arange(9), 8, alpha[:, None], beta[:, None])
    np.testing.assert_allclose(beta_binomial(alpha, beta, 8), expected, rtol=1e-10)


def test_the_interval_runs_between_the_quantiles():
    alpha, beta, successes = np.array([3.0]), np.array([5.0]), np.array([1])
    low, high = betabinom.ppf([0.1, 0.9], 8, 3.0, 5.0)
    inside = betabinom.pmf(np.arange(low, high + 1), 8, 3.0, 5.0).sum()
    expected, observed = Foresight(alpha, beta, successes, 8).coverage(0.8)
    assert expected == pytest.approx(inside)
    assert observed == float(low <= 1 <= high)


def test_honest_predictions_hold_what_they_promise():
    seen = foretold(20_000, strength=5.0, believed=5.0)
    for level in (0.5, 0.8, 0.95):
        expected, observed = seen.coverage(level)
        assert expected >= level
        assert observed == pytest.approx(expected, abs=0.01)
    np.testing.assert_allclose(*seen.shares, atol=0.01)
    assert seen.error < 0.01


def test_too_much_strength_shows_in_the_interval_and_in_the_shares_not_in_the_means():
    seen = foretold(20_000, strength=2.0, believed=20.0)
    expected, observed = seen.coverage(0.8)
    assert observed < expected - 0.2
    predicted, came = seen.shares
    assert came[0] > predicted[0] + 0.05
    assert seen.error < 0.01


@pytest.mark.parametrize("arm", ["insight (features)", "gps"])
def test_only_first_visits_count(arm):
    assert len(watch(SMALL, arm, RANDOM, seeds=2).successes) == 2 * 10 * 32
    passed_over_thrice = Setting("logistic", pool=100, steps=10, prompts=32)
    assert len(watch(passed_over_thrice, arm, RANDOM, seeds=2).successes) == 2 * 100
    own = watch(passed_over_thrice, arm, OWN, seeds=1)
    assert 32 <= len(own.successes) <= 100
    assert own.alpha.shape == own.beta.shape == own.successes.shape
    assert (own.alpha > 0).all()
    assert (own.beta > 0).all()


def test_a_predictors_means_are_reliable():
    seen = watch(Setting("logistic", pool=8000, steps=30), "insight (features)", RANDOM, seeds=1)
    assert seen.error < 0.03
    expected, observed = seen.coverage()
    assert observed == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("arm", ["mopps", "oracle"])
def test_a_strategy_without_a_predictor_is_refused(arm):
    with pytest.raises(ArgumentError, match=f"'{arm}': expected one that predicts"):
        watch(SMALL, arm, OWN, seeds=1)


def test_the_command_refuses_a_strategy_before_it_trains_another(capsys):
    assert main(["reliability", "--strategies", "gps; magic"]) == 2
    assert "unknown strategy 'magic'" in capsys.readouterr().err


def test_no_seed_is_refused():
    with pytest.raises(ArgumentError, match="seeds: expected a whole number of at least 1, got 0"):
        watch(SMALL, "gps", OWN, seeds=0)


def test_the_command_writes_tables_and_a_figure(tmp_path, capsys):
    arguments = [
        "reliability",
        "--strategies",
        "insight (features)",
        "--pool",
        "300",
        "--seeds",
        "1",
    ]
    arguments += ["--steps", "3", "--prompts", "16", "--output", str(tmp_path)]
    assert main([*arguments, "--markdown"]) == 0
    printed = capsys.readouterr().out
    for choice in CHOICES:
        assert f"| insight (features) | {choice} | " in printed
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"reliability.md", "predictor_reliability.png"}
