"""What a predictor may know of a prompt: given vectors, or vectors of its text."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from insight_ext.beliefs.pool import PromptPool
from insight_ext.errors import ArgumentError
from insight_ext.plugins import as_number, need

NGRAM = 3


def check_features(features: Tensor, pool_size: int) -> None:
    """ArgumentError unless these are finite floats of shape (pool_size, d)."""
    if not isinstance(features, Tensor) or not features.is_floating_point():
        got = features.dtype if isinstance(features, Tensor) else type(features).__name__
        raise ArgumentError(f"features: expected a tensor of floats, got {got}")
    if features.ndim != 2 or len(features) != pool_size:
        raise ArgumentError(
            f"features: expected shape ({pool_size}, d), one row per prompt, "
            f"got {tuple(features.shape)}"
        )
    bad = ~torch.isfinite(features).all(1)
    if bad.any():
        at = int(bad.nonzero()[0])
        raise ArgumentError(f"features[{at}]: expected finite numbers, got {features[at].tolist()}")


def check_each(
    name: str, values: Tensor, what: str, most: float, shape: tuple[int, ...] | None = None
) -> None:
    """ArgumentError unless what is known of each prompt has this shape and lies in [0, most]."""
    if shape is not None and values.shape != shape:
        raise ArgumentError(f"{name}: expected shape {shape}, got {tuple(values.shape)}")
    bad = ~((values >= 0.0) & (values <= most))
    if bad.any():
        at = int(bad.nonzero()[0, 0])
        raise ArgumentError(
            f"{name}[{at}]: expected {what} in [0, {most:g}], got {values[at].tolist()}"
        )


def checksum(features: Tensor) -> str:
    """Type and shape, and the SHA-256 (hex) of the bytes."""
    what = f"{str(features.dtype).removeprefix('torch.')} of shape {tuple(features.shape)}"
    digest = hashlib.sha256(features.contiguous().cpu().numpy().data).hexdigest()
    return f"{what}, SHA-256 {digest}"


def features_of(pool: PromptPool, source: str, *, of: PromptPool | None = None) -> Tensor:
    """The features that a configuration names.

    Args:
        pool: the prompts, which decide what the columns are.
        source: one of
            `meta:a,b`: numbers in the prompts' own fields; a field of texts becomes one column per
            text. Which data set or kind a prompt of a mixed pool comes from is correlated with its
            true difficulty (in logits) by 0.71 to 0.78: use it where there is one.
            `model:FOLDER` or `model:FOLDER:INSTRUCTION`: a sentence-transformers model; the
            instruction stands before each prompt and should say that difficulty is asked for.
            Reported for a 0.6 billion model on mathematics: 0.84 with, 0.58 without, 0.41 for a
            small model.
            `wordllama`: static embeddings of the text, weights included (the extra `wordllama`);
            0.35 on contest mathematics.
            `ngrams` or `ngrams:D`: hashed n-grams of the text in D dimensions (64); 0.26 on
            contest mathematics.
            A `.npy` file, or `file.parquet:column`: a row per prompt in the pool's order.
        of: the prompts whose rows are wanted; None: those of the pool. A text that no prompt of the
            pool has in a field is in none of its columns.

    Returns:
        float32 tensor of shape (prompts, d).

    Raises:
        ArgumentError: an unknown source, a missing field, or a file that does not fit the pool, or
            is to tell about other prompts than the pool's.

    Examples:
        >>> from insight_ext.data.prompt import Prompt
        >>> pool = PromptPool([Prompt("a", "1+1=", "2", {"digits": 1}),
        ...                    Prompt("b", "12+34=", "46", {"digits": 2})])
        >>> features_of(pool, "meta:digits").tolist()
        [[1.0], [2.0]]
    """
    kind, _, rest = source.partition(":")
    if kind == "ngrams":
        if rest and not rest.isdecimal():
            raise ArgumentError(f"features: expected ngrams:DIMENSIONS, got {source!r}")
        return hashed_ngrams(texts_of(pool if of is None else of), int(rest or 64))
    if kind == "meta":
        return _from_fields(pool, rest.split(","), pool if of is None else of)
    texts = texts_of(pool if of is None else of)
    if kind == "model":
        folder, _, instruction = rest.partition(":")
        return sentence_embeddings(texts, Path(folder), instruction)
    if source == "wordllama":
        return static_embeddings(texts)
    path, _, column = source.partition(".parquet:")
    if source.endswith(".npy") or column:
        if of is not None:
            raise ArgumentError(
                f"features: expected a source that can be worked out for other prompts than the "
                f"pool's, such as meta:FIELD or ngrams, got the file {source}, which has the pool's"
            )
        features = (
            _from_numpy(Path(source))
            if source.endswith(".npy")
            else _from_parquet(Path(f"{path}.parquet"), column)
        )
        check_features(features, len(pool))
        return features
    raise ArgumentError(
        f"features: expected meta:FIELD,..., model:FOLDER[:INSTRUCTION], wordllama, ngrams[:D], "
        f"FILE.npy or FILE.parquet:COLUMN, got {source!r}"
    )


def columns_of(pool: PromptPool, source: str) -> list[str] | None:
    """Names of the columns of `features_of`, by which they are known again in a changed pool.

    None where a column is known by its place, as in vectors of texts and in files.

    Examples:
        >>> from insight_ext.data.prompt import Prompt
        >>> pool = PromptPool(Prompt(kind, "?", "", {"kind": kind, "level": 1}) for kind in "ab")
        >>> columns_of(pool, "meta:level,kind")
        ['level', 'kind=a', 'kind=b']
    """
    kind, _, rest = source.partition(":")
    if kind != "meta":
        return None
    names = []
    for field in rest.split(","):
        texts = _texts_in(pool, field)
        names += [field] if texts is None else [f"{field}={text}" for text in texts]
    return names


def texts_of(pool: PromptPool) -> list[str]:
    """The prompts' texts."""
    return [prompt.prompt for prompt in pool]


