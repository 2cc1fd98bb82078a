"""Contestants take turns at the same work, each in a process of its own.

A contestant is a function that makes everything ready and gives a `Job` (job.py). Forms that it may
take, as sizes of batches, are tried first, in a process that ends behind the trial. Then all are
started; what they answer is compared before anything is timed; then each does a round after the
other, several times, so that all meet the same machine. Who is not on turn sleeps. Processes of
their own give each its own allocator, threads and peak memory, which is that of the timed rounds.

Who fails, in whatever, or takes too long is left out from then on, and filed with its error.
"""

import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import job
from job import Answers

T = TypeVar("T")

PATIENCE = 900.0
"""Seconds in which a contestant has to do what it is asked for."""
ALLOCATOR = {
    "GLIBC_TUNABLES": "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=2147483647"
    ":glibc.malloc.top_pad=268435456",
    "THP_MEM_ALLOC_ENABLE": "1",
}
"""What `unmask.hardware.keep_memory` sets, for libraries that know nothing of it."""
THREADS = ("OMP_NUM_THREADS", "RAYON_NUM_THREADS")
"""Variables by which libraries are told how many threads to use."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contestant:
    """A job in a process of its own."""

    name: str
    job: str
    """The function that makes it, as `module:function`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What the function is called with."""
    axes: Sequence[Sequence[Mapping[str, Any]]] = ()
    """Further options, of which the fastest are chosen by a trial: along the first axis, then along
    the next."""
    as_it_comes: bool = False
    """Whether it keeps the allocator and the threads that it finds, instead of getting ours."""
    threads: int | None = None
    """Where they are not those of the others."""
    rounds: int | None = None
    """Most rounds that are timed, of one that takes long."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """What a contestant's rounds came to."""

    seconds: list[float]
    """Of each round."""
    processor_seconds: list[float]
    """That all threads of the process ran, of each round."""
    tokens: int
    operations: float
    memory: int
    """Peak of the process's resident bytes in these rounds."""
    facts: Mapping[str, Any]

    @property
    def median(self) -> float:
        """Seconds of the median round."""
        return statistics.median(self.seconds)

    @property
    def speed(self) -> float:
        """Operations a second, in the median round."""
        return self.operations / self.median

    def told(self, peak: float | None = None) -> dict[str, Any]:
        """Give everything as it is filed; peak: operations a second that count as all."""
        found: dict[str, Any] = {
            "tokens_per_second": self.tokens / self.median,
            "spread": [self.tokens / max(self.seconds), self.tokens / min(self.seconds)],
            "tokens": self.tokens,
            "rounds": len(self.seconds),
            "seconds": self.seconds,
            "processor_seconds": self.processor_seconds,
            "memory": self.memory,
            **self.facts,
        }
        return found if peak is None else found | {"share_of_peak": self.speed / peak}


@dataclass(frozen=True, slots=True)
class Turns:
    """What all contestants came to so far."""

    figures: dict[str, Figures]
    failed: dict[str, str]
    """The errors of those that were left out, by their names."""

    def told(self) -> dict[str, Any]:
        """Give everything as it is filed."""
        told = {name: figures.told() for name, figures in self.figures.items()}
        return {"contestants": told, "failed": self.failed}


class Failed(Exception):
    """A contestant cannot go on."""


