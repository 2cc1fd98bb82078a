"""How time and memory grow: with length, tokens of a batch, size of the corpus, and threads.

    python benchmarks/growth.py [--axes length tokens threads corpus] [--threads 2]

Of bert-mini, training steps and the encoder alone, on sentence pairs of novels; of a corpus of 1 MB
to 1 GB, the novels again and again, `unmask prepare` as a whole command, and the stream: planning
an epoch up to its first batch, and a thousand batches after it. The points of an axis take turns.
Every point of the corpus is filed in .bench/growth when it is there, and so is every other axis:
started again, what is filed with the same options is not measured again.

Written to benchmarks/results: growth.json and a chart for each axis, growth-AXIS.svg.
"""

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import charts
import filing
import growth_jobs
import training_data
from filing import DATA, WORK
from novels import TOKENIZER, novels
from turns import Contestant, finish, take_turns
from unmask.text.opening import blocks
from unmask.train.recipe import load_recipe
from watching import watch

FOLDER = WORK / "growth"
LENGTHS = (16, 32, 64, 128, 256, 512)
TOKENS = (512, 1024, 2048, 4096, 8192, 16384)
MEGABYTES = (1, 4, 16, 64, 256, 1024)
THREADS = (1, 2)
LENGTH, BATCH = 128, 4096
"""Where they are not what grows."""
ROUND = 16384
"""Tokens of a round, at least."""
WORKS = {"training": "growth_jobs:train", "encoding": "growth_jobs:read"}
Point = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where an axis is measured."""

    length: int
    """Tokens of a sequence, at most."""
    tokens: int
    """Tokens of a batch, of which a step of training takes two."""
    threads: int

    @property
    def name(self) -> str:
        """Tell it from others."""
        return f"{self.length} {self.tokens} {self.threads}"


def points(places: Sequence[Place], recipe: str, rounds: int) -> dict[str, list[Point]]:
    """Measure both works at several places, which take turns. Raises SystemExit where one fails."""
    model = str(training_data.model(recipe, load_recipe(recipe)))
    found = {}
    for work, job in WORKS.items():
        contestants = [
            Contestant(
                name=place.name,
                job=job,
                options={
                    "recipe": recipe,
                    "model": model,
                    "length": place.length,
                    "tokens": place.tokens,
                    "count": max(1, ROUND // (2 * place.tokens)),
                },
                threads=place.threads,
            )
            for place in places
        ]
        turns = take_turns(contestants, rounds, threads=1)
        finish(turns.failed)
        found[work] = [
            {"length": place.length, "batch": place.tokens, "threads": place.threads}
            | turns.figures[place.name].told()
            for place in places
        ]
    return found


def over_corpus(megabytes: Sequence[int], workers: int, folder: Path) -> dict[str, list[Point]]:
    """Prepare ever larger texts, and read the stores."""
    found = []
    for size in megabytes:
        options = {"megabytes": size, "workers": workers}
        make = partial(of_corpus, size, workers)
        found.append(filed(folder / f"corpus-{size}.json", options, make))
    return {work: [point[work] for point in found] for work in ("prepare", "stream")}


def of_corpus(megabytes: int, workers: int) -> dict[str, Point]:
    """Prepare a text of this size, and stream the store of it."""
    folder = FOLDER / "corpus"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    text, store = folder / "text.txt", folder / "store"
    write_text(text, megabytes * 1_000_000)
    command = [sys.executable, "-m", "unmask.cli", "prepare", text, "--tokenizer", TOKENIZER]
    made = watch([*map(str, command), "--out", str(store), "--workers", str(workers)])
    streamed = watch([sys.executable, growth_jobs.__file__, str(store)], {"OMP_NUM_THREADS": "1"})
    shutil.rmtree(folder)
    told = json.loads(streamed.output.splitlines()[-1])
    size = {"megabytes": megabytes}
    return {
        "prepare": size | {"seconds": made.seconds, "memory": made.memory, "own": made.own},
        "stream": size | told | {"memory": streamed.memory, "own": streamed.own},
    }


def write_text(path: Path, size: int) -> None:
    """Write the novels again and again, up to so many bytes, cut off at the end of a line."""
    sources = sorted((DATA / "novels" / "train").glob("*.txt.gz"))
    with path.open("wb") as file:
        while file.tell() < size:
            for source in sources:
                file.writelines(blocks(str(source)))
                file.write(b"\n\n")
                if file.tell() >= size:
                    break
    with path.open("r+b") as file:
        file.seek(max(0, size - 100_000))
        tail = file.read(100_000)
        file.truncate(max(0, size - 100_000) + tail.rindex(b"\n") + 1)


def filed(
    path: Path, options: Mapping[str, Any], make: Callable[[], Mapping[str, Any]]
) -> dict[str, Any]:
    """Read what is filed with these options, or make and file it."""
    found = filing.read(path.stem, path.parent)
    if found is None or found.get("options") != json.loads(json.dumps(options)):
        filing.write(path.stem, {**make(), "options": options}, path.parent)
        found = filing.read(path.stem, path.parent)
        assert found is not None, "it was just written"
    return found


def draw(axis: str, works: Mapping[str, Any], folder: Path) -> None:
    """Draw time and memory over what grows."""
    name, label = {
        "length": ("length", "longest sequence"),
        "tokens": ("batch", "tokens of a batch"),
        "threads": ("threads", "threads"),
        "corpus": ("megabytes", "MB of text"),
    }[axis]

    def curve(of: Callable[[Point], float], chosen: Sequence[str]) -> dict[str, Any]:
        return {work: [(point[name], of(point)) for point in works[work]] for work in chosen}

    every = [work for work in works if work not in ("options", "machine")]
    if axis == "corpus":
        panels = {
            "seconds": {
                "prepare": curve(lambda p: p["seconds"], ["prepare"])["prepare"],
                "first batch": curve(lambda p: p["first_batch"], ["stream"])["stream"],
                "1,000 batches": curve(lambda p: p["batches"], ["stream"])["stream"],
            },
            "MiB, pages of files aside": curve(lambda p: p["own"] / 2**20, every),
        }
    else:
        panels = {
            "microseconds a token": curve(lambda p: 1e6 / p["tokens_per_second"], every),
            "MiB": curve(lambda p: p["memory"] / 2**20, every),
        }
    charts.curves(panels, label, folder / f"growth-{axis}.svg")


def main() -> None:
    """Measure the axes that are asked for and not filed yet; file and draw all that are there."""
    parser = filing.options(__doc__)
    axes = ("length", "tokens", "threads", "corpus")
    parser.add_argument("--axes", nargs="+", choices=axes, default=list(axes))
    parser.add_argument("--recipe", default="bert-mini")
    parser.add_argument("--points", type=int, help="of each axis, the smallest, for a trial")
    parser.add_argument("--work", type=Path, default=FOLDER, help="folder of what is measured")
    options = parser.parse_args()
    store = novels()
    few, recipe, threads = slice(options.points), options.recipe, options.threads
    places = {
        "length": [Place(length, BATCH, threads) for length in LENGTHS[few]],
        "tokens": [Place(LENGTH, tokens, threads) for tokens in TOKENS[few]],
        "threads": [Place(LENGTH, BATCH, count) for count in THREADS],
    }
    content = filing.read("growth", options.out) or {}
    for axis in options.axes:
        if axis == "corpus":
            sizes = MEGABYTES[few]
            key: dict[str, Any] = {"megabytes": sizes, "workers": threads}
            make = partial(over_corpus, sizes, threads, options.work)
        else:
            key = {"recipe": recipe, "rounds": options.rounds, "store": store.fingerprint}
            key["places"] = [place.name for place in places[axis]]
            make = partial(points, places[axis], recipe, options.rounds)
        content[axis] = filed(options.work / f"{axis}.json", key, make)
        filing.write("growth", content, options.out)
        draw(axis, content[axis], options.out)
        print(axis, json.dumps(content[axis], indent=1), flush=True)


if __name__ == "__main__":
    main()
