"""Held-out evaluation: how well a model does what it is pre-trained to do."""

from collections.abc import Sequence

import numpy as np
import torch

from unmask.contracts import Batch, Objective
from unmask.model.network import Network
from unmask.train.parallel import World


class Heldout:
    """Fixed batches with fixed masks, so that evaluations of a run compare.

    unigrams: (V,) counts of the training text's tokens.
    """

    def __init__(self, batches: Sequence[Batch], unigrams: np.ndarray) -> None:
        self.batches, self.unigrams = batches, unigrams
        frequencies = (unigrams + 1) / (unigrams.sum() + len(unigrams))  # one added: none is zero
        labels = np.concatenate([batch.labels.numpy() for batch in batches])
        self.unigram_loss = float(-np.log(frequencies[labels[labels >= 0]]).mean())
        """Nats a prediction by those counts alone: what a model must beat."""
        self.counts = {
            name: sum(batch.counts[name] for batch in batches) for name in batches[0].counts
        }

    @torch.no_grad()
    def evaluate(
        self, network: Network, objective: Objective, world: World, autocast: torch.autocast
    ) -> dict[str, float]:
        """Run the model, in evaluation mode, over all batches, shared among the ranks.

        Returns `heldout_..._loss` of every loss, in nats a prediction where it is about tokens;
        which share of these comes first, as `heldout_..._accuracy`; which share of the pairs is
        told right, as `..._accuracy`; and `unigram_loss`.
        """
        device = next(network.parameters()).device
        sums = {name: torch.zeros(2, dtype=torch.float64, device=device) for name in self.counts}
        for batch in self.batches[world.rank :: world.size]:
            with autocast:
                parts = objective.loss(network.encoder, network.head, batch.to(device))
            for name, part in parts.items():
                right = torch.zeros(()) if part.correct is None else part.correct
                sums[name] += torch.stack([part.total.double(), right.to(device).double()])
        figures = {}
        for name, total in sums.items():
            loss, right = (world.sum(total) / self.counts[name]).tolist()
            if name == objective.pair:
                figures[f"{name}_accuracy"] = right
            else:
                figures[f"heldout_{name}_loss"] = loss
            if name == objective.tokens:
                figures[f"heldout_{name}_accuracy"] = right
        return figures | {"unigram_loss": self.unigram_loss}
