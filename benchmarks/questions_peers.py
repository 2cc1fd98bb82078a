"""Fine-tuning steps of transformers on questions: contestants of `questions.py`."""

import numpy as np
import torch

import operations
from encoding_data import INNER, LAYERS, WIDTH
from finetuning_clock import spread
from finetuning_data import BATCH, work_of
from finetuning_peer import SETTINGS, Run
from job import Answers, Job
from questions import FIRST, head


def transformers(setting: str, steps: int) -> Job:
    """What the example script repeats, as one of its settings has it."""
    run = Run(work_of("squad"), 0, SETTINGS[setting])
    batches = [run.batch(numbers) for numbers in spread(run.epoch()[:FIRST], steps)]
    sizes = [size for batch in batches for size in batch["attention_mask"].sum(1).tolist()]

    def train() -> None:
        for batch in batches:
            run.step(batch)

    def answers() -> Answers:
        weight, bias = head()
        run.model.qa_outputs.load_state_dict({"weight": weight, "bias": bias})
        run.model.eval()
        batch, found = run.batch(range(BATCH)), {}
        for name, narrow in (("float32", False), ("own", run.setting.bfloat16)):
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=narrow):
                found[name] = np.array(float(run.model(**batch).loss))
        run.model.train()
        return found

    return Job(
        round=train,
        tokens=sum(sizes),
        operations=3 * operations.encoder(sizes, LAYERS, WIDTH, INNER),
        answers=answers,
    )
