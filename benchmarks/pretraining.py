"""The main job beside the usual way: bert-mini on novels, thirty minutes each on the same CPU.

Contestants: unmask's fast recipe; transformers' BertForMaskedLM of the same size with its masking
collator over grouped texts of 128, in float32 with the settings of its example script run_mlm.py;
the same in bfloat16 with our rate, batch and schedule. All of them are scored on the same held-out
text (`[CLS]` full sentences `[SEP]`, one segment) with the same masks.
A contestant's clock is its number of steps times its step time. Step times are measured with the
contestants taking turns on a quiet machine, so that they are the same for everyone whatever the
machine does later, and a contestant may run with one thread beside other work. Each is given the
steps that fit the minutes by the measurement before it starts. While they are timed, the peers run
as they are; in the long run they take a short cut to the same loss and gradient, which is checked
at the start: tokens are scored only where they are masked, while transformers scores all of them.
In this order, each of them resumed where it was stopped:

    python benchmarks/pretraining.py calibrate
    python benchmarks/pretraining.py run transformers-float32
    python benchmarks/pretraining.py run transformers-bfloat16
    python benchmarks/pretraining.py run unmask
    python benchmarks/pretraining.py report

Written to benchmarks/results: pretraining.json and .svg.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertTokenizerFast,
    DataCollatorForLanguageModeling,
)

import unmask
from unmask import hardware
from unmask.contracts import Batch
from unmask.text.reading import expand, read
from unmask.text.template import BERT
from unmask.text.tokenizer import Tokenizer
from unmask.train import checkpoint
from unmask.train.corpus import Corpus
from unmask.train.loop import Trainer
from unmask.train.parallel import World
from unmask.train.pretraining import model_of, plan_of
from unmask.train.recipe import load_recipe
from unmask.train.schedule import linear
from unmask.train.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
NOVELS = ROOT.parent / "shared" / "data" / "novels"
RESULTS = ROOT / "benchmarks" / "results"
LENGTH = 128
MARKS = 20
HELDOUT = ["data.form='singles'", "watch.heldout_tokens=65536"]

# run_mlm.py with nothing but a model, a text and a length given
EXAMPLE = {"bfloat16": False, "batch": 8, "micro": 8, "warmup": 0.0}
EXAMPLE |= {"rate": 5e-5, "betas": (0.9, 0.999), "eps": 1e-8, "decay": 0.0}


def peer_settings(name: str) -> dict[str, Any]:
    """Give a peer's settings; in bfloat16 it has the rate, batch and schedule of our recipe."""
    if name == "transformers-float32":
        return EXAMPLE
    recipe = load_recipe("bert-mini")
    assert recipe.data.batch_tokens is not None
    return {
        "bfloat16": True,
        "batch": recipe.data.batch_tokens // LENGTH,
        "micro": 16,  # rows at a time: the fastest of 8, 16, 32 and 64, by accumulation
        "rate": recipe.optimizer.rate,
        "betas": recipe.optimizer.betas,
        "eps": recipe.optimizer.eps,
        "decay": recipe.optimizer.weight_decay,
        "warmup": recipe.schedule.warmup,
    }


