"""Models that predict the success rate of prompts, those never seen among them."""

from __future__ import annotations

from insight_ext.predictors.feature_regression import FeatureRegression
from insight_ext.predictors.predictor import Predictor

__all__ = ["FeatureRegression", "Predictor"]
