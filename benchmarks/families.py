"""Every family pre-trained by its own objective on real text, and each English one on SST-2.

A small model of each, for the same number of tokens: what it comes to on held-out text stands
beside what the frequencies of the tokens alone would give, and then its accuracy on SST-2 beside
that of random weights. English is film reviews; XLM reads captions in English, German and French
with their translations, FlauBERT the French ones. DistilBERT is taught by the study's own BERT.

    python benchmarks/families.py run          (resumed where it was stopped)
    python benchmarks/families.py report

Written to benchmarks/results/families.json; everything else to .bench/families.
"""

import argparse
import gzip
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

import unmask
from unmask.exchange import huggingface

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
WORK = ROOT / ".bench" / "families"
TEACHER = WORK / "runs" / "bert" / "model"
RESULTS = ROOT / "benchmarks" / "results" / "families.json"
LANGUAGES = ("en", "de", "fr")
VOCABULARY = 8_000
EXAMPLES = 20_000
"""Of SST-2's training file, evenly drawn."""
TASK = ("epochs=1", "optimizer.rate=3e-4", "dropout=0.1", "keeping.checkpoint_seconds=600")
"""Of the fine-tuning on SST-2, the same for all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """A family, and what it is pre-trained on."""

    name: str
    recipe: str
    kind: str
    """Of the tokenizer."""
    languages: Sequence[str] = ()
    """Of the captions; none: English reviews."""
    sets: Sequence[str] = ()
    """What differs from the recipe."""
    task: bool = True
    """Whether it is fine-tuned."""


BATCH = ("data.batch_tokens=4096", "watch.evaluations=5", "watch.heldout_tokens=65536")
SHORT = "data.phases=[{length=128, share=1.0}]"
"""Captions are short."""
WORKS = (
    Work(name="bert", recipe="bert-mini", kind="wordpiece"),
    Work(name="roberta", recipe="roberta-mini", kind="byte-bpe"),
    Work(name="albert", recipe="albert-mini", kind="unigram"),
    Work(name="xlnet", recipe="xlnet-mini", kind="unigram"),
    Work(
        name="xlnet with memory",
        recipe="xlnet-mini",
        kind="unigram",
        sets=("data.form='singles'", "data.memory=64"),
        task=False,
    ),
    Work(
        name="xlm mlm + tlm", recipe="xlm-mini", kind="moses-bpe", languages=LANGUAGES, sets=[SHORT]
    ),
    Work(
        name="xlm clm",
        recipe="xlm-mini",
        kind="moses-bpe",
        languages=LANGUAGES,
        sets=("objective='causal'", SHORT),
        task=False,
    ),
    Work(
        name="flaubert",
        recipe="flaubert-mini",
        kind="moses-bpe",
        languages=("fr",),
        sets=[SHORT],
        task=False,
    ),
    Work(name="gpt2", recipe="gpt2-mini", kind="byte-bpe"),
    Work(name="distilbert", recipe="", kind="wordpiece"),
)


def written(path: Path, make: Callable[[], str]) -> str:
    """Write a text once; gives its path."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(make(), encoding="utf-8")
    return str(path)


def reviews() -> str:
    """Take reviews that no test is made of: a row is a document."""
    rows = []
    for part in ("unlabelled", "train"):
        with gzip.open(DATA / "imdb" / f"{part}.jsonl.gz", "rt", encoding="utf-8") as lines:
            rows += [json.dumps({"text": json.loads(line)["text"]}) for line in islice(lines, 9000)]
    return "\n".join(rows) + "\n"


