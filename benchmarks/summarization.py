"""Summaries of SciTLDR in one sentence: taken out of the abstract, and written.

`extractive` scores each sentence of an abstract and takes the best one, `abstractive` writes with
two BERTs, warm-started; both learn from all-MiniLM-L6-v2 and the same 1,992 abstracts, and keep the
model of the best rougeL on the dev file. `copying` writes, too, but learns before how to copy: the
first sentence of 30,000 short texts, parts of reviews and of Wikipedia. The floor is `lead`, the
first sentence, and the ceiling of what can be taken out is `best`, the sentence that is most like
the summaries.

    python benchmarks/summarization.py run lead
    python benchmarks/summarization.py run best
    python benchmarks/summarization.py run extractive       (resumed where it was stopped)
    python benchmarks/summarization.py run abstractive
    python benchmarks/summarization.py run copying
    python benchmarks/summarization.py report

ROUGE is that of the test file, by rouge-score: of several summaries the one that is most alike
counts. `report` prints a table of what is there so far, and writes it to
benchmarks/results/summarization.json. `--smoke` shows in a minute that everything works.
"""

import gzip
import json
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch

import filing
import unmask
from filing import DATA, WORK
from finetuning_data import start
from unmask import hardware
from unmask.contracts import Prediction
from unmask.predict.records import kind_of, records
from unmask.scores.rouge import NAMES, Rouge, oracle
from unmask.tasks.summarize import Document
from unmask.text.columns import Columns
from unmask.text.sentences import splitter

SOURCE = DATA / "scitldr"
SMOKE = 16
"""Rows of each file where it is only to be seen that everything works."""
WRITTEN = (
    "generation.num_beams=1",
    "generation.max_new_tokens=64",
    "generation.no_repeat_ngram_size=3",
    "keeping.rows=200",
    "keeping.evaluations=0.5",
    "batch=16",
)
"""Settings of the one that writes; greedily while it learns."""
COPIED = (
    *WRITTEN[:3],
    "reading.length=128",
    "keeping.rows=100",
    "keeping.evaluations=6",
    "keeping.checkpoint_seconds=120",
    "optimizer.algorithm='muon'",  # AdamW stays where the source is not read
    "batch=32",
)
"""Settings of the one that learns to copy."""
COPIES = 30_000
"""Texts that it learns to copy of, at most."""
WORDS = 80
"""The most words of such a text."""
AFTERWARDS = (*WRITTEN, "keeping.evaluations=1", "optimizer.algorithm='muon'")
"""Settings with which it goes on."""
TAKEN = ("reading.sentences=1", "batch=16")
"""Settings of the one that chooses."""
OF_SIDES = {"extractive": TAKEN, "abstractive": WRITTEN, "copying": AFTERWARDS}
BEAMS = 4
"""Of the summaries of the test file."""


def file(part: str, smoke: bool) -> Path:
    """Name a file of the data set, of a smoke test one with its first rows."""
    whole = SOURCE / f"{part}.jsonl.gz"
    if not smoke:
        return whole
    path = WORK / "summarization" / "smoke" / f"{part}.jsonl"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(whole, "rt", encoding="utf-8") as lines:
            path.write_text("".join(next(lines) for _ in range(SMOKE)), encoding="utf-8")
    return path


def lead(record: Document) -> str:
    """Give the first sentence."""
    return record.divided()[0]


def best(record: Document) -> str:
    """Give the sentence that is most like the summaries."""
    sentences = record.divided()
    found = oracle(sentences, record.label, 1)
    return sentences[found[0]] if found else sentences[0]


def chosen(choose: Callable[[Document], str], smoke: bool) -> dict[str, Any]:
    """Score sentences that are chosen without learning."""
    metric = Rouge()
    kind = kind_of("extractive-summarization")
    for record in records(kind, str(file("test", smoke)), Columns()):
        metric.add(record, Prediction(results=[], answer=choose(record), confidence=1.0))
    return {"test": metric.result(), "signature": metric.signature()}


def short_texts() -> Iterator[list[str]]:
    """Give the sentences of short texts: the beginnings of reviews, and of articles' paragraphs."""
    split = splitter("punkt")
    for text in paragraphs():
        kept: list[str] = []
        for sentence in split(text):
            if sum(len(one.split()) for one in [*kept, sentence]) > WORDS:
                break
            kept.append(sentence)
        if len(kept) > 1 and len(kept[0].split()) > 4:
            yield kept


def paragraphs() -> Iterator[str]:
    """Give paragraphs of Wikipedia as SQuAD has them, each once, and reviews."""
    with gzip.open(DATA / "squad" / "train.json.gz", "rt", encoding="utf-8") as file:
        for article in json.load(file)["data"]:
            yield from (paragraph["context"] for paragraph in article["paragraphs"])
    with gzip.open(DATA / "imdb" / "unlabelled.jsonl.gz", "rt", encoding="utf-8") as lines:
        yield from (json.loads(line)["text"] for line in lines)


