"""What a run will take, measured before it starts, and the steps that fit a budget."""

import re
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import mean, median

import torch

from unmask.errors import UserError
from unmask.train.batches import StepData
from unmask.train.loop import Trainer

SHARE = 0.03
"""Of a budget that the rehearsal itself may take."""
LONGEST = 15.0
"""Seconds that a rehearsal takes at most, but for one step."""
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Measured cost of a run's parts."""

    step_seconds: float
    """Of one step."""
    evaluation_seconds: float
    """Of one held-out evaluation."""
    step_tokens: float
    """Tokens of a step, on average."""
    memory: int
    """Peak bytes of this process, or of its accelerator."""

    def seconds(self, steps: int, evaluations: float) -> float:
        """Estimate the time of a whole run."""
        return steps * self.step_seconds + evaluations * self.evaluation_seconds

    def steps(self, budget: float, evaluations: int) -> int:
        """Tell how many steps fit a budget of seconds, at least one."""
        return max(1, int((budget - evaluations * self.evaluation_seconds) / self.step_seconds))


def rehearse(
    trainer: Trainer,
    data: Iterator[StepData],
    evaluation_seconds: Callable[[Trainer], float],
    seconds: float,
) -> Cost:
    """Take at least three steps that change nothing, for about this many seconds; time them.

    The rate is zero and the moments are thrown away, so that the run begins as if nothing had been.
    evaluation_seconds: tells what an evaluation takes, with the model in evaluation mode.
    """
    _pass(trainer, next(data))  # the first step sets up memory and kernels, and compiles
    tokens: list[int] = []
    times: list[float] = []
    while len(times) < 3 or sum(times) < min(seconds, LONGEST):
        begin = time.perf_counter()
        step = next(data)
        _pass(trainer, step)
        times.append(time.perf_counter() - begin)
        tokens.append(step.tokens)
        if sum(times) > LONGEST:
            break
    step_seconds = median(times)  # one slow moment of the machine must not shorten the run
    trainer.forget()
    with trainer.network.evaluating():
        evaluation = evaluation_seconds(trainer)
    return Cost(
        step_seconds=trainer.world.share(step_seconds),
        evaluation_seconds=trainer.world.share(evaluation),
        step_tokens=trainer.world.share(mean(tokens)),
        memory=_peak(trainer.device),
    )


def duration(text: str) -> float:
    """Read a time such as 90s, 10m, 2h or 1.5d, in seconds. Raises UserError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    if match is None or float(match[1]) == 0:
        raise UserError(f"budget {text!r}: write a time such as 90s, 10m or 2h")
    return float(match[1]) * UNITS[match[2]]


def _pass(trainer: Trainer, data: StepData) -> None:
    figures = trainer.step(data, number=trainer.plan.steps, updates=1, rate=0.0)
    figures.tolist()  # waits for the device


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
