"""A linear state followed through time, under several hypotheses about what repeats teach."""

from __future__ import annotations

import torch
from torch import Tensor

from insight_ext.state import Stateful


class SkillFilter(Stateful):
    """Kalman filters of the coefficients of a drifting linear model, one for each novelty.

    The state is (intercept, coefficients, growth). From one step to the next the intercept, the
    skill that all prompts share, moves by growth times what the batch taught; how much it taught
    depends on the hypothesis: a prompt's visit number v + 1 counts `novelty ** v`. Each hypothesis
    is weighted by how well it foretold the results so far.

    Args:
        coefficients: number of features, intercept not counted.
        novelties: the hypotheses, each in (0, 1].
        drift: standard deviation, per step, of what the model does not foresee, in logits.

    Determinism: float64 linear algebra of fixed order.
    Cost: O(hypotheses * coefficients^3) per step.
    """

    what = "skill filter"
    values = ("mean", "covariance", "evidence")

    INTERCEPT_DEVIATION = 3.0
    COEFFICIENT_DEVIATION = 2.0
    GROWTH_DEVIATION = 0.1

    def __init__(self, coefficients: int, novelties: tuple[float, ...], drift: float) -> None:
        size = coefficients + 2
        self.novelties = torch.tensor(novelties, dtype=torch.float64)
        self.mean = torch.zeros(len(novelties), size, dtype=torch.float64)
        deviations = torch.full((size,), self.COEFFICIENT_DEVIATION, dtype=torch.float64)
        deviations[0], deviations[-1] = self.INTERCEPT_DEVIATION, self.GROWTH_DEVIATION
        self.covariance = torch.diag(deviations**2).repeat(len(novelties), 1, 1)
        self.evidence = torch.zeros(len(novelties), dtype=torch.float64)
        noise = torch.full((size,), drift**2 / max(coefficients, 1), dtype=torch.float64)
        noise[0], noise[-1] = drift**2, 0.0
        self._noise = torch.diag(noise)

    @property
    def weights(self) -> Tensor:
        """The probability of each hypothesis."""
        return self.evidence.softmax(0)

    @property
    def novelty(self) -> float:
        """The expected novelty."""
        return float(self.weights @ self.novelties)

    @property
    def coefficients(self) -> Tensor:
        """The expected intercept and coefficients."""
        return self.weights @ self.mean[:, :-1]

    @property
    def uncertainty(self) -> Tensor:
        """The expected covariance of intercept and coefficients."""
        return torch.einsum("j,jkl->kl", self.weights, self.covariance[:, :-1, :-1])

    def update(self, inputs: Tensor, targets: Tensor, variances: Tensor) -> None:
        """Condition every hypothesis on `targets`, observed with these variances."""
        padded = torch.nn.functional.pad(inputs, (0, 1))
        scaled = padded / variances[:, None]
        precision = torch.linalg.inv(self.covariance)
        updated = precision + scaled.T @ padded
        right = (precision @ self.mean[:, :, None])[:, :, 0] + scaled.T @ targets
        covariance = torch.linalg.inv(updated)
        mean = (covariance @ right[:, :, None])[:, :, 0]
        before = torch.einsum("jk,jkl,jl->j", self.mean, precision, self.mean)
        after = torch.einsum("jk,jkl,jl->j", mean, updated, mean)
        shrunk = torch.logdet(precision) - torch.logdet(updated)
        evidence = self.evidence + 0.5 * (after - before + shrunk)
        self.evidence = evidence - evidence.max()
        self.mean = mean
        self.covariance = 0.5 * (covariance + covariance.transpose(1, 2))

    def advance(self, taught: Tensor) -> None:
        """Move to the next step, after a batch that taught this much under each hypothesis."""
        self.mean[:, 0] += taught * self.mean[:, -1]
        step = torch.eye(self.mean.shape[1], dtype=torch.float64).repeat(len(taught), 1, 1)
        step[:, 0, -1] = taught
        self.covariance = step @ self.covariance @ step.transpose(1, 2) + self._noise
