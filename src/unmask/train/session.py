"""One start of a run, whatever it trains: set out or go on, keep watch, stop well or finish."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Generic, TypeVar

from unmask.errors import UserError
from unmask.train import checkpoint
from unmask.train.batches import StepData
from unmask.train.checkpoint import Damaged, State
from unmask.train.loop import Report, Run, Trainer
from unmask.train.metrics import Metrics, rows
from unmask.train.parallel import World
from unmask.train.progress import Watcher

Result = TypeVar("Result")


class Session(ABC, Generic[Result]):
    """A run from its folder to where it stops; what is trained, and how, is the subclass's."""

    def __init__(self, folder: Path, ranks: World, watcher: Watcher) -> None:
        self.folder, self.ranks, self.watcher = folder, ranks, watcher

    @abstractmethod
    def prepare(self) -> None:
        """Check and measure what a run needs before its first start."""

    @abstractmethod
    def trainer(self) -> Trainer:
        """Make what takes the steps."""

    @abstractmethod
    def keep_settings(self) -> None:
        """Write down what the run was started with."""

    @abstractmethod
    def steps_of(self, phase: int, state: Mapping[str, Any]) -> Iterator[StepData]:
        """Give this rank's data of a phase, from a state of its stream on."""

    @abstractmethod
    def evaluate(self, trainer: Trainer) -> Mapping[str, Any]:
        """Give figures of the model as it is."""

    @abstractmethod
    def observe(self, report: Report) -> Mapping[str, Any]:
        """Look at a step; gives columns to be added to its row."""

    def remember(self, kept: list[dict[str, Any]]) -> None:
        """Take up the rows of `metrics.jsonl` of earlier starts."""
        return

    def enough(self) -> bool:
        """Tell whether to end before the last step."""
        return False

    @abstractmethod
    def interrupted(self) -> None:
        """Write what is worth having of a run that was stopped, besides its checkpoint."""

    @abstractmethod
    def finish(self, state: State) -> Result:
        """Write the model, the report and the result of a run that is at its end."""

    def run(self, fresh: bool) -> Result:
        """Train to the end of the run. Raises KeyboardInterrupt when it was stopped."""
        state = State(step=0, skipped=0, phase=0, stream={}, tokens=0, seconds=0.0)
        if fresh:
            if any(checkpoint.newest(self.folder / "checkpoints")):
                raise UserError(
                    f"{self.folder} has checkpoints but no config.toml; give another --out"
                )
            self.prepare()
        trainer = self.trainer()
        if not fresh:
            state = self._resume(trainer, state)
        if self.ranks.leads:
            _make(self.folder)
            self.keep_settings()
        written = rows(self.folder / "metrics.jsonl")
        self.remember([row for row in written if row["step"] <= state.step])
        with self._metrics(state.step) as metrics, self.watcher.watch(state, trainer.plan.steps):
            run = Run(
                trainer, state, self.steps_of, self.evaluate, metrics, self.observe, self.enough
            )
            try:
                run.train()
            except KeyboardInterrupt:
                if self.ranks.leads:
                    self.interrupted()
                self.watcher.say(
                    f"Stopped and saved at step {run.state.step:,}."
                    " The same command goes on from there."
                )
                raise
        result = self.ranks.share(self.finish(run.state) if self.ranks.leads else None)
        assert result is not None, "rank 0 has a result"
        return result

    def _resume(self, trainer: Trainer, state: State) -> State:
        """Go on from the newest checkpoint that is whole; say which are not."""
        for path in checkpoint.newest(self.folder / "checkpoints"):
            try:
                state = checkpoint.load(path, trainer.network, trainer.updates)
            except Damaged as error:
                self.watcher.say(f"{path} is damaged ({error}); using the one before it")
                continue
            self.watcher.say(f"Going on from step {state.step:,} ({path.name})")
            return state
        self.watcher.say(f"No whole checkpoint in {self.folder}: starting from the first step")
        return state

    def _metrics(self, step: int) -> AbstractContextManager[Metrics | None]:
        return Metrics(self.folder, step) if self.ranks.leads else nullcontext()


def _make(folder: Path) -> None:
    """Make the run's folder; UserError when that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"--out {folder}: {error.strerror}; give a folder that can be made"
        ) from error
