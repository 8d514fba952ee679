from __future__ import annotations

from shutil import copytree

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from insight_ext import ArgumentError
from lightning_integration.demo.model import load_model, make_model, make_tokenizer

NO_CONFIG = "expected a config.json that describes a model in"
NO_MODEL = "expected a causal language model and its weights in"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tokenizer = make_tokenizer(" 0123456789+=")
    make_model(tokenizer, layers=1, heads=1).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_the_folder_is_an_ordinary_one(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    text = "418   +7     ="
    ids = tokenizer(text).input_ids
    assert len(ids) == len(text)
    assert tokenizer.decode(ids) == text
    assert model.config.head_dim == 64


def test_loading_pads_on_the_left(folder):
    _, tokenizer = load_model(folder)
    batch = tokenizer(["1+1=", "1="], padding=True)
    assert batch.attention_mask[1] == [0, 0, 1, 1]


def test_weights_are_a_function_of_the_seed():
    tokenizer = make_tokenizer("01")
    first, again, other = (
        make_model(tokenizer, layers=1, seed=seed).lm_head.weight for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_making_a_model_leaves_the_global_random_state_alone():
    before = torch.random.get_rng_state()
    make_model(make_tokenizer("01"), layers=1)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_folder_without_a_tokenizer_is_an_error(tmp_path):
    make_model(make_tokenizer("01"), layers=1).save_pretrained(tmp_path)
    with pytest.raises(ArgumentError, match=r"expected a tokenizer .* beside the model in"):
        load_model(tmp_path)


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(ArgumentError, match="expected a Hugging Face model folder"):
        load_model(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("model.safetensors", None, NO_MODEL),
        ("model.safetensors", "cut off", NO_MODEL),
        ("config.json", "", NO_CONFIG),
        ("config.json", "{}", NO_CONFIG),
        ("config.json", "[]", NO_CONFIG),
        ("config.json", '{"model_type": "clip"}', NO_MODEL),
    ],
)
def test_a_folder_without_a_whole_model_is_an_error(folder, tmp_path, file, content, message):
    broken = copytree(folder, tmp_path / "broken")
    (broken / file).unlink()
    if content is not None:
        (broken / file).write_text(content)
    with pytest.raises(ArgumentError, match=rf"{message} \S*broken, got .*; save it there with"):
        load_model(broken)


def test_an_unknown_type_of_number_is_an_error(folder):
    with pytest.raises(ArgumentError, match="dtype: expected a name such as 'float32'.*'float31'"):
        load_model(folder, "float31")
