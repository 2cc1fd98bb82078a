"""Distillation: a small model learns to fill masks from a large one, and to see texts as it does.

The three losses of DistilBERT (Sanh et al. 2019, section 2). T tokens, M of them predicted, V
entries of the vocabulary, W width.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unmask.contracts import Batch
from unmask.data.packing import Packed
from unmask.errors import UserError
from unmask.model.cross_entropy import Part
from unmask.model.heads import Head
from unmask.model.network import Network
from unmask.model.transformer import Transformer
from unmask.objectives.masked import MaskedObjective


@dataclass(frozen=True, kw_only=True, slots=True)
class Distillation:
    """What the student learns, by how much each loss weighs."""

    soft: float = 5.0
    """Of the divergence between the predictions of teacher and student (`soft`)."""
    mlm: float = 2.0
    """Of masked language modelling."""
    cosine: float = 1.0
    """Of the angles between the hidden states of teacher and student (`cosine`)."""
    temperature: float = 2.0
    """By which all scores are divided before they are compared; the loss grows by its square."""
    all_tokens: bool = False
    """Compare the predictions of all tokens, not only of those that are to be predicted."""

    def __post_init__(self) -> None:
        """Refuse weights below zero, and a temperature that is none."""
        for name in ("soft", "mlm", "cosine"):
            if getattr(self, name) < 0:
                raise UserError(f"distillation.{name} is {getattr(self, name)}; it is at least 0")
        if self.temperature <= 0:
            raise UserError(
                f"distillation.temperature is {self.temperature}; it must be above 0, usually 2"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class DistillationObjective:
    """Do what a teacher does, and fill masks (`mlm`)."""

    name: ClassVar[str] = "distillation"
    tokens: ClassVar[str] = "mlm"
    pair: ClassVar[None] = None
    title: ClassVar[str] = "Masked language modelling, taught"
    masked: MaskedObjective
    """Hides tokens; it asks nothing about pairs."""
    teacher: Network
    """An encoder of the student's width and vocabulary with a head that fills masks, in evaluation
    mode."""
    settings: Distillation
    """How much each loss weighs."""

    def corrupt(self, packed: Packed, rng: np.random.Generator) -> Batch:
        """Hide tokens of every sequence. All randomness comes from `rng`."""
        batch = self.masked.corrupt(packed, rng)
        every = packed.ids.size
        compared = every if self.settings.all_tokens else batch.counts["mlm"]
        return replace(batch, counts={**batch.counts, "soft": compared, "cosine": every})

    def loss(self, encoder: Transformer, head: Head, batch: Batch) -> dict[str, Part]:
        """Run teacher and student on a batch."""
        assert head.masked is not None, "this objective needs a head that predicts tokens"
        assert self.teacher.head.masked is not None, "so does its teacher"
        settings = self.settings
        real = batch.tokens.layout.real_tokens
        with torch.no_grad():
            shown = self.teacher.encoder(batch.tokens)[:real]  # (T, W)
        hidden = encoder(batch.tokens)[:real]  # (T, W)
        mlm = head.masked.loss(hidden.index_select(0, batch.rows), batch.labels)
        rows = slice(None) if settings.all_tokens else batch.rows
        with torch.no_grad():
            taught = self.teacher.head.masked(shown[rows])  # (M, V)
        soft = divergence(head.masked(hidden[rows]), taught, settings.temperature)
        cosine = (1 - F.cosine_similarity(hidden.float(), shown.float(), dim=1)).sum()
        return {
            "mlm": replace(mlm, weight=settings.mlm),
            "soft": replace(soft, weight=settings.soft),
            "cosine": Part(cosine, None, settings.cosine),
        }


def divergence(scores: Tensor, taught: Tensor, temperature: float) -> Part:
    """Kullback-Leibler divergence of a student's scores from its teacher's: (M, V) each.

    Times the square of the temperature, so that its gradient is of the same size for all (Hinton et
    al. 2015, section 2). Correct is where both have the same favourite.
    """
    student = F.log_softmax(scores.float() / temperature, dim=-1)
    teacher = F.log_softmax(taught.float() / temperature, dim=-1)
    total = F.kl_div(student, teacher, reduction="sum", log_target=True) * temperature**2
    return Part(total, (scores.detach().argmax(-1) == taught.argmax(-1)).sum())


OBJECTIVE = DistillationObjective
