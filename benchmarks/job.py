"""Work that a contestant does in a process of its own, as `turns.py` asks for it line by line.

It imports nothing heavy, so that the memory of a contestant is that of what it needs itself.
"""

import ctypes
import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Answers = Mapping[str, np.ndarray]
Options = Mapping[str, Any]
TRIALS, LONG = 2, 1.0
"""Times that a form of the work is tried, after one that does not count, and seconds from which
once is enough; the fastest counts."""


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
    trial: Callable[[], object] | None = None
    """Does a part of a round, to choose among forms of the work; None: the whole."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What else is to be told of it."""


def threads() -> int:
    """How many threads this contestant is to use."""
    return int(os.environ.get("OMP_NUM_THREADS", len(os.sched_getaffinity(0))))


def main() -> None:
    """Be a contestant: make ready, then do what standard input asks for, line by line."""
    said = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes to standard error
    options = json.loads(sys.argv[2])

    def tell(content: object) -> None:
        print(json.dumps(content), file=said, flush=True)

    try:
        make, job = _maker(sys.argv[1]), None
        for line in sys.stdin:
            request, _, given = line.strip().partition(" ")
            if request == "choose":
                tell(choose(make, options, json.loads(given)))
                continue
            job = job or make(**options)
            tell(_done(job, request, given))
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        tell({"error": f"{type(error).__name__}: {error}".strip()[:500]})
        sys.exit(1)


def _maker(name: str) -> Callable[..., Job]:
    module, _, function = name.partition(":")
    found: Callable[..., Job] = getattr(importlib.import_module(module), function)
    return found


def choose(
    make: Callable[..., Job], options: Options, axes: Sequence[Sequence[Options]]
) -> dict[str, Any]:
    """Find the fastest form of a job, along one axis after the other.

    axes: of each the options that may be; none stands for those chosen so far. Gives the chosen
    options, and what each trial took, in seconds or as the error that it ended with; ValueError
    where all of an axis fail.
    """
    chosen: dict[str, Any] = {}
    trials: list[dict[str, Any]] = []
    for axis in axes:
        best: tuple[float, dict[str, Any]] | None = None
        for form in axis:
            tried = {**chosen, **form}
            trial = next((one for one in trials if one["options"] == tried), None)
            if trial is None:
                trial = {"options": tried, **_tried(make, {**options, **tried})}
                trials.append(trial)
            if "seconds" in trial and (best is None or trial["seconds"] < best[0]):
                best = trial["seconds"], tried
        if best is None:
            raise ValueError(f"no form works: {trials[-1]['error']}")
        chosen = best[1]
    return {"options": chosen, "trials": trials}


def _tried(make: Callable[..., Job], options: Options) -> dict[str, Any]:
    """Give the seconds that a job's trial takes, or the error that it ends with."""
    try:
        job = make(**options)
        run, times = job.trial or job.round, list[float]()
        run()
        while len(times) < TRIALS and sum(times) < LONG:
            begin = time.perf_counter()
            run()
            times.append(time.perf_counter() - begin)
    except (Exception, SystemExit) as error:
        return {"error": f"{type(error).__name__}: {error}"[:200]}
    return {"seconds": min(times)}


def _done(job: Job, request: str, path: str) -> Any:
    if request == "size":
        return {"tokens": job.tokens, "operations": job.operations, "facts": dict(job.facts)}
    if request == "answers":
        if job.answers is not None:
            np.savez(path, **job.answers())
        give_back()
        return job.answers is not None
    if request == "reset":
        # The peak begins anew at what is resident now.
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return True
    if request == "memory":
        # Not by getrusage: there, a process begins with the peak of the one that started it.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    assert request == "round", request
    begin, processor = time.perf_counter(), time.process_time()
    job.round()
    return time.perf_counter() - begin, time.process_time() - processor


def give_back() -> None:
    """Return what is free to the system: what comes next, or others, are not to pay for it."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc's
        trim(0)


if __name__ == "__main__":
    # The module is loaded once more under its own name, by whoever makes the job.
    main()
