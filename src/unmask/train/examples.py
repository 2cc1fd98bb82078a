"""Labelled windows as the data of optimizer steps: shuffled anew in each epoch, and resumable."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from unmask.contracts import Labelled, Task
from unmask.data.windows import Window
from unmask.errors import UserError
from unmask.train.batches import StepData
from unmask.train.parallel import World

Unit = Sequence[Window]
"""Windows that must be trained on together: one, or the choices of a question."""


class Examples:
    """Units to train on, and the batches made of them.

    The batch of a step depends on the seed and the step's number alone; the ranks divide it.
    """

    def __init__(
        self, task: Task, units: Sequence[Unit], *, batch: int, micro_tokens: int, seed: int
    ) -> None:
        """Take units; a step has `batch` of them, in forward passes of `micro_tokens` at most."""
        self.task, self.units = task, units
        self.batch, self.micro_tokens, self.seed = batch, micro_tokens, seed
        self.sizes = np.array([sum(window.size for window in unit) for unit in units])
        self.epoch = math.ceil(len(units) / batch)
        """Steps of an epoch."""

    def steps(self, state: Mapping[str, Any], ranks: World) -> Iterator[StepData]:
        """Give this rank's data of every step from a state on, for ever."""
        if self.batch < ranks.size:
            raise UserError(f"batch {self.batch} cannot be shared by {ranks.size} ranks; raise it")
        epoch, begin = state.get("epoch", 0), state.get("step", 0)
        while True:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.units))
            for step in range(begin, self.epoch):
                chosen = order[step * self.batch : (step + 1) * self.batch]
                if len(chosen) < ranks.size:  # too few for all ranks: begin the epoch again
                    chosen = np.resize(order, ranks.size)
                done = step + 1 == self.epoch
                after = {"epoch": epoch + done, "step": 0 if done else step + 1}
                yield self._step(chosen, after, ranks)
            epoch, begin = epoch + 1, 0

    def _step(self, chosen: np.ndarray, after: dict[str, Any], ranks: World) -> StepData:
        """Divide units among ranks and forward passes, those of like length together."""
        longest_first = chosen[np.argsort(-self.sizes[chosen], kind="stable")]
        own = longest_first[ranks.rank :: ranks.size]
        batches = [self._batch(part) for part in self._parts(own)]
        names = batches[0].counts
        return StepData(
            batches=batches,
            counts={name: sum(batch.counts[name] for batch in batches) for name in names},
            tokens=int(self.sizes[chosen].sum()),
            state=after,
        )

    def _parts(self, units: np.ndarray) -> list[np.ndarray]:
        """Cut a series of units into as few forward passes as possible, of about equal size."""
        ends = np.cumsum(self.sizes[units])
        passes = math.ceil(ends[-1] / self.micro_tokens)
        # A pass ends where the next unit's middle lies in the next of equal parts.
        part = ((ends - self.sizes[units] / 2) * passes / ends[-1]).astype(int)
        return [units[part == number] for number in range(passes) if (part == number).any()]

    def _batch(self, units: np.ndarray) -> Labelled:
        return self.task.batch([window for unit in units for window in self.units[unit]])