def examples() -> str:
    """Take examples of SST-2, under the file's header."""
    with gzip.open(DATA / "sst2" / "train.tsv.gz", "rt", encoding="utf-8") as lines:
        header, *found = lines
    return header + "".join(found[:: len(found) // EXAMPLES][:EXAMPLES])


def captions(language: str) -> str:
    """Take the captions of a language: a row is a document."""
    with gzip.open(DATA / "multi30k" / f"train.{language}.gz", "rt", encoding="utf-8") as lines:
        return "".join(json.dumps({"text": line.strip()}) + "\n" for line in lines)


def stores(work: Work) -> list[str]:
    """Make the tokenizer and the stores of a family, once."""
    folder = WORK / "-".join([work.kind, *work.languages])
    if not work.languages:
        texts = [written(WORK / "text" / "reviews.jsonl", reviews)]
    else:
        texts = [
            written(WORK / "text" / f"{name}.jsonl", lambda name=name: captions(name))
            for name in work.languages
        ]
    if not (folder / "tokenizer" / "tokenizer_config.json").exists():
        unmask.train_tokenizer(
            texts,
            out=folder / "tokenizer",
            kind=work.kind,
            vocab_size=VOCABULARY,
            **({"language": ",".join(work.languages)} if work.languages else {}),
        )
    plain: dict[str, Any] = {"tokenizer": folder / "tokenizer", "workers": 1}
    if not work.languages:
        unmask.prepare(texts, out=folder / "store", **plain)
        return [str(folder / "store")]
    made = []
    for name, text in zip(work.languages, texts, strict=True):
        unmask.prepare([text], out=folder / name, language=name, **plain)
        made.append(str(folder / name))
    for other in work.languages[1:] if "tlm" in work.name else ():
        sides = [str(DATA / "multi30k" / f"train.{name}.gz") for name in ("en", other)]
        out = folder / f"en-{other}"
        unmask.prepare(sides, out=out, language=f"en,{other}", **plain)
        made.append(str(out))
    return made


def pretrain(work: Work, steps: int) -> dict[str, Any]:
    """Pre-train a family's model, or distil it; gives what it came to."""
    out = WORK / "runs" / work.name.replace(" ", "-")
    options: dict[str, Any] = {"out": out, "steps": steps, "heldout": "0.01"}
    if work.name == "distilbert":
        result = unmask.distill(stores(work), teacher=str(TEACHER), set=list(BATCH), **options)
    else:
        sets = [*BATCH, *work.sets]
        result = unmask.pretrain(stores(work), recipe=work.recipe, set=sets, **options)
    return {**result.figures, "steps": result.steps, "tokens": result.tokens, "model": result.model}


def sst2(model: Path, name: str, language: str | None) -> float:
    """Fine-tune a model on SST-2; gives its accuracy on the dev set."""
    result = unmask.finetune(
        "text-classification",
        str(model),
        train=written(WORK / "text" / "sst2.tsv", examples),
        eval=str(DATA / "sst2/dev.tsv"),
        out=WORK / "tasks" / name.replace(" ", "-"),
        length=64,
        language=language,
        set=list(TASK),
    )
    return float(result.metrics["accuracy"])


def untrained(model: str, name: str) -> Path:
    """Write the same architecture with random weights."""
    folder = WORK / "random" / name.replace(" ", "-")
    if not (folder / "config.json").exists():
        found = huggingface.read(model)
        found.network.initialise(torch.Generator().manual_seed(0))
        huggingface.write(found, folder)
    return folder


def run(steps: int, chosen: Sequence[str]) -> None:
    """Do what is not there yet: first every pre-training, then every fine-tuning."""
    works = [work for work in WORKS if not chosen or work.name in chosen]
    for work in works:
        path = WORK / f"{work.name}.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(pretrain(work, steps)))
            print(work.name, path.read_text(), flush=True)
    for work in works:
        path = WORK / f"{work.name}-sst2.json"
        if not work.task or path.exists():
            continue
        found = json.loads((WORK / f"{work.name}.json").read_text())
        language = "en" if work.languages else None
        blank = untrained(found["model"], work.name)
        scores = {
            "pretrained": sst2(Path(found["model"]), work.name, language),
            "random": sst2(blank, f"{work.name} random", language),
        }
        path.write_text(json.dumps(scores))
        print(work.name, scores, flush=True)


def report() -> None:
    """Print the table of what is there, and write the figures behind it."""
    entries = {}
    print("| family | objective | held-out loss | unigram | right | pairs | SST-2 | random |")
    print("|---|---|---|---|---|---|---|---|")
    for work in WORKS:
        path, task = WORK / f"{work.name}.json", WORK / f"{work.name}-sst2.json"
        if not path.exists():
            continue
        found = json.loads(path.read_text())
        del found["model"]
        scores = json.loads(task.read_text()) if task.exists() else {}
        entries[work.name] = {"recipe": work.recipe, **found, "sst2": scores}
        aim = next(name for name in ("mlm", "clm", "plm") if f"heldout_{name}_loss" in found)
        pair = next((name for name in ("nsp", "sop") if f"{name}_accuracy" in found), None)
        cells = [work.name, aim.upper() + (f" + {pair.upper()}" if pair else "")]
        cells += [f"{found[f'heldout_{aim}_loss']:.2f}", f"{found['unigram_loss']:.2f}"]
        cells.append(f"{found[f'heldout_{aim}_accuracy']:.1%}")
        cells.append(f"{found[f'{pair}_accuracy']:.1%}" if pair else "")
        cells += [f"{scores[name]:.3f}" if scores else "" for name in ("pretrained", "random")]
        print("|", " | ".join(cells), "|")
    command = "python benchmarks/families.py run --threads 1, then report"
    content = {"command": command, "torch": torch.__version__, "works": entries}
    RESULTS.write_text(json.dumps(content, indent=1) + "\n")


def main() -> None:
    """Do one stage of the study."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("stage", choices=["run", "report"])
    parser.add_argument("--steps", type=int, default=300, help="of each pre-training")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--works", nargs="+", default=(), choices=[work.name for work in WORKS])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.stage == "run":
        run(options.steps, options.works)
    else:
        report()


if __name__ == "__main__":
    sys.exit(main())
