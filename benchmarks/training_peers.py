"""The pre-training step of transformers: contestants of `training.py`."""

import numpy as np
import torch
from torch import Tensor
from transformers import BertForPreTraining

import training_data
from padding import Rows, divided, rows
from turns import Answers, Job
from unmask.contracts import Batch
from unmask.exchange import huggingface
from unmask.train.recipe import load_recipe

CLIP = 1.0
"""Largest norm of the whole gradient, as ours and as its Trainer has it."""
DECAY = 0.01


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

    def answer(self, filled: Rows, bfloat16: bool) -> np.ndarray:
        """Give the mean loss of the tokens, that of the pairs, and the gradient's norm."""
        both = self.loss(filled, bfloat16)
        both.backward()
        norm = torch.nn.utils.get_total_norm([p.grad for p in self.bert.parameters()])
        self.optimizer.zero_grad()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            fields = {name: filled[name] for name in filled if "label" not in name}
            scores = self.bert(**fields).seq_relationship_logits
        pairs = torch.nn.functional.cross_entropy(scores.float(), filled["next_sentence_label"])
        return np.array([float(both.detach() - pairs), float(pairs), float(norm)])


def transformers(
    recipe: str, model: str, count: int, sample: list[str], rate: float, bfloat16: bool, batch: int
) -> Job:
    """Make ready to train on the same masked sequences, padded, in batches of so many.

    sample: settings that make the one step whose loss and gradient are compared.
    """
    peer = Peer(model, rate, bfloat16)
    taken = training_data.steps(training_data.corpus(load_recipe(recipe)), count)
    generator = torch.Generator().manual_seed(0)
    drawn = [
        [part for packed in step.batches for part in divided(rows(packed), batch, generator)]
        for step in taken
    ]

    def train() -> None:
        for parts in drawn:
            peer.step(parts)

    def answers() -> Answers:
        text = training_data.corpus(load_recipe(recipe, sets=sample))
        (packed,) = training_data.steps(text, 1)[0].batches
        assert isinstance(packed, Batch)
        filled = rows(packed)
        return {"float32": peer.answer(filled, False), "own": peer.answer(filled, bfloat16)}

    spec = huggingface.read(model).spec
    return Job(
        round=train,
        tokens=training_data.tokens(taken),
        operations=training_data.work(taken, spec),
        answers=answers,
    )