def copier(folder: Path, smoke: bool) -> Path:
    """Teach two BERTs to write the first sentence of what they read; gives the model's folder."""
    path = folder / "copying.jsonl"
    if not path.exists():
        most = 40 * SMOKE if smoke else COPIES
        rows = [
            json.dumps({"document": sentences, "summary": sentences[0]})
            for sentences in islice(short_texts(), most)
        ]
        random.Random(0).shuffle(rows)
        judged = folder / "copying-dev.jsonl"
        judged.write_text("\n".join(rows[:100]) + "\n", encoding="utf-8")
        path.write_text("\n".join(rows[100:]) + "\n", encoding="utf-8")
    unmask.finetune(
        "summarization",
        str(start()),
        train=str(path),
        eval=str(folder / "copying-dev.jsonl"),
        out=folder / "copier",
        epochs=1,
        rate=2e-3,
        set=list(COPIED),
    )
    return folder / "copier" / "model"


def learned(side: str, epochs: int, rate: float, folder: Path, smoke: bool) -> dict[str, Any]:
    """Fine-tune, and score the best model; goes on where it was stopped."""
    writes = side != "extractive"
    task = "summarization" if writes else "extractive-summarization"
    result = unmask.finetune(
        task,
        str(copier(folder, smoke) if side == "copying" else start()),
        train=str(file("train", smoke)),
        eval=str(file("dev", smoke)),
        out=folder / f"{side}-{epochs}-{rate:g}",
        epochs=epochs,
        rate=rate,
        set=list(OF_SIDES[side]),
    )
    tests = unmask.evaluate(
        task,
        result.model,
        data=str(file("test", smoke)),
        set=[f"num_beams={BEAMS}"] if writes else [],
        predictions=folder / f"{side}.txt",
    )
    return {
        "test": dict(tests),
        "dev": result.metrics,
        "signature": tests.signature,
        "epochs": epochs,
        "rate": rate,
        "seconds": result.to_json()["seconds"],
        "test_seconds": tests.seconds,
        "settings": OF_SIDES[side],
        "parameters": sum(p.numel() for p in result.model.network.parameters()),
    }


SIDES: Mapping[str, tuple[int, float]] = {
    "lead": (0, 0.0),
    "best": (0, 0.0),
    "extractive": (6, 2e-4),
    "abstractive": (12, 3e-4),
    "copying": (2, 1e-3),
}
"""Those that are compared, with the epochs that they learn and their rate."""


def run(side: str, epochs: int | None, rate: float | None, folder: Path, smoke: bool) -> None:
    """Score one side, and file it."""
    path = folder / "runs" / f"{side}.json"
    if not path.exists():
        usual = SIDES[side]
        if side in ("lead", "best"):
            found = chosen(lead if side == "lead" else best, smoke)
        else:
            found = learned(side, epochs or usual[0], rate or usual[1], folder, smoke)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(path.read_text())


def report(folder: Path, out: Path) -> None:
    """Print the table of what is there, and file it."""
    paths = {side: folder / "runs" / f"{side}.json" for side in SIDES}
    found = {side: json.loads(path.read_text()) for side, path in paths.items() if path.exists()}
    if not found:
        sys.exit("no runs yet; begin with: python benchmarks/summarization.py run lead")
    print("| | minutes |", " | ".join(NAMES), "|")
    print("|" + "---|" * (2 + len(NAMES)))
    for side, of in found.items():
        minutes = f"{of['seconds'] / 60:.1f}" if "seconds" in of else ""
        figures = [f"{100 * of['test'][name]:.2f}" for name in NAMES]
        print("|", " | ".join([side, minutes, *figures]), "|")
    filing.write("summarization", {"command": "python benchmarks/summarization.py", **found}, out)


def main() -> None:
    """Do one stage of the study."""
    parser = filing.options(__doc__)
    parser.add_argument("stage", choices=["run", "report"])
    parser.add_argument("side", nargs="?", choices=list(SIDES), default="lead")
    parser.add_argument("--epochs", type=int, help="of those that learn")
    parser.add_argument("--rate", type=float, help="peak learning rate of those that learn")
    parser.add_argument("--smoke", action="store_true", help=f"{SMOKE} rows, to see it work")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    hardware.keep_memory()
    folder = WORK / "summarization" / ("smoke" if options.smoke else "")
    if options.stage == "run":
        run(options.side, options.epochs, options.rate, folder, options.smoke)
    else:
        report(folder, folder if options.smoke else options.out)


if __name__ == "__main__":
    main()
