"""The first answer from a cold start: `unmask fill` beside a pipeline of transformers.

    python benchmarks/cold.py

Each time a fresh process opens the same bert-mini and fills one mask: ours by the command line,
the peer by three lines of Python, which its documentation shows. Files are in the system's cache.
The five fillings must be the same, with the same scores. Written to benchmarks/results/cold.json.
"""

import json
import statistics
import sys
from typing import Any

import filing
import training_data
from novels import novels
from unmask.train.recipe import load_recipe
from watching import watch

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


def compare(outputs: dict[str, str]) -> None:
    """See that both say the same."""
    ours, theirs = (fillings(output) for output in outputs.values())
    assert [token for token, _ in ours] == [token for token, _ in theirs], f"{ours}, {theirs}"
    off = max(abs(a - b) for (_, a), (_, b) in zip(ours, theirs, strict=True))
    assert off < CLOSE, f"scores differ by {off}"


def measure(rounds: int, threads: int) -> dict[str, Any]:
    """Let both start in turns; the first time of each is not counted."""
    model = str(training_data.model("bert-mini-spread", load_recipe("bert-mini"), SPREAD))
    commands = {
        "unmask fill": ["-m", "unmask.cli", "fill", TEXT, "--model", model, "--json"],
        "transformers' pipeline": ["-c", PIPELINE, model, TEXT],
    }
    environment = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(threads)}
    found: dict[str, list[Any]] = {name: [] for name in commands}
    for _ in range(rounds + 1):
        for name, command in commands.items():
            found[name].append(watch([sys.executable, *command], environment))
    compare({name: every[0].output for name, every in found.items()})
    return {
        name: {
            "seconds": [one.seconds for one in every[1:]],
            "median": statistics.median(one.seconds for one in every[1:]),
            "memory": max(one.memory for one in every),
        }
        for name, every in found.items()
    }


def main() -> None:
    """Measure, show and file it."""
    options = filing.options(__doc__).parse_args()
    novels()
    found = measure(options.rounds, options.threads)
    filing.write("cold", {"contestants": found}, options.out)
    for name, one in found.items():
        low, high = min(one["seconds"]), max(one["seconds"])
        print(
            f"{name:24} {one['median']:.2f} s ({low:.2f} to {high:.2f})"
            f"  {one['memory'] / 2**20:,.0f} MiB"
        )


if __name__ == "__main__":
    main()
