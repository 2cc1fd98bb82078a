"""Our side of the fine-tuning study: `unmask.finetune`, and the steps that it takes."""

import time
from itertools import islice
from pathlib import Path
from typing import Any

import torch

import unmask
from finetuning_clock import STEADY, Steps, spread
from finetuning_data import BATCH, DECAY, FOLDER, WARMUP, Work, excerpt, start
from unmask.exchange import huggingface
from unmask.text.columns import Columns
from unmask.train.examples import Examples
from unmask.train.finetune import kind_of, records
from unmask.train.finetuning import BEHIND, Finetuning
from unmask.train.finetuning import Work as Learning
from unmask.train.metrics import rows
from unmask.train.parallel import World
from unmask.train.tuning import TuningSettings, load_tuning


def settings(work: Work) -> list[str]:
    """Give the settings of a work in our words: those that transformers has."""
    return [
        f"epochs={work.epochs}",
        f"batch={BATCH}",
        "precision='bfloat16'",
        f"reading.length={work.length}",
        f"reading.stride={work.stride}",
        f"optimizer.rate={work.rate}",
        f"optimizer.weight_decay={DECAY}",
        "optimizer.eps=1e-8",
        f"schedule.warmup={WARMUP}",
    ]


def run(work: Work, seed: int, limit: int | None = None) -> dict[str, Any]:
    """Fine-tune and score once; goes on where it was stopped.

    The scores are those of the last step, as transformers' are, not of the best evaluation.
    """
    begin = time.process_time()
    train, test = (path if limit is None else excerpt(path, limit) for path in work.files())
    folder = FOLDER / ("runs-smoke" if limit else "runs") / f"{work.name}-{seed}-{work.rate}"
    result = unmask.finetune(
        work.task,
        str(start()),
        train=str(train),
        eval=str(test),
        out=folder,
        set=settings(work),
        seed=seed,
    )
    kept = rows(folder / "metrics.jsonl")
    last = [row for row in kept if any(name.startswith(BEHIND) for name in row)][-1]
    return {
        "metrics": {
            name.removeprefix(BEHIND): value
            for name, value in last.items()
            if name.startswith(BEHIND)
        },
        "losses": losses(kept, work.epochs),
        "steps": result.outcomes[0].steps,
        "processor_seconds": time.process_time() - begin,
    }


def losses(kept: list[dict[str, Any]], epochs: int) -> list[float]:
    """Give the mean loss of each epoch."""
    found = torch.tensor([row["loss"] for row in kept])
    return [float(part.mean()) for part in found.tensor_split(epochs)]


def begun(work: Work) -> tuple[Finetuning, list[Any]]:
    """Make ready to train; also gives the units, which batches are made of, in the file's order."""
    kind, pretrained = kind_of(work.task), huggingface.read(str(start()))
    assert pretrained.tokenizer is not None
    tuning = load_tuning(work.length, {}, None, settings(work))
    learned = list(records(kind, str(work.files()[0]), Columns()))
    task = kind.learn(learned, tuning.reading, None)
    windows = task.windows(learned, pretrained.tokenizer)
    units = [unit for of_record in windows for unit in task.units(of_record)]
    wanted = TuningSettings(
        task=kind.name,
        model="",
        model_fingerprint="",
        train="",
        train_fingerprint="",
        eval="",
        eval_fingerprint="",
        seed=0,
        tuning=tuning,
    )
    learning = Learning(
        kind=kind,
        task=task,
        examples=lambda seed: Examples(
            task, units, batch=tuning.batch, micro_tokens=tuning.micro_tokens, seed=seed
        ),
        records=lambda: iter(learned),
        count=len(learned),
        judged=len(learned),
    )
    session = Finetuning(Path(), wanted, learning, pretrained, torch.device("cpu"), World())
    return session, units


def steps(work: Work, count: int) -> Steps:
    """Make ready to take steps of the first batches, for the clock."""
    session, units = begun(work)
    trainer, epoch = session.trainer(), session.examples.epoch
    drawn = spread(list(enumerate(islice(session.steps_of(0, {}), STEADY))), count)
    sizes = [min(BATCH, len(units) - (place % epoch) * BATCH) for place, _ in drawn]
    return Steps(
        take=lambda number: trainer.step(drawn[number][1], 1, 1, 0.0),
        tokens=[data.tokens for _, data in drawn],
        examples=sizes,
    )
