"""Held-out evaluation: how well a model fills masks and tells real pairs from random ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from unmask.contracts import Batch, Learnable
from unmask.model.network import Network
from unmask.train.parallel import World


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """Figures of one pass over the held-out text, losses in nats a prediction."""

    heldout_mlm_loss: float
    """Mean cross-entropy of the masked tokens."""
    heldout_mlm_accuracy: float
    """Share of the masked tokens that come first."""
    nsp_accuracy: float | None
    """Share of the pairs told right; None where sequences are no pairs."""
    unigram_loss: float
    """Of the same tokens by their frequencies in the training text: what a model must beat."""


class Heldout:
    """Fixed batches with fixed masks, so that evaluations of a run compare.

    unigrams: (V,) counts of the training text's tokens.
    """

    def __init__(self, batches: Sequence[Batch], unigrams: np.ndarray) -> None:
        self.batches, self.unigrams = batches, unigrams
        frequencies = (unigrams + 1) / (unigrams.sum() + len(unigrams))  # one added: none is zero
        labels = np.concatenate([batch.labels.numpy() for batch in batches])
        self.unigram_loss = float(-np.log(frequencies[labels]).mean())
        self.counts = {
            name: sum(batch.counts[name] for batch in batches) for name in batches[0].counts
        }

    @torch.no_grad()
    def evaluate(
        self, network: Network, objective: Learnable[Batch], world: World, autocast: torch.autocast
    ) -> Evaluation:
        """Run the model, in evaluation mode, over all batches, shared among the ranks."""
        device = next(network.parameters()).device
        sums = {name: torch.zeros(2, dtype=torch.float64, device=device) for name in self.counts}
        for batch in self.batches[world.rank :: world.size]:
            with autocast:
                parts = objective.loss(network.encoder, network.head, batch.to(device))
            for name, part in parts.items():
                sums[name] += torch.stack([part.total.double(), part.correct.double()])
        means = {name: world.sum(total) / self.counts[name] for name, total in sums.items()}
        loss, accuracy = means["mlm"].tolist()
        return Evaluation(
            heldout_mlm_loss=loss,
            heldout_mlm_accuracy=accuracy,
            nsp_accuracy=means["nsp"][1].item() if "nsp" in means else None,
            unigram_loss=self.unigram_loss,
        )
