"""Language models: load a checkpoint folder, or make a very small one with its own tokenizer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from insight_ext import ArgumentError
from insight_ext.data.files import ON_THE_HUB


def load_model(
    folder: str | Path, dtype: str = "float32"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load any Hugging Face causal language model folder, and its tokenizer, padding on the left.

    Args:
        folder: a local folder; nothing is downloaded.
        dtype: of the weights, as torch names it: "float32", "bfloat16".

    Returns:
        The model, on the CPU, and its tokenizer, whose padding token is the end token if it has
        none of its own.

    Raises:
        ArgumentError: no such folder, no model in it that loads, no tokenizer in it, no end token,
            no such dtype.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> tokenizer = make_tokenizer("0123456789+=")
        >>> with TemporaryDirectory() as folder:
        ...     for part in (make_model(tokenizer, layers=1), tokenizer):
        ...         _ = part.save_pretrained(folder)
        ...     model, tokenizer = load_model(folder)
        >>> model(**tokenizer(["1+1=", "2="], padding=True, return_tensors="pt")).logits.shape
        torch.Size([2, 4, 14])
    """
    folder = Path(folder)
    weights = getattr(torch, dtype, None)
    if not isinstance(weights, torch.dtype):
        raise ArgumentError(
            f"dtype: expected a name such as 'float32' or 'bfloat16', got {dtype!r}"
        )
    if not (folder / "config.json").is_file():
        hint = ""
        if ON_THE_HUB.fullmatch(str(folder)) and not folder.exists():
            hint = (
                f"; if it is a model on the Hugging Face Hub, download it (hf download {folder} "
                f"--local-dir {folder.name}) and give the folder {folder.name}"
            )
        raise ArgumentError(
            f"model: expected a Hugging Face model folder with a config.json, got {folder}{hint}"
        )
    with _loading(f"a config.json that describes a model in {folder}", "one that does not load"):
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    beside = f"a tokenizer (tokenizer.json) beside the model in {folder}"
    with _loading(beside, "none that loads", "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if tokenizer.eos_token_id is None:
        raise ArgumentError(f"model: the tokenizer in {folder} names no end-of-text token")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    with _loading(f"a causal language model and its weights in {folder}", "none that loads"):
        model = AutoModelForCausalLM.from_pretrained(
            folder, config=config, dtype=weights, local_files_only=True
        )
    return model, tokenizer


@contextmanager
def _loading(expected: str, got: str, part: str = "model") -> Iterator[None]:
    """What transformers raises inside, as an ArgumentError that says what to save there."""
    try:
        yield
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise ArgumentError(
            f"model: expected {expected}, got {got} ({_first_line(error)}); "
            f"save it there with {part}.save_pretrained(...)"
        ) from error


def _first_line(error: Exception) -> str:
    # The rest of what transformers says may be a list of every model there is.
    return str(error).partition("\n")[0]


def make_tokenizer(alphabet: str) -> PreTrainedTokenizerFast:
    """A tokenizer with one token for each character, and `<pad>` and `<eos>`.

    Examples:
        >>> tokenizer = make_tokenizer("0123456789+=")
        >>> tokenizer.decode(tokenizer("1+2=").input_ids)
        '1+2='
    """
    vocabulary = {token: index for index, token in enumerate(("<pad>", "<eos>", *alphabet))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def make_model(
    tokenizer: PreTrainedTokenizerBase,
    *,
    layers: int = 2,
    heads: int = 2,
    width: int = 64,
    feed_forward: int = 192,
    head_size: int = 64,
    tied: bool = True,
    seed: int = 0,
) -> LlamaForCausalLM:
    """A new Llama model with random weights, a function of `seed`.

    Short texts want a small rotary base, a small width wants a larger initial spread; with both,
    and biases in the attention as Qwen2 has them, additions are learned in hundreds of steps.
    (Qwen2 itself would make AutoTokenizer replace the saved tokenizer by Qwen2's own.)
    torch's global random state is neither used nor changed.

    Args:
        tokenizer: says how many tokens there are, and which of them ends and which pads a text.
        layers: transformer blocks.
        heads: attention heads in each of them.
        width: of the residual stream.
        feed_forward: width inside the feed-forward layer of each.
        head_size: of each attention head.
        tied: whether the output head is the embedding.
        seed: of the weights.

    Returns:
        The model, in float32 on the CPU; it reads texts of up to 128 tokens.

    Examples:
        >>> tokenizer = make_tokenizer("0123456789+=")
        >>> model = make_model(tokenizer, layers=1, heads=1)
        >>> model(**tokenizer("1+2=", return_tensors="pt")).logits.shape
        torch.Size([1, 4, 14])
    """
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=feed_forward,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=head_size,
        attention_bias=True,
        max_position_embeddings=128,
        rope_parameters={"rope_type": "default", "rope_theta": 100.0},
        initializer_range=0.1,
        tie_word_embeddings=tied,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)
