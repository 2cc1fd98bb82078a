"""Contestants take turns at the same work, each in a process of its own.

A contestant is a function that makes everything ready and gives a `Job`. All of them are started
first; what they answer is compared before anything is timed; then each does a round after the
other, several times, so that all meet the same machine. Who is not on turn sleeps. Processes of
their own give each its own allocator, threads and peak memory.
"""

import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unmask import hardware

Answers = Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """Work that a contestant is ready to do."""

    round: Callable[[], object]
    """Does it once."""
    tokens: int
    """Real tokens of a round: filling does not count."""
    operations: float = 0.0
    """Floating-point operations of a round's matrix products, for the real tokens alone."""
    answers: Callable[[], Answers] | None = None
    """Gives what the others must give as well."""
    facts: Mapping[str, float] = field(default_factory=dict)
    """What else is to be told of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contestant:
    """A job in a process of its own."""

    name: str
    job: str
    """The function that makes it, as `module:function`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What the function is called with."""
    as_it_comes: bool = False
    """Whether it keeps the allocator and the threads that it finds, instead of getting ours."""


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
    """Peak of the process's resident bytes."""
    facts: Mapping[str, float]

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
            "seconds": self.seconds,
            "processor_seconds": self.processor_seconds,
            "memory": self.memory,
            **self.facts,
        }
        return found if peak is None else found | {"share_of_peak": self.speed / peak}


class Process:
    """The conductor's end of a contestant."""

    def __init__(self, contestant: Contestant, threads: int) -> None:
        """Start it; it makes itself ready meanwhile."""
        self.name = contestant.name
        given = "0" if contestant.as_it_comes else str(threads)
        options = json.dumps(dict(contestant.options))
        command = [sys.executable, __file__, contestant.job, options, given]
        limit = {} if contestant.as_it_comes else {"OMP_NUM_THREADS": given}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1", **limit},
        )

    def ask(self, request: str) -> Any:
        """Send a request, and wait for what it says."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(request + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name}: its process ended with {self.process.wait()}")
        return json.loads(line)

    def answers(self) -> Answers | None:
        """Let it answer."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "answers.npz"
            if not self.ask(f"answers {path}"):
                return None
            with np.load(path) as found:
                return dict(found)

    def end(self) -> None:
        """Let it go."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def take_turns(
    contestants: Sequence[Contestant],
    rounds: int,
    threads: int,
    compare: Callable[[Mapping[str, Answers]], None] | None = None,
) -> dict[str, Figures]:
    """Start all contestants, compare their answers, and time them in turns.

    rounds: that are timed; one more, the first, is not. compare: is given the answers by the
    contestants' names, and raises where they differ.
    """
    processes = [Process(contestant, threads) for contestant in contestants]
    try:
        sizes = {one.name: one.ask("size") for one in processes}
        if compare is not None:
            answers = {one.name: one.answers() for one in processes}
            compare({name: found for name, found in answers.items() if found is not None})
        times: dict[str, list[list[float]]] = {one.name: [] for one in processes}
        for number in range(rounds + 1):
            for one in processes:
                taken = one.ask("round")
                if number:
                    times[one.name].append(taken)
        return {
            one.name: Figures(
                seconds=[wall for wall, _ in times[one.name]],
                processor_seconds=[processor for _, processor in times[one.name]],
                tokens=sizes[one.name]["tokens"],
                operations=sizes[one.name]["operations"],
                memory=one.ask("memory"),
                facts=sizes[one.name]["facts"],
            )
            for one in processes
        }
    finally:
        for one in processes:
            one.end()


def contest() -> None:
    """Be a contestant: make ready, then do what standard input asks for, line by line."""
    said = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes to standard error
    if threads := int(sys.argv[3]):
        torch.set_num_threads(threads)
        hardware.keep_memory()
    module, _, name = sys.argv[1].partition(":")
    job: Job = getattr(importlib.import_module(module), name)(**json.loads(sys.argv[2]))
    for line in sys.stdin:
        request, _, path = line.strip().partition(" ")
        print(json.dumps(_done(job, request, path)), file=said, flush=True)


def _done(job: Job, request: str, path: str) -> Any:
    if request == "size":
        return {"tokens": job.tokens, "operations": job.operations, "facts": dict(job.facts)}
    if request == "answers":
        if job.answers is not None:
            np.savez(path, **job.answers())
        return job.answers is not None
    if request == "memory":
        # Not by getrusage: there, a process begins with the peak of the one that started it.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    begin, processor = time.perf_counter(), time.process_time()
    job.round()
    return time.perf_counter() - begin, time.process_time() - processor


if __name__ == "__main__":
    # The module is loaded once more under its own name, by whoever makes the job.
    contest()
