"""Models that predict the success rate of prompts, those never seen among them."""

from __future__ import annotations

from insight_ext.predictors.allocation import allocate_samples
from insight_ext.predictors.features import features_of, hashed_ngrams, sentence_embeddings
from insight_ext.predictors.gps import Gps
from insight_ext.predictors.predictor import Predictor

__all__ = [
    "Gps",
    "Predictor",
    "allocate_samples",
    "features_of",
    "hashed_ngrams",
    "sentence_embeddings",
]
