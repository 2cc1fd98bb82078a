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

from unmask.contracts import Learnable
from unmask.errors import UserError
from unmask.model.network import Network
from unmask.tokens import moved
from unmask.train import checkpoint
from unmask.train.batches import StepData
from unmask.train.checkpoint import State
from unmask.train.metrics import Metrics
from unmask.train.optimizer import Grouping, Updates, clip, together
from unmask.train.parallel import World
from unmask.train.passes import Passes
from unmask.train.recipe import Optimizer, Schedule
from unmask.train.schedule import linear

PATIENCE = 10
"""Steps in a row without a finite loss that stop a run."""


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
class Wish:
    """What may be asked for while a step is taken, by any of the ranks."""

    stop: bool = False
    """Save, and end the run."""
    save: bool = False
    """Save, and go on."""

    def __or__(self, other: "Wish") -> "Wish":
        """Ask for what either asks for."""
        return Wish(stop=self.stop or other.stop, save=self.save or other.save)


NOTHING = Wish()


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """A step whose figures are on their way to the host."""

    state: State
    """Behind it."""
    rate: float
    names: tuple[str, ...]
    """Of the losses."""
    figures: Tensor
    """On the host, once"""
    arrived: torch.cuda.Event | None
    """has happened; None: they are there."""

    @classmethod
    def of(cls, state: State, rate: float, names: tuple[str, ...], figures: Tensor) -> "Taken":
        """Send the figures of a step to the host, without waiting for them."""
        here, arrived = figures.to("cpu", non_blocking=True), None
        if figures.device.type == "cuda":
            arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            arrived.record()
        return cls(state=state, rate=rate, names=names, figures=here, arrived=arrived)

    def read(self) -> list[float]:
        """Wait for the figures."""
        if self.arrived is not None:
            self.arrived.synchronize()
        found: list[float] = self.figures.tolist()
        return found


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
        self.plan, self.network, self.world = plan, network, world
        self.passes = Passes(network, objective, plan.dtype)
        self.device = self.passes.device
        self.forget()

    def forget(self) -> None:
        """Begin without moments of earlier gradients."""
        self.updates = Updates(self.network, self.plan.optimizer, self.plan.grouping)

    def update(self, number: int, rate: float) -> Tensor:
        """Clip and apply the gradient, if it is finite; returns its norm, on the device."""
        parameters = self.updates.parameters
        self.world.sum_gradients(parameters)
        norm = clip(parameters, self.plan.optimizer.clip)
        self.updates.step(rate, number, norm)
        return norm

    def step(
        self, data: StepData, number: int, updates: int, rate: float, wish: Wish = NOTHING
    ) -> Tensor:
        """Take one step; returns (2 P + 3,) on the device, the same on every rank.

        These are the mean loss and the accuracy of each objective, the gradient's norm, and how
        many ranks wish to stop and to save. number: of the step, from 1; updates: how many of the
        steps changed the weights, this one included. No host waits for a device here.
        """
        self.updates.thaw(number)
        counts = torch.tensor(list(data.counts.values()), dtype=torch.float32)
        counts = self.world.sum(moved(counts, self.device))  # (P,) of all ranks
        seed = [self.plan.seed, number, self.world.rank]
        sums = self.passes.step(data.batches, counts, seed)  # (2, P)
        wishes = moved(torch.tensor([wish.stop, wish.save], dtype=torch.float32), self.device)
        means = self.world.sum(torch.cat([(sums / counts).flatten(), wishes]))
        norm = self.update(updates, rate)
        return torch.cat([means[:-2], norm[None], means[-2:]])


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
        self.pending: list[Taken] = []
        self.ahead = ahead(trainer.device)
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
                    raise KeyboardInterrupt
        return self.state

    def _phase(self) -> int:
        """Tell the phase of the coming step; a run that was extended goes back to none."""
        ends = self.plan.phase_ends
        index = int(np.searchsorted(ends, self.state.step, side="right"))
        return max(self.state.phase, min(index, len(ends) - 1))

    def _advance(self, data: StepData, phase: int, stop: bool) -> bool:
        """Take one step and do what is due behind it; tells whether the run is to stop.

        What somebody wishes is heard when the step's figures are read: by all ranks behind the
        same step, although each has its own clock.
        """
        number = self.state.step + 1
        rate = self.plan.rate(number)
        late = time.monotonic() - self.saved >= self.plan.checkpoint_seconds
        wish = Wish(stop=stop, save=late and self.trainer.world.leads)
        figures = self.trainer.step(data, number, number - self.state.skipped, rate, wish)
        self.state = replace(
            self.state,
            step=number,
            phase=phase,
            stream=data.state,
            tokens=self.state.tokens + data.tokens,
            seconds=time.monotonic() - self.started,
        )
        self.pending.append(Taken.of(self.state, rate, tuple(data.counts), figures))
        last = number == self.steps
        evaluate = number in self.plan.evaluate_at or last
        wish = self._read(0 if evaluate else self.ahead, evaluate)
        if wish.save or wish.stop:
            wish |= self._read(0, evaluate=False)
        if wish.save or wish.stop or last:
            self._save()
        return wish.stop

    def _read(self, ahead: int, evaluate: bool) -> Wish:
        """Report the steps taken, but for so many of the last; gives what is wished in them."""
        reports, wish = [], NOTHING
        while len(self.pending) > ahead:
            report, wished = self._told(self.pending.pop(0))
            reports.append(report)
            wish |= wished
        if evaluate:
            with self.trainer.network.evaluating():
                reports[-1] = replace(reports[-1], evaluation=self.evaluate(self.trainer))
        for report in reports:
            row = {**report.row, **(report.evaluation or {}), **self.observe(report)}
            if self.metrics is not None:
                self.metrics.add(row, evaluated=report.evaluation is not None)
        return wish

    def _told(self, taken: Taken) -> tuple[Report, Wish]:
        """Make a row of the figures of a step."""
        state, names = taken.state, taken.names
        *means, norm, stop, save = taken.read()
        loss = sum(w * mean for w, mean in zip(self.trainer.passes.weights, means, strict=False))
        row: dict[str, Any] = {"step": state.step, "loss": loss}
        row |= {f"{name}_loss": mean for name, mean in zip(names, means, strict=False)}
        right = zip(names, means[len(names) :], self.trainer.passes.judged, strict=True)
        row |= {f"{name}_accuracy": mean for name, mean, judged in right if judged}
        row |= {"rate": taken.rate, "gradient_norm": norm}
        row |= {"tokens": state.tokens, "seconds": state.seconds}
        self._judge(math.isfinite(norm), state.step)
        wish = Wish(stop=stop > 0, save=save > 0)
        return Report(step=state.step, row=row, evaluation=None), wish

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


def ahead(device: torch.device) -> int:
    """Tell how many steps the host works ahead of a device: an accelerator never waits for it."""
    return 0 if device.type == "cpu" else 2


@contextmanager
def _stopping() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM instead of dying of them; a second Ctrl-C does kill."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked  # only the main thread hears signals
        return

    def ask(number: int, frame: FrameType | None) -> None:
        """Note that the run is to stop; the second Ctrl-C ends it at once."""
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(number)

    previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
