"""Translation of Multi30k, English to German: ours beside torch.nn.Transformer, for the same time.

Both sides have the same sizes, vocabulary, examples of a step, loss, optimizer and schedule, and so
many minutes of training steps: each takes as many steps as its own pace allows, which is measured
first. Evaluations are not counted; on both sides they choose the best of several models by val.
The test file is translated with beam search by the same code, and scored by sacrebleu.

    python benchmarks/translation.py prepare
    python benchmarks/translation.py run unmask --minutes 60       (resumed where it was stopped)
    python benchmarks/translation.py run torch --minutes 60        (bfloat16 by autocast)
    python benchmarks/translation.py run torch-float32 --minutes 60
    python benchmarks/translation.py report

`run` wants the machine for itself: its minutes are of the clock; with --threads 1 two sides may run
at a time. `report` prints a table of what is there so far, writes it to
benchmarks/results/translation.json, and draws it in translation.svg. `--smoke` shows in a minute
that everything works.
"""

import json
import math
import shutil
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

import charts
import filing
import translation_data as data
import translation_peer as peer
import unmask
from unmask import hardware
from unmask.train.metrics import rows
from unmask.train.task_report import BEHIND

SIDES = ("unmask", "torch", "torch-float32")


def run(side: str, minutes: float, smoke: bool) -> dict[str, Any]:
    """Train a side and score it; goes on where it was stopped."""
    folder = data.folder(smoke) / f"{side}-{minutes:g}"
    folder.mkdir(parents=True, exist_ok=True)
    if side == "unmask":
        model, figures = ours(folder, minutes, smoke)
    else:
        model, figures = theirs(folder, minutes, smoke, narrow=side == "torch")
    tests = unmask.evaluate(
        "translation",
        model,
        data=data.files("test_2016_flickr", smoke),
        set=[f"num_beams={data.BEAMS}"],
        predictions=folder / "test.de",
    )
    return {
        "minutes": minutes,
        "threads": torch.get_num_threads(),
        **figures,
        "test": dict(tests),
        "signature": tests.signature,
        "test_seconds": tests.seconds,
    }


def ours(folder: Path, minutes: float, smoke: bool) -> tuple[unmask.Model, dict[str, Any]]:
    """Train our side: whole epochs, as many as fit into the time."""
    pairs = (data.SMOKE if smoke else data.PARTS)["train"]
    epoch = math.ceil(pairs / data.tuning().batch)
    pace = once(folder / "pace.json", lambda: our_pace(folder, smoke))
    epochs = max(1, int(minutes * 60 / pace / epoch))
    result = tuned(
        folder / "run",
        data.files("train", smoke),
        data.files("val", smoke),
        smoke,
        [f"epochs={epochs}", f"keeping.evaluations={data.EVALUATIONS / epochs}"],
    )
    kept = rows(folder / "run" / "metrics.jsonl")
    taken = list(seconds(kept))
    name = f"{BEHIND}bleu"
    judged = [at for at, row in enumerate(kept) if name in row]
    return result.model, {
        "pace": pace,
        "epochs": epochs,
        "steps": len(kept),
        "seconds": sum(taken),
        "sentences": data.tuning().batch * len(kept),
        "curve": [[at + 1, sum(taken[: at + 1]), kept[at][name]] for at in judged],
        "losses": losses([row["loss"] for row in kept]),
        "parameters": sum(p.numel() for p in result.model.network.parameters()),
    }


def tuned(folder: Path, train: str, val: str, smoke: bool, more: list[str]) -> Any:
    """Train a new model by `unmask finetune`."""
    return unmask.finetune(
        "translation",
        recipe=data.RECIPE,
        tokenizer=data.words(smoke),
        train=train,
        eval=val,
        out=folder,
        set=[*data.SETTINGS, *more],
    )


def our_pace(folder: Path, smoke: bool) -> float:
    """Measure the seconds of a step, by an excerpt of the examples."""
    shutil.rmtree(folder / "pace", ignore_errors=True)
    warm, count = peer.PACE // 4, (peer.PACE + peer.PACE // 4) * data.tuning().batch
    parts = {"train": count, "val": 2}
    made = {
        part: ",".join(excerpt(path, folder, lines) for path in data.files(part, smoke).split(","))
        for part, lines in parts.items()
    }
    tuned(folder / "pace", made["train"], made["val"], smoke, ["epochs=1"])
    kept = rows(folder / "pace" / "metrics.jsonl")
    warm = min(warm, len(kept) - 2)  # of a smoke test there are few
    return (kept[-1]["seconds"] - kept[warm]["seconds"]) / (len(kept) - 1 - warm)


