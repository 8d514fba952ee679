"""Prompts held out are given the columns of the pool that the predictor learned from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from insight_ext import ArgumentError, Prompt, PromptPool
from insight_ext.predictors import features_of


def pool_of(kinds):
    return PromptPool(Prompt(f"p{i}", f"{kind} {i}", "", {"kind": kind}) for i, kind in kinds)


POOL = pool_of(enumerate(["algebra", "geometry", "algebra", "geometry"]))


def test_a_text_of_other_prompts_is_in_the_column_that_it_has_in_the_pool():
    others = pool_of(enumerate(["geometry", "topology", "algebra"]))
    rows = features_of(POOL, "meta:kind", of=others)
    assert rows.tolist() == [[0.0, 1.0], [0.0, 0.0], [1.0, 0.0]]
    assert torch.equal(features_of(POOL, "meta:kind", of=POOL), features_of(POOL, "meta:kind"))


def test_n_grams_of_other_prompts_are_in_the_pools_columns():
    own = features_of(POOL, "ngrams:256")
    assert torch.equal(features_of(POOL, "ngrams:256", of=pool_of([(0, "algebra")])), own[:1])
    assert features_of(POOL, "ngrams:256", of=pool_of([(0, "xyz")])).shape == (1, own.shape[1])


def test_a_file_tells_nothing_about_other_prompts(tmp_path):
    np.save(tmp_path / "f.npy", np.zeros((4, 2), dtype="f4"))
    with pytest.raises(ArgumentError, match="worked out for other prompts than the pool's"):
        features_of(POOL, str(tmp_path / "f.npy"), of=POOL)


def test_a_text_where_the_pool_has_numbers_is_refused_by_the_prompt():
    numbers = PromptPool(Prompt(f"p{i}", "", "", {"level": str(i)}) for i in range(3))
    assert features_of(numbers, "meta:level").tolist() == [[0.0], [1.0], [2.0]]
    words = PromptPool([Prompt("q", "", "", {"level": "hard"})])
    with pytest.raises(ArgumentError, match="expected a number in the field 'level', as in the"):
        features_of(numbers, "meta:level", of=words)