class Peer:
    """transformers' usual masked language modelling; every step is a function of its number."""

    def __init__(self, name: str, work: Path) -> None:
        self.settings = peer_settings(name)
        self.rows = np.load(work / "rows.npy", mmap_mode="r")
        fast = BertTokenizerFast.from_pretrained(work / "tokenizer")
        torch.manual_seed(0)
        size = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4}
        self.model = BertForMaskedLM(
            BertConfig(vocab_size=len(fast), intermediate_size=1024, **size)
        )
        self.collate = DataCollatorForLanguageModeling(fast, mlm_probability=0.15)
        decay = [p for p in self.model.parameters() if p.ndim > 1]
        plain = [p for p in self.model.parameters() if p.ndim == 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decay, "weight_decay": self.settings["decay"]}, {"params": plain}],
            lr=self.settings["rate"],
            betas=self.settings["betas"],
            eps=self.settings["eps"],
            weight_decay=0.0,
            fused=True,
        )
        self.tokens = self.settings["batch"] * LENGTH

    def autocast(self) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=self.settings["bfloat16"])

    def batches(self, number: int) -> Iterator[dict[str, Tensor]]:
        size, micro = self.settings["batch"], self.settings["micro"]
        epoch, place = divmod(number, len(self.rows) // size)
        order = np.random.default_rng([0, epoch]).permutation(len(self.rows))
        picked = self.rows[order[place * size : (place + 1) * size]]
        for rows in np.split(picked, range(micro, size, micro)):
            yield self.collate([{"input_ids": row.tolist()} for row in rows])

    def loss(self, batch: dict[str, Tensor], short: bool) -> Tensor:
        if not short:
            return self.model(**batch).loss
        hidden = self.model.bert(batch["input_ids"])[0]
        chosen = batch["labels"] != -100
        scores = self.model.cls(hidden[chosen])
        return torch.nn.functional.cross_entropy(scores.float(), batch["labels"][chosen])

    def check(self) -> None:
        """See that the short cut gives the same loss and gradient."""
        batch = next(iter(self.batches(0)))
        found = []
        for short in (False, True):
            torch.manual_seed(0)
            loss = self.loss(batch, short)
            loss.backward()
            found.append([loss.detach(), *(p.grad.clone() for p in self.model.parameters())])
            self.optimizer.zero_grad()
        for a, b in zip(*found, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)

    def step(self, number: int, factor: float, short: bool = True) -> None:
        torch.manual_seed(number)
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings["rate"] * factor
        for batch in self.batches(number):
            with self.autocast():
                loss = self.loss(batch, short)
            (loss * len(batch["input_ids"]) / self.settings["batch"]).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()

    @torch.no_grad()
    def score(self, batches: Sequence[Batch]) -> float:
        self.model.eval()
        total, count = 0.0, 0
        for batch in batches:
            layout = batch.tokens.layout
            shape = (len(layout.first), layout.max_seqlen)
            inside = torch.zeros(shape, dtype=torch.long).view(-1)
            inside[layout.unpad_index] = 1
            ids = (batch.tokens.ids[layout.pad_index] * inside).view(shape)
            with self.autocast():
                logits = self.model(input_ids=ids, attention_mask=inside.view(shape)).logits
            chosen = logits.flatten(0, 1)[layout.unpad_index[batch.rows]].float()
            total += torch.nn.functional.cross_entropy(chosen, batch.labels, reduction="sum").item()
            count += len(batch.labels)
        self.model.train()
        return total / count


def set_up(work: Path) -> None:
    """Make the tokenizer, both stores, and the peers' grouped rows, each once."""
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "tokenizer").exists():
        unmask.train_tokenizer([str(NOVELS / "train")], out=work / "tokenizer")
    for part in ("train", "valid"):
        unmask.prepare([str(NOVELS / part)], tokenizer=work / "tokenizer", out=work / part)
    if not (work / "rows.npy").exists():
        tokenizer = Tokenizer.load(work / "tokenizer")
        joined: list[int] = []
        for file in expand([str(NOVELS / "train")]):
            lines = [piece.text for piece in read(file) if piece.text.strip()]
            for ids in tokenizer.encode_batch(lines):
                joined += [tokenizer.cls, *ids, tokenizer.sep]
        whole = len(joined) // LENGTH * LENGTH
        np.save(work / "rows.npy", np.array(joined[:whole], np.int32).reshape(-1, LENGTH))


def heldout(work: Path) -> tuple[list[Batch], float]:
    """Give the held-out batches that everyone is scored on, and the loss of unigram frequencies."""
    recipe = load_recipe("bert-mini", sets=HELDOUT)
    held = Corpus([str(work / "train")], str(work / "valid"), recipe, BERT, seed=0).heldout()
    return list(held.batches), held.unigram_loss