class Process:
    """The conductor's end of a contestant."""

    def __init__(
        self,
        contestant: Contestant,
        threads: int,
        patience: float,
        told: Mapping[str, Any] | None = None,
    ) -> None:
        """Start it; it makes itself ready meanwhile. told: what its trial found."""
        self.name, self.patience, self.contestant = contestant.name, patience, contestant
        command = [sys.executable, job.__file__, contestant.job]
        self.process = subprocess.Popen(
            [*command, json.dumps(dict(contestant.options))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(contestant, threads),
        )
        self.told = {"chosen": told["options"], "trials": told["trials"]} if told else {}
        self.size: dict[str, Any] = {}
        self.times: list[list[float]] = []
        self.memory = 0

    def ask(self, request: str) -> Any:
        """Send a request, and wait for what it says. Raises Failed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(OSError):  # one that ended has said why, or nothing
            self.process.stdin.write(f"{request}\n".encode())
            self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], self.patience)[0]:
            raise Failed(f"{request.split()[0]}: took more than {self.patience:,.0f} s")
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"{request.split()[0]}: its process ended with {self.process.wait()}")
        said = json.loads(line)
        if isinstance(said, dict) and "error" in said:
            raise Failed(f"{request.split()[0]}: {said['error']}")
        return said

    def ready(self) -> None:
        """Wait until it is."""
        self.size = self.ask("size")

    def answers(self) -> Answers | None:
        """Let it answer."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "answers.npz"
            if not self.ask(f"answers {path}"):
                return None
            with np.load(path) as found:
                return dict(found)

    def take(self, number: int) -> None:
        """Do a round; the first one, 0, is not timed."""
        if number == 0:
            self.ask("round")
            self.ask("reset")
        elif number <= (self.contestant.rounds or number):
            self.times.append(self.ask("round"))
            self.memory = self.ask("memory")

    def figures(self) -> Figures:
        """Put together what its rounds came to so far."""
        return Figures(
            seconds=[wall for wall, _ in self.times],
            processor_seconds=[processor for _, processor in self.times],
            tokens=self.size["tokens"],
            operations=self.size["operations"],
            memory=self.memory,
            facts=self.size["facts"] | self.told,
        )

    def end(self) -> None:
        """Let it go; where it does not, end it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def environment(contestant: Contestant, threads: int) -> dict[str, str]:
    """Give the variables that a contestant is started with."""
    ours = {*THREADS, *ALLOCATOR}
    found = {name: value for name, value in os.environ.items() if name not in ours}
    found["HF_HUB_OFFLINE"] = "1"
    if contestant.as_it_comes:
        return found
    return found | ALLOCATOR | dict.fromkeys(THREADS, str(contestant.threads or threads))


class Lineup:
    """The contestants that are still there."""

    def __init__(self) -> None:
        self.processes: list[Process] = []
        self.failed: dict[str, str] = {}

    def start(self, contestants: Sequence[Contestant], threads: int, patience: float) -> None:
        """Let all choose their forms, each alone on the machine; then start them all."""
        chosen: dict[str, dict[str, Any]] = {}
        for one in contestants:
            try:
                chosen[one.name] = tried(one, threads, patience) if one.axes else {}
            except Failed as error:
                self.drop(one.name, str(error))
        for one in contestants:
            if (told := chosen.get(one.name)) is not None:
                form = replace(one, options={**one.options, **told.get("options", {})})
                self.processes.append(Process(form, threads, patience, told))

    def each(self, do: Callable[[Process], T]) -> dict[str, T]:
        """Let each do something in turn, and leave out who fails; gives what came of it."""
        found = {}
        for one in list(self.processes):
            try:
                found[one.name] = do(one)
            except Failed as error:
                self.drop(one.name, str(error))
        return found

    def drop(self, name: str, error: str) -> None:
        """Leave a contestant out, and end it at once."""
        print(f"{name} is left out: {error}", file=sys.stderr, flush=True)
        self.failed[name] = error
        for one in [one for one in self.processes if one.name == name]:
            self.processes.remove(one)
            one.process.kill()
            one.end()

    def end(self) -> None:
        """Let all go."""
        for one in self.processes:
            one.end()

    def turns(self) -> Turns:
        """Put together what all came to so far."""
        return Turns({one.name: one.figures() for one in self.processes}, dict(self.failed))


def take_turns(
    contestants: Sequence[Contestant],
    rounds: int,
    threads: int,
    compare: Callable[[Mapping[str, Answers]], Mapping[str, str]] | None = None,
    file: Callable[[Turns], object] | None = None,
    patience: float = PATIENCE,
) -> Turns:
    """Start all contestants, compare their answers, and time them in turns.

    rounds: that are timed; one more, the first, is not. compare: is given the answers by the
    contestants' names, and gives why some of them are left out. file: is given what there is after
    each timed round.
    """
    there = Lineup()
    try:
        there.start(contestants, threads, patience)
        there.each(lambda one: one.ready())
        if compare is not None:
            answers = there.each(lambda one: one.answers())
            given = {name: found for name, found in answers.items() if found is not None}
            for name, why in compare(given).items():
                there.drop(name, why)
        for number in range(rounds + 1):
            there.each(lambda one, number=number: one.take(number))  # type: ignore[misc]
            if number and file is not None:
                file(there.turns())
        return there.turns()
    finally:
        there.end()


def tried(contestant: Contestant, threads: int, patience: float) -> dict[str, Any]:
    """Let a contestant choose among its forms, alone on the machine. Raises Failed."""
    process = Process(contestant, threads, patience)
    try:
        found: dict[str, Any] = process.ask(f"choose {json.dumps(contestant.axes)}")
    finally:
        process.end()
    return found


def finish(failed: Mapping[str, str]) -> None:
    """End the program, with an error where contestants were left out."""
    if failed:
        told = "\n".join(f"  {name}: {error}" for name, error in failed.items())
        sys.exit(f"left out, so there are no figures of:\n{told}")
