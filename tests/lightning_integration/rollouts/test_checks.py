from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from insight_ext import EngineError
from lightning_integration.demo.model import make_model, make_tokenizer
from lightning_integration.rollouts import Asked, Sampling, TransformersEngine, check_rollouts
from lightning_integration.rollouts.checks import check_completions
from lightning_integration.rollouts.engine import Completion

TOKENIZER = make_tokenizer("0123456789+=")
ENDS = frozenset({1})
ASKED = Asked("mine", prompts=2, n=2, max_new_tokens=3, vocabulary=14, stop=ENDS)
STOPPED = Completion([5, 1], [-0.5, -0.25], "stop", 0)
FULL = Completion([5, 6, 7], [-0.5, -0.25, -1.0], "length", 1)
GROUP = [STOPPED, FULL]
ENDED = torch.tensor([1, 10**6])  # the end token, and none at all


def test_what_was_asked_for_passes_in_any_order():
    check_completions([GROUP, GROUP[::-1]], ASKED)
    check_completions([GROUP, GROUP], replace(ASKED, stop=None))


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([GROUP], "completions of 2 prompts, got those of 1"),
        ([GROUP, []], "2 completions of prompt 1, each once, got 0 with the indices none"),
        ([GROUP, [STOPPED]], "got 1 with the indices 0"),
        ([GROUP, [*GROUP, STOPPED]], "got 3 with the indices 0, 1, 0"),
        ([[STOPPED, STOPPED], GROUP], "of prompt 0, each once, got 2 with the indices 0, 0"),
        ([[STOPPED, replace(FULL, index=2)], GROUP], "indices 0, 2"),
        ([[STOPPED, replace(FULL, index="1")], GROUP], "indices 0, '1'"),
        ([[STOPPED, replace(FULL, index=True)], GROUP], "indices 0, True"),
        ([[STOPPED, replace(FULL, index=None)], GROUP], "indices 0, None"),
    ],
)
def test_other_numbers_of_completions_are_refused(groups, message):
    with pytest.raises(EngineError, match=f"engine mine: expected .*{message}"):
        check_completions(groups, ASKED)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": [], "logprobs": []}, "at least one token, .* got none"),
        ({"ids": [5, 14, 7]}, "token ids from 0 to 13, got 14"),
        ({"ids": [5, -1, 7]}, "token ids from 0 to 13, got -1"),
        ({"ids": [5, 2**70, 7]}, "token ids from 0 to 13, got 1180591620717411303424"),
        ({"ids": [5, 2**63, 7]}, "token ids from 0 to 13, got 9223372036854775808"),
        ({"ids": [5.0, 6.5, 7.0]}, "token ids from 0 to 13, got 6.5"),
        ({"ids": [5, None, 7]}, "token ids from 0 to 13, got None"),
        ({"ids": ["5", "6", "7"]}, "token ids from 0 to 13, got '5'"),
        ({"ids": [[5], [6], [7]]}, r"token ids from 0 to 13, got \[5\]"),
        ({"ids": None}, "token ids from 0 to 13, got None"),
        ({"ids": "567"}, "token ids from 0 to 13, got '5'"),
        ({"ids": {"5": 6}}, "token ids from 0 to 13, got {'5': 6}"),
        ({"ids": [5] * 4, "logprobs": [-1.0] * 4}, "at most 3 tokens, got 4"),
        ({"logprobs": [-1.0, -1.0]}, "a log-probability of each of 3 tokens, got 2"),
        ({"logprobs": [-1.0] * 4}, "a log-probability of each of 3 tokens, got 4"),
        ({"logprobs": []}, "a log-probability of each of 3 tokens, got 0"),
        ({"logprobs": [-1.0, NAN, -1.0]}, "finite log-.*, got nan at token 1"),
        ({"logprobs": [-1.0, -1.0, -INF]}, "finite log-.*, got -inf at token 2"),
        ({"logprobs": [2.0, -1.0, -1.0]}, "of at most 0, got 2.0 at token 0"),
        ({"logprobs": [-1.0, None, -1.0]}, "log-probabilities that are numbers, got .*"),
        ({"logprobs": ["-1", "-1", "-1"]}, "log-probabilities that are numbers, got .*"),
        ({"logprobs": None}, "log-probabilities that are numbers, got None"),
        ({"stop_reason": "abort"}, "stop reason stop or length, got 'abort'"),
        ({"stop_reason": None}, "stop reason stop or length, got None"),
        ({"stop_reason": []}, r"stop reason stop or length, got \[\]"),
        ({"stop_reason": "stop"}, "an end token before the stop reason stop, got token 7"),
        ({"ids": [5, 6, 1]}, "3 tokens before the stop reason length, got an end token"),
        ({"ids": [5], "logprobs": [-1.0]}, "3 tokens before .* length, got only 1 tokens"),
        ({"ids": [5, 1, 7]}, "no token after an end token, got 1"),
    ],
)
def test_a_completion_that_training_could_not_use_is_refused(changes, message):
    with pytest.raises(EngineError, match=f"{message}, in completion 1 of prompt 1; training"):
        check_completions([GROUP, [STOPPED, replace(FULL, **changes)]], ASKED)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner),
)