def our_trainer(work: Path) -> tuple[Trainer, Corpus]:
    """Put our contestant together as `unmask pretrain` does."""
    recipe = load_recipe("bert-mini")
    corpus = Corpus([str(work / "train")], str(work / "valid"), recipe, BERT, seed=0)
    settings = Settings(stores=corpus.sources, heldout="", seed=0, recipe=recipe)
    network = model_of(settings, corpus).network
    network.set_dropout(recipe.dropout)
    network.train()
    plan = plan_of(recipe, 0, work / "unmask", torch.bfloat16)
    return Trainer(plan, network, corpus.objective, World()), corpus


def calibrate(work: Path, rounds: int = 4, seconds: float = 5.0) -> None:
    """Time the steps of all contestants, taking turns; medians are added to calibration.json."""
    trainer, corpus = our_trainer(work)
    data = corpus.steps(0, {}, World())
    peers = {name: Peer(name, work) for name in ("transformers-float32", "transformers-bfloat16")}
    tokens: list[int] = []

    def ours() -> None:
        step = next(data)
        tokens.append(step.tokens)
        trainer.step(step, number=1, updates=1, rate=0.0)

    turns = {"unmask": ours} | {
        n: (lambda p=p: p.step(0, 0.0, short=False)) for n, p in peers.items()
    }
    times: dict[str, list[float]] = {name: [] for name in turns}
    for take in turns.values():
        take()
    for _ in range(rounds):
        for name, take in turns.items():
            begin = time.perf_counter()
            while time.perf_counter() - begin < seconds:
                start = time.perf_counter()
                take()
                times[name].append(time.perf_counter() - start)
    sizes = {"unmask": statistics.mean(tokens)} | {n: float(p.tokens) for n, p in peers.items()}
    entry = {
        name: {
            "step_seconds": statistics.median(values),
            "quartiles": statistics.quantiles(values, n=4),
            "steps": len(values),
            "tokens_per_second": sizes[name] / statistics.median(values),
        }
        for name, values in times.items()
    }
    path = work / "calibration.json"
    entries = json.loads(path.read_text()) if path.exists() else []
    path.write_text(json.dumps([*entries, entry], indent=1))
    print(json.dumps(entry, indent=1))


def step_seconds(work: Path, name: str) -> float:
    """Give a contestant's step time by the last calibration."""
    return json.loads((work / "calibration.json").read_text())[-1][name]["step_seconds"]


def run_peer(name: str, work: Path, minutes: float) -> None:
    """Train a peer, scoring it at even distances; goes on where it was stopped."""
    batches, _ = heldout(work)
    peer = Peer(name, work)
    folder = work / name
    folder.mkdir(exist_ok=True)
    curve, begin = [], 0
    if (folder / "state.pt").exists():
        state = torch.load(folder / "state.pt")
        peer.model.load_state_dict(state["model"])
        peer.optimizer.load_state_dict(state["optimizer"])
        begin, curve, steps = state["step"], state["curve"], state["steps"]
    else:
        steps = round(minutes * 60 / step_seconds(work, name))
    peer.check()
    marks = {math.ceil(steps * k / MARKS) for k in range(1, MARKS + 1)}
    for number in range(begin, steps):
        warmup = peer.settings["warmup"]
        peer.step(number, linear(number + 1, steps, warmup))
        if number + 1 in marks:
            curve.append({"step": number + 1, "loss": peer.score(batches)})
            print(name, f"{number + 1}/{steps}", curve[-1]["loss"], flush=True)
            state = {"model": peer.model.state_dict(), "optimizer": peer.optimizer.state_dict()}
            state |= {"step": number + 1, "curve": curve, "steps": steps}
            torch.save(state, folder / "new.pt")
            (folder / "new.pt").replace(folder / "state.pt")
    (folder / "curve.json").write_text(json.dumps(curve))


