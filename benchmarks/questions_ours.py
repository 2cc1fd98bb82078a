"""Fine-tuning steps of unmask on questions: a contestant of `questions.py`."""

from dataclasses import replace
from itertools import islice

import numpy as np
import torch

import operations
from encoding_data import INNER, LAYERS, WIDTH
from finetuning_clock import spread
from finetuning_data import work_of
from finetuning_ours import begun
from job import Answers, Job
from questions import COMPARED, FIRST, head
from unmask.contracts import Labelled
from unmask.train.loop import Trainer
from unmask.train.parallel import World


def unmask(steps: int) -> Job:
    """What `unmask finetune` repeats, at a rate of 0."""
    session, units = begun(work_of("squad"))
    trainer = session.trainer()
    drawn = spread(list(islice(session.steps_of(0, {}), FIRST)), steps)
    batches = [part for step in drawn for part in step.batches if isinstance(part, Labelled)]
    sizes = [size for part in batches for size in part.tokens.layout.lengths]

    def train() -> None:
        for step in drawn:
            trainer.step(step, 1, 1, 0.0)

    def answers() -> Answers:
        network, task = session.network, session.work.task
        part = session.network.head.span
        weight, bias = head()
        with torch.no_grad():
            part.weight.copy_(weight)
            part.bias.copy_(bias)
        network.eval()
        batch = task.batch([window for unit in units[:COMPARED] for window in unit])
        found = {}
        for name, dtype in (("float32", torch.float32), ("own", session.dtype)):
            judge = Trainer(replace(trainer.plan, dtype=dtype), network, task, World())
            total = judge.passes.backward(batch, torch.ones(1))[0]
            found[name] = np.array(float(total) / COMPARED)
            network.zero_grad()
        network.train()
        return found

    return Job(
        round=train,
        tokens=sum(step.tokens for step in drawn),
        operations=3 * operations.encoder(sizes, LAYERS, WIDTH, INNER),
        answers=answers,
    )
