"""What a predictor may know of a prompt: given vectors, or vectors of its text."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from insight_ext.errors import ArgumentError


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


def checksum(features: Tensor) -> str:
    """SHA-256 (hex) over shape, type and bytes."""
    digest = hashlib.sha256(f"{features.dtype} {tuple(features.shape)} ".encode())
    digest.update(features.contiguous().cpu().numpy().data)
    return digest.hexdigest()