def run_ours(work: Path, minutes: float) -> None:
    """Run `unmask.pretrain`, then score its checkpoints."""
    steps = round(minutes * 60 / step_seconds(work, "unmask"))
    unmask.pretrain(
        [str(work / "train")],
        out=work / "unmask",
        recipe="bert-mini",
        steps=steps,
        heldout=str(work / "valid"),
        set=["watch.keep=1000", "watch.checkpoint_seconds=90", "watch.evaluations=6"],
        probe=["She gave him a [MASK] look.", "The [MASK] of the house was at the door."],
    )
    batches, _ = heldout(work)
    trainer, corpus = our_trainer(work)
    trainer.network.eval()
    curve = []
    for path in sorted((work / "unmask" / "checkpoints").glob("step-*")):
        state = checkpoint.load(path, trainer.network, trainer.updates)
        total = 0.0
        with torch.no_grad(), trainer.passes.autocast():
            for batch in batches:
                network = trainer.network
                total += corpus.objective.loss(network.encoder, network.head, batch)[
                    "mlm"
                ].total.item()
        loss = total / sum(batch.counts["mlm"] for batch in batches)
        curve.append({"step": state.step, "loss": loss})
        print("unmask", state.step, loss, flush=True)
    (work / "unmask" / "curve.json").write_text(json.dumps(curve))


def seconds_to(curve: Sequence[dict[str, float]], loss: float) -> float | None:
    """Tell when a curve first reaches a loss, by straight lines between its points."""
    before = None
    for point in curve:
        if point["loss"] <= loss:
            if before is None:
                return point["seconds"]
            part = (before["loss"] - loss) / (before["loss"] - point["loss"])
            return before["seconds"] + part * (point["seconds"] - before["seconds"])
        before = point
    return None


def report(work: Path) -> None:
    """Put the curves on one clock, tell when ours reaches the others' ends, and draw them."""
    entries = json.loads((work / "calibration.json").read_text())
    names = ["unmask", "transformers-bfloat16", "transformers-float32"]
    curves = {}
    for name in names:
        # The curve of each is drawn by the same measurement, the last one.
        step = entries[-1][name]["step_seconds"]
        points = json.loads((work / name / "curve.json").read_text())
        curves[name] = [{**point, "seconds": point["step"] * step} for point in points]
    _, unigram = heldout(work)
    summary: dict[str, Any] = {}
    for name in names[1:]:
        end = curves[name][-1]
        reached = seconds_to(curves["unmask"], end["loss"])
        summary[name] = {
            **end,
            "unmask_reaches_it_after": reached,
            "share_of_its_time": None if reached is None else reached / end["seconds"],
        }
    result = {
        "command": "python benchmarks/pretraining.py (calibrate, run, report: see its first lines)",
        "unigram_loss": unigram,
        "unmask_final_loss": curves["unmask"][-1]["loss"],
        "against": summary,
        "calibration": entries,
        "curves": curves,
    }
    (RESULTS / "pretraining.json").write_text(json.dumps(result, indent=1) + "\n")
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, ink in zip(names, ("#0b6e99", "#c2571a", "#7b8794"), strict=True):
        minutes = [point["seconds"] / 60 for point in curves[name]]
        axes.plot(minutes, [point["loss"] for point in curves[name]], label=name, color=ink)
    axes.axhline(unigram, color="#9fb3c8", linestyle="--", label="unigram frequencies")
    axes.set(xlabel="minutes on two cores", ylabel="held-out loss (nats per masked token)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(RESULTS / "pretraining.svg")
    print(json.dumps(summary, indent=1))


def main() -> None:
    """Do one stage of the study."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("stage", choices=["calibrate", "run", "report"])
    parser.add_argument("name", nargs="?", default="unmask")
    parser.add_argument("--work", type=Path, default=ROOT / ".bench")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    hardware.keep_memory()  # for all contestants alike
    set_up(options.work)
    if options.stage == "calibrate":
        calibrate(options.work)
    elif options.stage == "report":
        report(options.work)
    elif options.name == "unmask":
        run_ours(options.work, options.minutes)
    else:
        run_peer(options.name, options.work, options.minutes)


if __name__ == "__main__":
    main()
