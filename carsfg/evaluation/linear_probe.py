"""Linear probe: logistic regression on fixed embeddings."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

STRENGTHS = (1.0, 0.1, 0.01, 0.001)  # of the L2 penalty, candidates in descending order
DEFAULT_STRENGTH = 0.1  # without images to choose on


@dataclass(frozen=True)
class LinearProbe:
    """Multinomial logistic regression on standardised embeddings.

    Attributes:
        mean: (D,), of the embeddings it was fitted to.
        deviation: (D,), standard deviation of those embeddings; 1 where it is 0.
        weight: (C, D).
        bias: float (C,), added to the logits.
    """

    mean: Tensor
    deviation: Tensor
    weight: Tensor
    bias: Tensor

    @classmethod
    def fit(
        cls, embeddings: Tensor, labels: Tensor, classes: int, strength: float, start: "LinearProbe | None" = None
    ) -> "LinearProbe":
        """Minimise mean cross-entropy + strength / 2 |weight|^2 by L-BFGS, in float32, on the embeddings' device.

        For three classes or more that is scikit-learn's `LogisticRegression(C=1 / (N strength))` behind a
        `StandardScaler`. For two classes scikit-learn has one weight vector where this has two, so that the same
        strength is another penalty. There is one minimum, so the result does not depend on chance.

        Args:
            embeddings: float (N, D).
            labels: int64 (N,).
            classes: number C of classes, labels are 0 to C - 1.
            strength: of the L2 penalty.
            start: a probe to start from, which saves time; by default all weights are 0.
        """
        mean, deviation = embeddings.mean(0), embeddings.std(0, correction=0)
        deviation = torch.where(deviation > 0, deviation, 1.0)
        points = (embeddings - mean) / deviation
        weight = points.new_zeros(classes, points.shape[1]) if start is None else start.weight.clone()
        bias = points.new_zeros(classes) if start is None else start.bias.clone()
        parameters = [weight.requires_grad_(), bias.requires_grad_()]
        solver = torch.optim.LBFGS(parameters, max_iter=200, tolerance_grad=1e-5, line_search_fn="strong_wolfe")

        def loss() -> float:
            solver.zero_grad()
            error = functional.cross_entropy(functional.linear(points, weight, bias), labels)
            error = error + strength / 2 * weight.square().sum()
            error.backward()  # type: ignore[no-untyped-call]
            return error.item()

        solver.step(loss)  # type: ignore[no-untyped-call]
        return cls(mean, deviation, weight.detach(), bias.detach())

    def as_layer(self) -> tuple[Tensor, Tensor]:
        """Return weight (C, D) and bias (C,) of the linear layer that gives the same logits of plain embeddings.

        The standardisation is part of them. They are computed in float64 and rounded to float32 once.
        """
        weight = self.weight.double() / self.deviation.double()
        return weight.float(), (self.bias.double() - weight @ self.mean.double()).float()

    def __call__(self, embeddings: Tensor) -> Tensor:
        """Return logits (N, C) of embeddings (N, D)."""
        return functional.linear((embeddings - self.mean) / self.deviation, self.weight, self.bias)


def select_strength(embeddings: Tensor, labels: Tensor, held: Tensor, classes: int) -> float:
    """Return the strength, of `STRENGTHS`, with the highest accuracy on held-out images; of several, the strongest.

    Args:
        embeddings: float (N, D).
        labels: int64 (N,).
        held: bool (N,), the held-out images; the probe is fitted to the others.
        classes: number C of classes, labels are 0 to C - 1.
    """
    best, chosen, probe = -1.0, DEFAULT_STRENGTH, None
    if held.all() or not held.any():
        return chosen
    for strength in STRENGTHS:
        probe = LinearProbe.fit(embeddings[~held], labels[~held], classes, strength, probe)
        right = float((probe(embeddings[held]).argmax(1) == labels[held]).double().mean())
        if right > best:
            best, chosen = right, strength
    return chosen
