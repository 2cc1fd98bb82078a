"""The pre-training step of transformers: contestants of `training.py`."""

import numpy as np
import torch
from torch import Tensor
from transformers import BertForPreTraining

import training_data
from job import Answers, Job
from padding import Rows, divided, joined, rows
from unmask.contracts import Batch
from unmask.exchange import huggingface
from unmask.train.batches import StepData
from unmask.train.recipe import load_recipe

CLIP = 1.0
"""Largest norm of the whole gradient, as ours and as its Trainer has it."""
DECAY = 0.01
TRIED = 32
"""Sequences that a size is tried with."""

SLOPES = {
    "first": "bert.encoder.layer.0.attention.output.dense.weight",
    "last": "bert.encoder.layer.{last}.output.dense.weight",
    "head": "cls.predictions.transform.dense.weight",
    "pooler": "bert.pooler.dense.weight",
}
"""Weights whose gradients are compared."""


class Peer:
    """BertForPreTraining with the AdamW of its Trainer."""

    def __init__(self, model: str, rate: float, bfloat16: bool) -> None:
        self.bert, self.bfloat16 = BertForPreTraining.from_pretrained(model), bfloat16
        self.bert.train()
        matrices = [p for p in self.bert.parameters() if p.ndim > 1]
        vectors = [p for p in self.bert.parameters() if p.ndim == 1]
        groups = [
            {"params": matrices, "weight_decay": DECAY},
            {"params": vectors, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=rate, fused=True)

    def loss(self, filled: Rows, bfloat16: bool) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            found: Tensor = self.bert(**filled).loss
        return found

    def step(self, parts: list[Rows]) -> None:
        """Add the gradients of batches up, and update."""
        total = sum(len(part["input_ids"]) for part in parts)
        for part in parts:
            share = len(part["input_ids"]) / total
            (self.loss(part, self.bfloat16) * share).backward()
        torch.nn.utils.clip_grad_norm_(self.bert.parameters(), CLIP)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def answer(self, filled: Rows, bfloat16: bool) -> dict[str, np.ndarray]:
        """Give the mean loss of the tokens, that of the pairs, the gradient's norm, and slopes."""
        both = self.loss(filled, bfloat16)
        both.backward()
        norm = torch.nn.utils.get_total_norm([p.grad for p in self.bert.parameters()])
        found = training_data.slopes(self.bert, SLOPES)
        self.optimizer.zero_grad()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            fields = {name: filled[name] for name in filled if "label" not in name}
            scores = self.bert(**fields).seq_relationship_logits
        pairs = torch.nn.functional.cross_entropy(scores.float(), filled["next_sentence_label"])
        losses = [float(both.detach() - pairs), float(pairs), float(norm)]
        return {"losses": np.array(losses), **found}


def transformers(
    recipe: str,
    model: str,
    count: int,
    sample: list[str],
    rate: float,
    bfloat16: bool,
    batch: int,
    sort: bool = False,
) -> Job:
    """Make ready to train on the same masked sequences, padded, in batches of about so many.

    sample: settings that make the one step whose loss and gradient are compared. sort: whether the
    sequences of a step are sorted by length, instead of drawn.
    """
    peer = Peer(model, rate, bfloat16)
    taken = training_data.steps(training_data.corpus(load_recipe(recipe)), count)
    generator = torch.Generator().manual_seed(0)
    every = [joined([rows(packed) for packed in packed_of(step)]) for step in taken]
    drawn = [divided(filled, batch, sort, generator) for filled in every]
    few = {name: values[:TRIED] for name, values in every[0].items()}
    tried = divided(few, batch, sort, generator)

    def train() -> None:
        for parts in drawn:
            peer.step(parts)

    def answers() -> Answers:
        text = training_data.corpus(load_recipe(recipe, sets=sample))
        (packed,) = packed_of(training_data.steps(text, 1)[0])
        filled = rows(packed)
        return training_data.named(peer.answer(filled, False), peer.answer(filled, bfloat16))

    spec = huggingface.read(model).spec
    return Job(
        round=train,
        trial=lambda: peer.step(tried),
        tokens=training_data.tokens(taken),
        operations=training_data.work(taken, spec),
        answers=answers,
        facts={"rows": [len(part["input_ids"]) for part in drawn[0]]},
    )


def packed_of(step: StepData) -> list[Batch]:
    """Give a step's batches as what they are."""
    return [batch for batch in step.batches if isinstance(batch, Batch)]
