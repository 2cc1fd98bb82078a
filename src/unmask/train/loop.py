"""The training loop: batches in, updates out, and everything that must survive a crash kept.

A step is one optimizer update, over all accumulated micro-batches of all ranks.
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unmask.contracts import Learnable, Movable
from unmask.errors import UserError
from unmask.model.network import Network
from unmask.train import checkpoint
from unmask.train.batches import StepData
from unmask.train.checkpoint import State
from unmask.train.metrics import Metrics
from unmask.train.optimizer import Grouping, Updates, clip, together
from unmask.train.parallel import World
from unmask.train.recipe import Optimizer, Schedule
from unmask.train.schedule import linear

PATIENCE = 10
"""Steps in a row without a finite loss that stop a run."""
DRAIN = 10
"""Steps whose figures may wait on an accelerator before the host reads them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a run is to do, all decided before it starts."""

    steps: int
    """Of the whole run."""
    phase_ends: tuple[int, ...]
    """Steps behind which a phase of the data ends, the last one with the run."""
    evaluate_at: frozenset[int]
    """Steps behind which the model is evaluated, besides the last."""
    optimizer: Optimizer
    schedule: Schedule
    grouping: Grouping = together
    """How fast each parameter learns, and from when on."""
    checkpoint_seconds: float
    """Time between checkpoints."""
    keep: int
    """Checkpoints kept, the last ones."""
    seed: int
    folder: Path
    dtype: torch.dtype
    """Of the products."""

    def rate(self, step: int) -> float:
        """Give the learning rate at a step, counted from 1."""
        schedule = self.schedule
        return self.optimizer.rate * linear(step, self.steps, schedule.warmup, schedule.floor)


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What the loop tells after a step."""

    step: int
    row: dict[str, Any]
    """What training itself says of the step: its row of `metrics.jsonl`."""
    evaluation: Mapping[str, Any] | None
    """The figures of the evaluation behind the step, where one was due."""


