"""The pre-training step of unmask: a contestant of `training.py`."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import training_data
from job import Answers, Job
from unmask.exchange import huggingface
from unmask.train.batches import StepData
from unmask.train.loop import Trainer
from unmask.train.parallel import World
from unmask.train.pretraining import plan_of
from unmask.train.recipe import load_recipe

SLOPES = {
    "first": "encoder.blocks.0.attention.output.weight",
    "last": "encoder.blocks.{last}.feed_forward.down.weight",
    "head": "head.masked.transform.weight",
    "pooler": "head.pooler.dense.weight",
}
"""Weights whose gradients are compared."""


def unmask(
    recipe: str, model: str, count: int, sample: list[str], rate: float, sets: list[str]
) -> Job:
    """What `unmask pretrain` repeats: steps of packed batches in bfloat16, and their updates.

    sample: settings that make the one step whose loss and gradient are compared.
    """
    wanted = load_recipe(recipe, sets=sets)
    text, pretrained = training_data.corpus(wanted), huggingface.read(model, "pretraining")
    network = pretrained.network
    network.set_dropout(0.0)
    network.train()
    plan = plan_of(wanted, 0, Path(), torch.bfloat16)
    trainer = Trainer(plan, network, text.objective, World())
    taken = training_data.steps(text, count)
    numbers = iter(range(1, 1 << 30))

    def train() -> None:
        for step in taken:
            number = next(numbers)
            trainer.step(step, number, number, rate)

    def answer(step: StepData, dtype: torch.dtype) -> dict[str, np.ndarray]:
        """Give the mean loss of the tokens, that of the pairs, the gradient's norm, and slopes."""
        judge = Trainer(replace(plan, dtype=dtype), network, text.objective, World())
        counts = torch.tensor(list(step.counts.values()))
        (batch,) = step.batches
        losses = judge.passes.backward(batch, counts)[0] / counts
        norm = torch.nn.utils.get_total_norm([p.grad for p in network.parameters()])
        found = training_data.slopes(network, SLOPES)
        network.zero_grad()
        return {"losses": np.array([*losses.tolist(), float(norm)]), **found}

    def answers() -> Answers:
        (step,) = training_data.steps(training_data.corpus(load_recipe(recipe, sets=sample)), 1)
        return training_data.named(answer(step, torch.float32), answer(step, torch.bfloat16))

    return Job(
        round=train,
        tokens=training_data.tokens(taken),
        operations=training_data.work(taken, pretrained.spec),
        answers=answers,
    )