def hashed_ngrams(texts: Sequence[str], dimensions: int = 64) -> Tensor:
    """Signed counts of character trigrams, hashed into a fixed number of columns.

    Args:
        texts: the prompts; each is padded with one space on either side.
        dimensions: columns, at least 1.

    Returns:
        float32 of shape (texts, dimensions), each row scaled to unit length (zero stays zero).

    Determinism: the hash is BLAKE2b, the same everywhere.

    Cost: O(characters).

    Source: Weinberger et al. (2009), feature hashing.

    Examples:
        >>> rows = hashed_ngrams(["1+1=", "1+1=", "a sentence"])
        >>> bool((rows[0] == rows[1]).all()), bool((rows[0] == rows[2]).all())
        (True, False)
    """
    if dimensions < 1:
        raise ArgumentError(f"dimensions: expected at least 1, got {dimensions}")
    places: dict[str, tuple[int, float]] = {}
    rows = np.zeros((len(texts), dimensions), dtype=np.float32)
    for row, text in zip(rows, texts, strict=True):
        padded = f" {text} "
        for i in range(len(padded) - NGRAM + 1):
            gram = padded[i : i + NGRAM]
            if gram not in places:
                digest = hashlib.blake2b(gram.encode(), digest_size=8).digest()
                value = int.from_bytes(digest, "little")
                places[gram] = ((value >> 1) % dimensions, 1.0 if value & 1 else -1.0)
            column, sign = places[gram]
            row[column] += sign
    lengths = np.sqrt((rows**2).sum(1, keepdims=True))
    return torch.from_numpy(rows / np.where(lengths > 0.0, lengths, 1.0))


def sentence_embeddings(texts: Sequence[str], folder: Path, instruction: str = "") -> Tensor:
    """Embeddings by a sentence-transformers model in a local folder; nothing is downloaded.

    Args:
        texts: the prompts.
        folder: the model's.
        instruction: put before each of them, as models that follow instructions expect it.
    """
    if not folder.is_dir():
        raise ArgumentError(f"features: expected the folder of a model, got {folder}")
    need(f"features of the model in {folder}", "sentence_transformers")
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), local_files_only=True)
    asked = model.encode(list(texts), prompt=instruction or None)
    return torch.from_numpy(np.asarray(asked, dtype=np.float32))


def static_embeddings(texts: Sequence[str]) -> Tensor:
    """WordLlama's embeddings, float32 of shape (texts, 256): an average of its word vectors.

    Weights and tokenizer come with the package `wordllama`; nothing is downloaded.
    """
    need("features wordllama", "wordllama")
    import wordllama

    # It looks for its tokenizer in a folder of another name than the one that it ships, and then
    # where it keeps downloads.
    shipped = Path(wordllama.__file__).parent
    model = wordllama.WordLlama.load(cache_dir=shipped, disable_download=True)
    return torch.from_numpy(np.asarray(model.embed(list(texts)), dtype=np.float32))


def _from_fields(pool: PromptPool, names: Sequence[str], of: PromptPool) -> Tensor:
    """The columns that the pool's fields make, for the prompts `of`."""
    columns = []
    for name in names:
        texts = _texts_in(pool, name)
        values = [_field(of, i, name) for i in range(len(of))]
        if texts is not None:
            columns.append(np.array([str(value) for value in values])[:, None] == np.array(texts))
            continue
        numbers = [as_number(value) for value in values]
        if None in numbers:
            at = numbers.index(None)
            raise ArgumentError(
                f"features: expected a number in the field {name!r}, as in the pool, got "
                f"{values[at]!r} of prompt {of[at].id!r}"
            )
        columns.append(np.array(numbers)[:, None])
    features = torch.from_numpy(np.hstack(columns).astype(np.float32))
    check_features(features, len(of))
    return features


def _texts_in(pool: PromptPool, name: str) -> list[str] | None:
    """The texts that a field has in the pool, sorted; None for a field of numbers."""
    values = [_field(pool, i, name) for i in range(len(pool))]
    if all(as_number(value) is not None for value in values):
        return None
    return sorted({str(value) for value in values})


def _field(pool: PromptPool, position: int, name: str) -> Any:
    prompt = pool[position]
    if name not in prompt.meta:
        raise ArgumentError(
            f"features: prompt {prompt.id!r} has no field {name!r}; "
            f"its fields are {', '.join(prompt.meta) or 'none'}"
        )
    value = prompt.meta[name]
    if isinstance(value, float) and not math.isfinite(value):
        raise ArgumentError(f"features: {name} of prompt {prompt.id!r} is {value}")
    return value


def _from_numpy(path: Path) -> Tensor:
    try:
        return torch.from_numpy(np.load(path, allow_pickle=False).astype(np.float32))
    except (OSError, ValueError) as error:
        raise ArgumentError(f"features: cannot read {path}: {error}") from error


def _from_parquet(path: Path, column: str) -> Tensor:
    need(f"features of {path}", "pyarrow")
    import pyarrow.parquet as pq

    try:
        values = pq.read_table(path, columns=[column]).column(column).to_pylist()
        return torch.from_numpy(np.array(values, dtype=np.float32))
    except (OSError, ValueError, KeyError) as error:
        raise ArgumentError(f"features: cannot read {column} of {path}: {error}") from error
