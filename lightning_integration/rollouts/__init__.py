"""Engines that turn prompts into sampled completions."""

from __future__ import annotations

from lightning_integration.rollouts.engine import RolloutEngine, Rollouts, Sampling
from lightning_integration.rollouts.transformers import TransformersEngine

__all__ = ["RolloutEngine", "Rollouts", "Sampling", "TransformersEngine"]
