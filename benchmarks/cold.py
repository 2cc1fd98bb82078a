"""The first answer from a cold start: `unmask fill` beside a pipeline of transformers.

    python benchmarks/cold.py

Each time a fresh process opens the same bert-mini and fills one mask: ours by the command line,
the peer by three lines of Python, which its documentation shows. Files are in the system's cache.
The five fillings must be the same, with the same scores, which is seen before
the times that count. Written to benchmarks/results/cold.json.
"""

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import filing
import training_data
from novels import novels
from turns import finish
from unmask.train.recipe import load_recipe
from watching import Watched, take_turns, watch

TEXT = "The [MASK] of the house was at the door."
SPREAD = 10.0
"""By how much embeddings are larger than usual: scores that differ, as a trained model's do."""
PIPELINE = """
import json, sys
from transformers import pipeline
print(json.dumps(pipeline("fill-mask", model=sys.argv[1])(sys.argv[2])))
"""
CLOSE = 1e-4
"""By how much scores may differ."""


def fillings(output: str) -> list[tuple[int, float]]:
    """Read tokens and their scores from what a contestant wrote last."""
    found = json.loads(output.splitlines()[-1])
    results = found["results"] if isinstance(found, dict) else found
    return [(one["token"], one["score"]) for one in results]


def compare(outputs: Mapping[str, Watched]) -> dict[str, str]:
    """See who says something else than the first one."""
    every = {name: fillings(one.output) for name, one in outputs.items()}
    right = next(iter(every.values()), [])
    return {
        name: f"{found}, not {right}" for name, found in every.items() if not same(found, right)
    }


def same(found: list[tuple[int, float]], right: list[tuple[int, float]]) -> bool:
    tokens = [token for token, _ in found] == [token for token, _ in right]
    return tokens and all(abs(a - b) < CLOSE for (_, a), (_, b) in zip(found, right, strict=True))


def summary(every: Sequence[Watched]) -> dict[str, Any]:
    """Give the median of a contestant's turns, and their spread."""
    seconds = [one.seconds for one in every]
    return {
        "median": statistics.median(seconds),
        "rounds": len(every),
        "seconds": seconds,
        "memory": max(one.memory for one in every),
    }


def main() -> None:
    """Measure, show and file it; the first time of each does not count."""
    options = filing.options(__doc__).parse_args()
    novels()
    model = str(training_data.model("bert-mini-spread", load_recipe("bert-mini"), SPREAD))
    commands = {
        "unmask fill": ["-m", "unmask.cli", "fill", TEXT, "--model", model, "--json"],
        "transformers' pipeline": ["-c", PIPELINE, model, TEXT],
    }
    environment = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(options.threads)}
    content: dict[str, Any] = {}

    def file(found: Mapping[str, list[Watched]], failed: Mapping[str, str]) -> None:
        content["contestants"] = {name: summary(every) for name, every in found.items()}
        filing.write("cold", content | {"failed": failed}, options.out)

    starts = {
        name: partial(watch, [sys.executable, *command], environment)
        for name, command in commands.items()
    }
    failed = take_turns(starts, options.rounds, compare, file)
    for name, one in content["contestants"].items():
        low, high = min(one["seconds"]), max(one["seconds"])
        print(
            f"{name:24} {one['median']:.2f} s ({low:.2f} to {high:.2f})"
            f"  {one['memory'] / 2**20:,.0f} MiB"
        )
    finish(failed)


if __name__ == "__main__":
    main()