def excerpt(path: str, folder: Path, lines: int) -> str:
    """Write the first lines of a file to another; gives its name."""
    out = folder / f"pace.{Path(path).name}"
    found = Path(path).read_text(encoding="utf-8").splitlines(keepends=True)
    out.write_text("".join(found[:lines]), encoding="utf-8")
    return str(out)


def seconds(kept: list[dict[str, Any]]) -> list[float]:
    """Give the seconds of each step; an evaluation before it counts as a usual step's time."""
    ends = [0.0, *(row["seconds"] for row in kept)]
    each = [after - before for before, after in pairwise(ends)]
    usual = sorted(each)[len(each) // 2]
    judged = [False, *(f"{BEHIND}bleu" in row for row in kept[:-1])]
    return [usual if late else own for own, late in zip(each, judged, strict=True)]


def theirs(
    folder: Path, minutes: float, smoke: bool, narrow: bool
) -> tuple[unmask.Model, dict[str, Any]]:
    """Train the peer: as many steps as fit into the time."""
    pace = once(folder / "pace.json", lambda: peer.Run(narrow, smoke).pace())
    job = peer.Run(narrow, smoke)
    steps = max(data.EVALUATIONS, int(minutes * 60 / pace))
    state = job.train(steps, folder / "kept.pt")
    return peer.borrowed(job), {
        "pace": pace,
        "epochs": steps / job.epoch,
        "steps": steps,
        "seconds": state["seconds"],
        "sentences": data.tuning().batch * steps,
        "curve": [list(point) for point in state["curve"]],
        "losses": losses(state["losses"]),
        "parameters": sum(p.numel() for p in job.model.parameters()),
    }


def losses(found: list[float]) -> list[float]:
    """Give the mean loss of each of twenty parts of a run."""
    parts = torch.tensor(found).tensor_split(min(20, len(found)))
    return [round(float(part.mean()), 4) for part in parts]


def once(path: Path, make: Callable[[], float]) -> float:
    """Read a number that is filed, or find it and file it."""
    if not path.exists():
        path.write_text(json.dumps(make()), encoding="utf-8")
    return float(json.loads(path.read_text(encoding="utf-8")))


def report(folder: Path, out: Path) -> None:
    """Print the table of the runs that are there, and file them."""
    paths = sorted(
        folder.glob("runs/*.json"), key=lambda path: SIDES.index(path.stem.rpartition("-")[0])
    )
    runs = {path.stem: json.loads(path.read_text()) for path in paths}
    if not runs:
        sys.exit("no runs yet; begin with: python benchmarks/translation.py run unmask")
    print("| side | threads | minutes | epochs | sentences/s | BLEU val | BLEU test | chrF test |")
    print("|---|---|---|---|---|---|---|---|")
    for name, found in runs.items():
        best = max(bleu for _, _, bleu in found["curve"])
        cells = [
            name.rpartition("-")[0],
            f"{found['threads']}",
            f"{found['seconds'] / 60:.1f}",
            f"{found['epochs']:.1f}",
            f"{found['sentences'] / found['seconds']:,.0f}",
            f"{best:.2f}",
            f"{found['test']['bleu']:.2f}",
            f"{found['test']['chrf']:.2f}",
        ]
        print("|", " | ".join(cells), "|")
    settings = {"recipe": data.RECIPE, "vocabulary": data.VOCABULARY, "settings": data.SETTINGS}
    content = {"command": "python benchmarks/translation.py", **settings, "beams": data.BEAMS}
    filing.write("translation", {**content, "runs": runs}, out)
    curves = {
        name.rpartition("-")[0]: [(spent / 60, bleu) for _, spent, bleu in found["curve"]]
        for name, found in runs.items()
    }
    title = "BLEU on the validation file, greedily"
    charts.curves({title: curves}, "minutes of training", out / "translation.svg", "linear")


def main() -> None:
    """Do one stage of the study."""
    parser = filing.options(__doc__)
    parser.add_argument("stage", choices=["prepare", "run", "report"])
    parser.add_argument("side", nargs="?", choices=SIDES, default="unmask")
    parser.add_argument("--minutes", type=float, default=60.0, help="of training steps")
    parser.add_argument("--smoke", action="store_true", help="a few examples, to see it work")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    hardware.keep_memory()  # for both sides alike
    data.prepare(options.smoke)
    folder = data.folder(options.smoke)
    if options.stage == "run":
        path = folder / "runs" / f"{options.side}-{options.minutes:g}.json"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            found = run(options.side, options.minutes, options.smoke)
            path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(path.read_text())
    elif options.stage == "report":
        report(folder, folder if options.smoke else options.out)


if __name__ == "__main__":
    main()
