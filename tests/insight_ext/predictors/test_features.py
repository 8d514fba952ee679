from __future__ import annotations

import hashlib
import platform
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from insight_ext import ArgumentError, Prompt, PromptPool
from insight_ext.beliefs.shared_prior import kinds_of
from insight_ext.predictors import features_of, hashed_ngrams
from insight_ext.predictors.features import static_embeddings
from insight_ext.selectors import make_selector

POOL = PromptPool(
    [
        Prompt("a", "1+1=", "2", {"digits": 1, "kind": "sum"}),
        Prompt("b", "12*34=", "408", {"digits": 2, "kind": "product"}),
        Prompt("c", "12+34=", "46", {"digits": 2, "kind": "sum"}),
    ]
)


def test_numbers_are_columns_and_texts_are_one_hot():
    expected = [[1.0, 0.0, 1.0], [2.0, 1.0, 0.0], [2.0, 0.0, 1.0]]
    assert features_of(POOL, "meta:digits,kind").tolist() == expected


def test_a_missing_field_is_named():
    with pytest.raises(ArgumentError, match="prompt 'a' has no field 'level'.*digits, kind"):
        features_of(POOL, "meta:level")


def test_files_of_vectors_are_read(tmp_path):
    vectors = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.save(tmp_path / "v.npy", vectors)
    pq.write_table(pa.table({"e": vectors.tolist()}), tmp_path / "v.parquet")
    for source in (f"{tmp_path}/v.npy", f"{tmp_path}/v.parquet:e"):
        assert features_of(POOL, source).tolist() == vectors.tolist()


def test_vectors_of_another_pool_are_refused(tmp_path):
    np.save(tmp_path / "v.npy", np.zeros((2, 2)))
    with pytest.raises(ArgumentError, match=r"expected shape \(3, d\)"):
        features_of(POOL, f"{tmp_path}/v.npy")


def test_vectors_that_are_not_finite_are_named_by_their_row(tmp_path):
    np.save(tmp_path / "v.npy", np.array([[0.0], [np.nan], [1.0]]))
    with pytest.raises(ArgumentError, match=r"features\[1\]: expected finite numbers"):
        features_of(POOL, f"{tmp_path}/v.npy")


@pytest.mark.parametrize("source", ["nothing", "ngrams:x", "missing.npy", "model:/no/such/folder"])
def test_a_bad_source_is_refused(source):
    with pytest.raises(ArgumentError, match="features"):
        features_of(POOL, source)


def test_ngrams_have_unit_length_and_tell_texts_apart():
    rows = hashed_ngrams(["12+34=", "12+35=", "what is love?", ""], 256)
    torch.testing.assert_close(rows[:3].norm(dim=1), torch.ones(3))
    assert float(rows[0] @ rows[1]) > 0.4 > float(rows[0] @ rows[2])


def test_ngrams_are_the_same_everywhere():
    # By hand: the only trigram of " a " is itself, so one column is 1 or -1.
    row = hashed_ngrams(["a"], 16)[0]
    assert row.nonzero().tolist() == [[int(row.abs().argmax())]]
    assert torch.equal(row, hashed_ngrams(["a"], 16)[0])


def test_a_selector_takes_its_features_by_name():
    selector = make_selector("gps", 3, pool=POOL, features="meta:digits")
    assert len(selector.select(2, step=0)) == 2
    with pytest.raises(ArgumentError, match="only be worked out from a pool"):
        make_selector("gps", 3, features="meta:digits")


def test_an_instruction_stands_before_each_prompt(tmp_path, monkeypatch):
    class Model:
        def __init__(self, folder, local_files_only):
            assert local_files_only

        def encode(self, texts, prompt):
            return np.array([[len(f"{prompt or ''}{text}")] for text in texts], dtype=np.float32)

    package = ModuleType("sentence_transformers")
    package.SentenceTransformer = Model
    package.__spec__ = ModuleSpec("sentence_transformers", None)
    monkeypatch.setitem(sys.modules, "sentence_transformers", package)
    plain = features_of(POOL, f"model:{tmp_path}")
    asked = features_of(POOL, f"model:{tmp_path}:How hard is this: ")
    assert (asked - plain).unique().tolist() == [len("How hard is this: ")]


@pytest.mark.skipif(
    sys.version_info >= (3, 14) or platform.machine() != "x86_64",
    reason="wordllama has no wheels for this Python",
)
def test_word_vectors_come_with_their_package():
    rows = static_embeddings(["Find the sum of 3 and 4", "Prove that", "find the sum of 3 and 5"])
    assert rows.shape == (3, 256)
    near = torch.cosine_similarity(rows[0], rows[2], dim=0)
    assert near > torch.cosine_similarity(rows[0], rows[1], dim=0)
    selector = make_selector("gps", 3, pool=POOL, features="wordllama")
    assert selector.model.embeddings.shape == (3, 256)
    assert torch.equal(features_of(POOL, "wordllama", of=POOL), selector.model.embeddings)


def test_columns_of_ngrams_that_no_text_falls_into_tell_insight_nothing():
    rows = features_of(POOL, "ngrams:512")
    assert rows.shape == (3, 512)
    used = rows[:, rows.any(0)]
    assert used.shape[1] < 30
    assert torch.equal(kinds_of(rows), kinds_of(used))
    with pytest.raises(ArgumentError, match="column 0 is 0 for every prompt"):
        kinds_of(torch.zeros(3, 2))


def test_hashed_ngrams_are_signed_counts_of_trigrams_of_unit_length():
    expected = np.zeros(16)
    for gram in (" ba", "ban", "ana", "nan", "ana", "na "):
        digest = hashlib.blake2b(gram.encode(), digest_size=8).digest()
        half, odd = divmod(int.from_bytes(digest, "little"), 2)
        expected[half % 16] += 1 if odd else -1
    row = hashed_ngrams(["banana"], 16)[0].numpy()
    np.testing.assert_allclose(row, expected / np.linalg.norm(expected), atol=1e-6)
