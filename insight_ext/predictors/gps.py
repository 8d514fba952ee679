"""GPS: predicted difficulty from embeddings, through a latent context inferred from the history."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from insight_ext.errors import ArgumentError, CheckpointError
from insight_ext.predictors.features import check_features, checksum
from insight_ext.predictors.predictor import Predictor

# Parameters with a column for each column of the features.
OF_COLUMNS = {"lift.weight", "from_embedding.weight"}
# Prompts decoded at a time: their hidden layer stays in the processor's cache.
CHUNK = 16_384


class History(NamedTuple):
    """One step's results: embeddings (m, d), successes and rollouts (m,)."""

    embeddings: Tensor
    successes: Tensor
    rollouts: Tensor


class ContextModel(nn.Module):
    """Set encoder of a step's results, two Gaussian heads over the context z, and a decoder.

    Args:
        dimensions: of the embeddings.
        width: of every hidden layer.
        context: dimensions of z.
    """

    def __init__(self, dimensions: int, width: int, context: int) -> None:
        super().__init__()
        self.lift = nn.Linear(dimensions + 1, width)
        self.set_encoder = nn.TransformerEncoderLayer(
            width, nhead=4, dim_feedforward=2 * width, dropout=0.0, batch_first=True
        )
        self.posterior_head = nn.Linear(width, 2 * context)
        self.prior_head = nn.Linear(width, 2 * context)
        self.from_context = nn.Linear(context, width)
        self.from_embedding = nn.Linear(dimensions, width, bias=False)
        self.to_logit = nn.Linear(width, 1)
        self.context = context

    def encode(self, history: History | None, head: nn.Linear) -> Normal:
        """The Gaussian over z that a step's results imply; standard normal before the first."""
        if history is None:
            zeros = torch.zeros(self.context)
            return Normal(zeros, torch.ones_like(zeros))
        rates = history.successes / history.rollouts
        tokens = self.lift(torch.cat((history.embeddings, rates[:, None]), dim=1))
        pooled = self.set_encoder(tokens[None]).mean(1)[0]
        mean, scale = head(pooled).chunk(2)
        return Normal(mean, nn.functional.softplus(scale) + 1e-3)

    def decode(self, embeddings: Tensor, contexts: Tensor) -> Tensor:
        """The logit of every prompt (n) under every context (c): shape (c, n)."""
        fixed = self.from_embedding(embeddings)
        moved = self.from_context(contexts)
        (weight,), (bias,) = self.to_logit.weight, self.to_logit.bias
        return torch.stack([torch.addmv(bias, (fixed + each).relu_(), weight) for each in moved])