@given(ids=JUNK, logprobs=JUNK, reason=JUNK, index=JUNK)
def test_junk_is_an_engine_error_or_right(ids, logprobs, reason, index):
    asked = replace(ASKED, prompts=1, n=1)
    with suppress(EngineError):
        check_completions([[Completion(ids, logprobs, reason, index)]], asked)
        assert all(0 <= token < 14 for token in ids)
        assert len(ids) == len(logprobs)
        assert all(value <= 0.01 for value in logprobs)


@pytest.fixture(scope="module")
def rollouts():
    model = make_model(TOKENIZER, layers=1, heads=1)
    return TransformersEngine(model, TOKENIZER).generate(["1+1=", "2="], 2, Sampling(3))


def changed(values, at, value):
    values = values.clone()
    values[at] = value
    return values


def test_rollouts_of_an_engine_pass(rollouts):
    assert check_rollouts(rollouts, ASKED) is rollouts


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: SimpleNamespace(texts=[]), "Rollouts, got SimpleNamespace"),
        (lambda r: r.rows(torch.tensor([0, 1])), "4 texts, 2 for each of 2 prompts, got 2"),
        (lambda r: replace(r, stop_reasons=["stop"]), "4 stop_reasons, .*got 1"),
        (lambda r: r.rows(torch.tensor([0, 2, 1, 3])), "completions of a prompt in adjacent rows"),
        (lambda r: replace(r, logprobs=r.logprobs.double()), "logprobs of shape .* torch.float64"),
        (lambda r: replace(r, logprobs=r.logprobs[:, :1]), "logprobs of shape .*got .4, 1."),
        (lambda r: replace(r, completion_ids=r.completion_ids[0]), "completion_ids of shape"),
        (lambda r: replace(r, prompt_mask=r.prompt_mask.long()), "prompt_mask of shape"),
        (lambda r: replace(r, prompt_mask=r.prompt_mask.flip(1)), "prompts padded on the left"),
        (lambda r: replace(r, prompt_mask=r.prompt_mask & False), "prompts padded on the left"),
        (lambda r: replace(r, prompt_ids=r.prompt_ids + 9), "prompt_ids from 0 to 13"),
        (lambda r: replace(r, entropy=[0.5] * 4), "an entropy of at least 0 for each of 4"),
        (
            lambda r: replace(
                r,
                completion_mask=changed(r.completion_mask, (slice(None), -1), False),
                completion_ids=changed(r.completion_ids, (slice(None), slice(1, 3)), ENDED),
                stop_reasons=["stop"] * 4,
            ),
            "padding of tokens from 0 to 13, got .* to 1000000",
        ),
        (
            lambda r: replace(r, completion_mask=changed(r.completion_mask, (0, 0), False)),
            "completions padded on the right alone|at least one token",
        ),
        (
            lambda r: replace(r, completion_mask=changed(r.completion_mask, 3, False)),
            "at least one token.* in completion 1 of prompt 1",
        ),
        (
            lambda r: replace(r, logprobs=changed(r.logprobs, (2, 0), NAN)),
            "got nan at token 0, in completion 0 of prompt 1",
        ),
        (
            lambda r: replace(r, completion_ids=changed(r.completion_ids, (1, 0), 14)),
            "from 0 to 13, got .*14.*, in completion 1 of prompt 0",
        ),
    ],
)
def test_rollouts_of_ones_own_engine_are_held_against_the_same_rules(rollouts, change, message):
    with pytest.raises(EngineError, match=f"engine mine: expected .*{message}"):
        check_rollouts(change(rollouts), ASKED)


def test_weights_that_are_no_numbers_are_found_out():
    model = make_model(TOKENIZER, layers=1, heads=1)
    with torch.no_grad():
        model.lm_head.weight[3, 0] = NAN
    with pytest.raises(EngineError, match="engine transformers: expected finite log-prob.* nan"):
        TransformersEngine(model, TOKENIZER).generate(["1="], 2, Sampling(3))