class Trainer:
    """Network and optimizer of a run, and the one step that it repeats."""

    def __init__(
        self, plan: Plan, network: Network, objective: Learnable[Any], world: World
    ) -> None:
        self.plan, self.network, self.objective, self.world = plan, network, objective, world
        self.device = next(network.parameters()).device
        self.weights: list[float] = []
        """Of each loss, as the last batch had them, and"""
        self.judged: list[bool] = []
        """whether it tells how often it was right."""
        self.forget()

    def forget(self) -> None:
        """Begin without moments of earlier gradients."""
        self.updates = Updates(self.network, self.plan.optimizer, self.plan.grouping)

    def autocast(self) -> torch.autocast:
        """Let products run in the plan's type."""
        narrow = self.plan.dtype is not torch.float32
        return torch.autocast(
            self.device.type, dtype=self.plan.dtype if narrow else None, enabled=narrow
        )

    def backward(self, batch: Movable, counts: Tensor) -> Tensor:
        """Add the gradient of a micro-batch; counts: (P,) terms of each loss in the whole step.

        Returns (2, P) float32: sum and number right of each loss.
        """
        with self.autocast():
            parts = self.objective.loss(
                self.network.encoder, self.network.head, batch.to(self.device)
            )
        totals = torch.stack([part.total for part in parts.values()])  # (P,)
        self.weights = [part.weight for part in parts.values()]
        self.judged = [part.correct is not None for part in parts.values()]
        none = totals.new_zeros(())
        correct = [
            none if part.correct is None else part.correct.float() for part in parts.values()
        ]
        means = zip(self.weights, (totals / counts).unbind(), strict=True)
        loss = torch.stack([weight * mean for weight, mean in means]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return torch.stack([totals.detach(), torch.stack(correct)])

    def update(self, number: int, rate: float) -> Tensor:
        """Clip and apply the gradient, if it is finite; returns its norm, on the device."""
        parameters = self.updates.parameters
        self.world.sum_gradients(parameters)
        norm = clip(parameters, self.plan.optimizer.clip)
        self.updates.step(rate, number, norm)
        return norm

    def step(self, data: StepData, number: int, updates: int, rate: float, stop: bool) -> Tensor:
        """Take one step; returns (2 P + 2,) on the device, the same on every rank.

        These are the mean loss and the accuracy of each objective, the gradient's norm, and how
        many ranks were asked to stop. number: of the step, from 1; updates: how many of the steps
        changed the weights, this one included.
        """
        seed = np.random.SeedSequence([self.plan.seed, number, self.world.rank]).generate_state(1)
        torch.manual_seed(int(seed[0]))  # dropout is a function of the step: nothing to save
        self.updates.thaw(number)
        counts = torch.tensor(list(data.counts.values()), dtype=torch.float32).to(self.device)
        counts = self.world.sum(counts)  # (P,) of all ranks
        sums = torch.stack([self.backward(batch, counts) for batch in data.batches]).sum(
            0
        )  # (2, P)
        flags = torch.full((1,), float(stop), device=self.device)
        means = self.world.sum(torch.cat([(sums / counts).flatten(), flags]))
        norm = self.update(updates, rate)
        return torch.cat([means[:-1], norm[None], means[-1:]])


class Run:
    """A run on its way: takes steps, reports them, evaluates, and keeps itself on the disk."""

    def __init__(
        self,
        trainer: Trainer,
        state: State,
        steps_of: Callable[[int, dict[str, Any]], Iterator[StepData]],
        evaluate: Callable[[Trainer], Mapping[str, Any]],
        metrics: Metrics | None,
        observe: Callable[[Report], Mapping[str, Any]],
        enough: Callable[[], bool] = lambda: False,
    ) -> None:
        """Set out from a state.

        steps_of: gives the data of a phase, from a state of its stream on. evaluate: gives figures
        of the model as it is. metrics: None on ranks that do not write. observe: is told every
        step, and may add columns to its row. enough: asked whether to end before the last step.
        """
        self.trainer, self.state, self.steps_of, self.evaluate = trainer, state, steps_of, evaluate
        self.metrics, self.observe, self.enough = metrics, observe, enough
        self.plan, self.steps = trainer.plan, trainer.plan.steps
        self.pending: list[tuple[State, float, tuple[str, ...], Tensor]] = []
        self.in_vain = 0
        self.started = time.monotonic() - state.seconds
        self.saved = time.monotonic()

    def train(self) -> State:
        """Train to the end of the plan, or until Ctrl-C or SIGTERM; saves in both cases.

        Raises KeyboardInterrupt when it was stopped, and UserError when the loss stays not finite.
        """
        with _stopping() as asked:
            stream: Iterator[StepData] | None = None
            while self.state.step < self.steps and not self.enough():
                phase = self._phase()
                if stream is None or phase != self.state.phase:
                    begin = self.state.stream if phase == self.state.phase else {}
                    stream = self.steps_of(phase, begin)
                stopped = self._advance(next(stream), phase, bool(asked))
                if stopped:
                    self._save()
                    raise KeyboardInterrupt
        return self.state

    def _phase(self) -> int:
        """Tell the phase of the coming step; a run that was extended goes back to none."""
        ends = self.plan.phase_ends
        index = int(np.searchsorted(ends, self.state.step, side="right"))
        return max(self.state.phase, min(index, len(ends) - 1))

    def _advance(self, data: StepData, phase: int, stop: bool) -> bool:
        """Take one step and do what is due behind it; tells whether the run is to stop."""
        number = self.state.step + 1
        rate = self.plan.rate(number)
        figures = self.trainer.step(data, number, number - self.state.skipped, rate, stop)
        self.state = replace(
            self.state,
            step=number,
            phase=phase,
            stream=data.state,
            tokens=self.state.tokens + data.tokens,
            seconds=time.monotonic() - self.started,
        )
        self.pending.append((self.state, rate, tuple(data.counts), figures))
        last = number == self.steps
        evaluate = number in self.plan.evaluate_at or last
        late = time.monotonic() - self.saved >= self.plan.checkpoint_seconds
        wait = 1 if self.trainer.device.type == "cpu" else DRAIN
        stopped = False
        if evaluate or late or len(self.pending) >= wait:
            stopped = self._drain(evaluate)
        if late or last:
            self._save()
        return stopped

    def _drain(self, evaluate: bool) -> bool:
        """Read the figures that wait on the device, and report them; tells whether to stop."""
        reports, stopped = [], False
        for state, rate, names, figures in self.pending:
            *means, norm, flags = figures.tolist()
            stopped = stopped or flags > 0
            loss = sum(w * mean for w, mean in zip(self.trainer.weights, means, strict=False))
            row: dict[str, Any] = {"step": state.step, "loss": loss}
            row |= {f"{name}_loss": mean for name, mean in zip(names, means, strict=False)}
            right = zip(names, means[len(names) :], self.trainer.judged, strict=True)
            row |= {f"{name}_accuracy": mean for name, mean, judged in right if judged}
            row |= {
                "rate": rate,
                "gradient_norm": norm,
                "tokens": state.tokens,
                "seconds": state.seconds,
            }
            self._judge(math.isfinite(norm), state.step)
            reports.append(Report(step=state.step, row=row, evaluation=None))
        self.pending.clear()
        if evaluate:
            self.trainer.network.eval()
            reports[-1] = replace(reports[-1], evaluation=self.evaluate(self.trainer))
            self.trainer.network.train()
        for report in reports:
            row = {**report.row, **(report.evaluation or {}), **self.observe(report)}
            if self.metrics is not None:
                self.metrics.add(row, evaluated=report.evaluation is not None)
        return stopped

    def _judge(self, finite: bool, step: int) -> None:
        """Count a step that was skipped, and give up when too many follow each other."""
        if finite:
            self.in_vain = 0
            return
        self.in_vain += 1
        self.state = replace(self.state, skipped=self.state.skipped + 1)
        if self.in_vain == PATIENCE:
            raise UserError(
                f"the loss was not finite in {PATIENCE} steps in a row, up to step {step}; the last"
                f" checkpoint in {self.plan.folder} is from before: start a run with a lower"
                " optimizer.rate, or with precision = 'float32'"
            )

    def _save(self) -> None:
        """Write a checkpoint; one rank does it for all."""
        if self.trainer.world.leads:
            folder, keep = self.plan.folder / "checkpoints", self.plan.keep
            checkpoint.save(folder, self.state, self.trainer.network, self.trainer.updates, keep)
        self.saved = time.monotonic()


@contextmanager
def _stopping() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM instead of dying of them; a second Ctrl-C does kill."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked  # only the main thread hears signals
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(number)

    previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