class Gps(Predictor):
    """The generalizable predictor: one small model, shared by all prompts, learning as they train.

    At each step a latent context is inferred from the step's results (embedding, success rate);
    the prior of the context is inferred from the step before. One gradient step maximises

        E_q[ sum log Binomial(s | K, gamma(x, z)) ] - kl_weight KL(q(z | H_t) || p(z | H_{t-1}))

    and predictions are the decoder's mean over contexts drawn from the prior. What is known of a
    prompt beforehand is where its prediction starts: the decoder adds to it, in logits. The
    strength of a prediction, as a Beta prior of kappa pseudo-answers, is fitted to how well earlier
    predictions of first visits came true. A prompt's own results are added to it.

    Args:
        pool_size: number of prompts.
        embeddings: float tensor of shape (pool_size, d), finite.
        columns: d names of their columns, by which a model goes on where a changed pool has other
            columns: those that it knows keep what was learned of them, new ones begin at 0. None:
            they are what they were, by their place.
        seed: of the initial weights and of every draw.
        width, context: see `ContextModel`.
        samples: contexts averaged over in a prediction.
        kl_weight: see above.
        learning_rate: of Adam.
        updates: gradient steps per observed step; the paper takes one.
        decay: share of a prompt's own results that its next visit keeps.

    Attributes:
        start: logit of the success rate that is known beforehand: a number, or float32 of shape
            (pool_size,) by prompt; 0 unless set. Whoever sets it sets it again after a resume.

    Raises:
        ArgumentError: embeddings of the wrong shape, missing or not finite.

    Determinism: draws depend on the seed and the number of steps alone.

    Cost: `beliefs` O(n width (d + samples)).

    Source: arXiv 2602.01970. Widths, samples and the diversity weight are not published; these are
    ours. The two encoders share the set encoder and differ in their heads (deviation).

    Examples:
        >>> model = Gps(10, torch.eye(10), seed=1)
        >>> model.observe(torch.arange(5), torch.full((5,), 8), torch.full((5,), 8))
        >>> [side.shape for side in model.beliefs()]
        [torch.Size([10]), torch.Size([10])]
    """

    what = "gps"
    of_pool = ("features",)
    per_prompt = ("results", "visits")
    positions = ("_history",)
    values = ("_step", "_evidence", "columns", "weights", "moments")

    def __init__(
        self,
        pool_size: int,
        embeddings: Tensor | None,
        *,
        columns: Sequence[str] | None = None,
        seed: int = 0,
        width: int = 32,
        context: int = 8,
        samples: int = 8,
        kl_weight: float = 0.1,
        learning_rate: float = 1e-2,
        updates: int = 1,
        decay: float = 0.5,
    ) -> None:
        if embeddings is None:
            raise ArgumentError(
                "gps: expected embeddings or features of the prompts, got none; give features, a "
                "tensor of shape (prompts, d), or with a pool a text such as 'ngrams'"
            )
        check_features(embeddings, pool_size)
        self.columns = None if columns is None else list(columns)
        if self.columns is not None and len(set(self.columns)) != embeddings.shape[1]:
            raise ArgumentError(
                f"columns: expected {embeddings.shape[1]} different names, as many as columns of "
                f"the features, got {self.columns!r:.80}"
            )
        if min(width // 4, context, samples, updates) < 1:
            raise ArgumentError(
                f"gps: expected width >= 4 and context, samples, updates >= 1, got {width}, "
                f"{context}, {samples}, {updates}"
            )
        self.features = checksum(embeddings)
        self.embeddings = embeddings.float()
        self.seed, self.samples, self.kl_weight = seed, samples, kl_weight
        self.updates, self.decay = updates, decay
        self.start: float | Tensor = 0.0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model = ContextModel(embeddings.shape[1], width, context)
        self._optimizer = torch.optim.Adam(self.model.parameters(), lr=learning_rate)
        self._history: Tensor = torch.empty(0, 3, dtype=torch.int64)  # index, successes, rollouts
        self._step = 0
        self.results = torch.zeros(pool_size, 2)  # decayed successes and failures
        self.visits = torch.zeros(pool_size, dtype=torch.int32)
        self._strengths = torch.logspace(math.log10(0.5), math.log10(64.0), 15)
        self._evidence = torch.zeros(15)

    @property
    def strength(self) -> float:
        """Pseudo-answers that a prediction is worth."""
        return float(self._evidence.softmax(0) @ self._strengths)

    @torch.no_grad()
    def success_rates(
        self,
        indices: Tensor | None = None,
        *,
        embeddings: Tensor | None = None,
        start: float | Tensor = 0.0,
    ) -> Tensor:
        """The predicted success rates, own results not counted.

        Args:
            indices: of these prompts of the pool; None: of all.
            embeddings: float (m, d), of m other prompts instead, which the pool need not have,
            start: and where their predictions start, see the attribute.
        """
        if embeddings is None:
            embeddings = self.embeddings if indices is None else self.embeddings[indices]
            start = self._start_of(indices)
        elif embeddings.ndim != 2 or embeddings.shape[1] != self.embeddings.shape[1]:
            raise ArgumentError(
                f"embeddings: expected shape (m, {self.embeddings.shape[1]}), as of the pool, got "
                f"{tuple(embeddings.shape)}"
            )
        prior = self.model.encode(self._past(), self.model.prior_head)
        noise = torch.randn(self.samples, self.model.context, generator=self._generator(0))
        contexts = prior.mean + prior.stddev * noise
        starts = torch.as_tensor(start).expand(len(embeddings))
        chunks = zip(torch.split(embeddings, CHUNK), torch.split(starts, CHUNK), strict=True)
        return torch.cat(
            [(self.model.decode(c, contexts) + s).sigmoid_().mean(0) for c, s in chunks]
        )

    def beliefs(self) -> tuple[Tensor, Tensor]:
        """See `Predictor.beliefs`."""
        rates, strength = self.success_rates().clamp(1e-4, 1.0 - 1e-4), self.strength
        return strength * rates + self.results[:, 0], strength * (1.0 - rates) + self.results[:, 1]

    def observe(self, indices: Tensor, successes: Tensor, rollouts: Tensor) -> None:
        """See `Predictor.observe`."""
        self._weigh_strengths(indices, successes, rollouts)
        past = self._past()
        present = History(self.embeddings[indices], successes.float(), rollouts.float())
        start = self._start_of(indices)
        for update in range(self.updates):
            prior = self.model.encode(past, self.model.prior_head)
            posterior = self.model.encode(present, self.model.posterior_head)
            noise = torch.randn(1, self.model.context, generator=self._generator(1 + update))
            contexts = posterior.mean + posterior.stddev * noise
            logits = self.model.decode(present.embeddings, contexts)[0] + start
            # Less the binomial coefficient, which no parameter touches.
            likelihood = present.successes * nn.functional.logsigmoid(logits)
            likelihood += (present.rollouts - present.successes) * nn.functional.logsigmoid(-logits)
            divergence = kl_divergence(posterior, prior).sum()
            loss = -likelihood.mean() + self.kl_weight * divergence / len(indices)
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
        self._history = torch.stack((indices, successes, rollouts), dim=1)
        counts = torch.stack((successes, rollouts - successes), dim=1).float()
        self.results[indices] = self.decay * self.results[indices] + counts
        self.visits[indices] += 1
        self._step += 1

    def _start_of(self, indices: Tensor | None) -> float | Tensor:
        if indices is None or not isinstance(self.start, Tensor):
            return self.start
        return self.start[indices]

    def _past(self) -> History | None:
        if not len(self._history):
            return None
        indices, successes, rollouts = self._history.unbind(1)
        return History(self.embeddings[indices], successes.float(), rollouts.float())

    def _weigh_strengths(self, indices: Tensor, successes: Tensor, rollouts: Tensor) -> None:
        """Add the Beta-Binomial likelihood of these first visits under each strength."""
        first = self.visits[indices] == 0
        if not first.any():
            return
        rates = self.success_rates(indices[first]).clamp(1e-4, 1.0 - 1e-4)[:, None]
        wins, tries = successes[first, None].float(), rollouts[first, None].float()
        a, b = rates * self._strengths, (1.0 - rates) * self._strengths
        log_likelihood = (
            torch.lgamma(a + wins)
            - torch.lgamma(a)
            + torch.lgamma(b + tries - wins)
            - torch.lgamma(b)
            + torch.lgamma(a + b)
            - torch.lgamma(a + b + tries)
        )
        self._evidence = self._evidence + log_likelihood.sum(0)
        self._evidence = self._evidence - self._evidence.max()

    def _generator(self, stream: int) -> torch.Generator:
        mixed = (self.seed * 1_000_003 + self._step) * 1009 + stream
        return torch.Generator().manual_seed(mixed % (1 << 63))

    def metrics(self) -> dict[str, float]:
        """`strength`: pseudo-answers that a prediction is worth."""
        return {"strength": self.strength}

    @property
    def weights(self) -> dict[str, Tensor]:
        """Of the model, by name."""
        return dict(self.model.state_dict())

    @weights.setter
    def weights(self, saved: dict[str, Tensor]) -> None:
        self.model.load_state_dict(saved)

    @property
    def moments(self) -> dict[int, dict[str, Tensor]]:
        """Of the optimiser, by parameter."""
        return dict(self._optimizer.state_dict()["state"])

    @moments.setter
    def moments(self, saved: dict[int, dict[str, Tensor]]) -> None:
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": saved})

    def _by_name(self, state: Mapping[str, Any]) -> Mapping[str, Any]:
        """A saved state with its columns as the present ones: those of a name go on, others are 0.

        Raises:
            CheckpointError: no column of its names.
        """
        saved = state["values"]
        before, names = saved["columns"], self.columns
        if names is None or not isinstance(before, list) or before == names:
            return state
        kept = [(names.index(name), at) for at, name in enumerate(before) if name in names]
        if not kept:
            raise CheckpointError(
                f"gps: expected some of the features' columns {', '.join(names):.80}, the "
                f"checkpoint has {', '.join(map(str, before)):.80}; resume with the features of "
                "the run that wrote it"
            )
        present, earlier = map(list, zip(*kept, strict=True))

        def moved(rows: Any) -> Any:
            if not isinstance(rows, Tensor) or rows.ndim != 2 or rows.shape[1] < len(before):
                return rows  # a number of steps; or damaged, which is seen later
            columns = rows.new_zeros(len(rows), len(names))
            columns[:, present] = rows[:, earlier]
            return torch.cat((columns, rows[:, len(before) :]), dim=1)

        weights, moments = dict(saved["weights"]), dict(saved["moments"])
        for at, (name, _) in enumerate(self.model.named_parameters()):
            if name in OF_COLUMNS:
                weights[name] = moved(weights.get(name))
                if isinstance(moments.get(at), Mapping):
                    moments[at] = {what: moved(each) for what, each in moments[at].items()}
        values = {**saved, "columns": names, "weights": weights, "moments": moments}
        return {**state, "values": values}

    def _apply(self, state: Mapping[str, Any]) -> None:
        super()._apply(self._by_name(state))

    def check_state(self, state: Mapping[str, Any]) -> None:
        """See `Stateful.check_state`; a model of another size does not fit either."""
        super().check_state(state)
        saved = self._by_name(state)["values"]
        self._expect("columns", self.columns, saved["columns"])
        shapes = {name: value.shape for name, value in self.weights.items()}
        if {
            name: getattr(value, "shape", None) for name, value in saved["weights"].items()
        } != shapes:
            raise CheckpointError(
                "gps: the checkpoint's model has other widths than this one, or other features; "
                "resume with the settings of the run that wrote it"
            )
        for at, own in enumerate(self.model.parameters()):
            if at not in saved["moments"]:
                continue  # had no gradient: before the first step, and the prior's head in it
            moments = saved["moments"][at]
            step = {"step": torch.Size()}
            shapes = step | dict.fromkeys(("exp_avg", "exp_avg_sq"), own.shape)
            found = isinstance(moments, Mapping) and {
                name: isinstance(value, Tensor) and value.dtype == own.dtype and value.shape
                for name, value in moments.items()
            }
            if found != shapes:
                raise CheckpointError(
                    f"gps: expected the optimiser's moments of parameter {at}, {tuple(own.shape)}, "
                    f"got {moments!r:.80}; the checkpoint is damaged"
                )
