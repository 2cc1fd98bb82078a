"""Fine-tuning steps of transformers on questions: contestants of `questions.py`."""

import numpy as np
import torch

import operations
from encoding_data import INNER, LAYERS, WIDTH
from finetuning_clock import spread
from finetuning_data import work_of
from finetuning_peer import SETTINGS, Feature, Run
from job import Answers, Job
from questions import COMPARED, FIRST, head


def bare(feature: Feature) -> Feature:
    """Take away what a window was filled up with."""
    size = sum(feature["attention_mask"])
    return {
        name: value[:size] if isinstance(value, list) else value for name, value in feature.items()
    }


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
        found = {}
        # One by one: filled places, which ours has none of, would take part in the softmax.
        parts = [run.kind.collate([bare(feature)]) for feature in run.features[:COMPARED]]
        for name, narrow in (("float32", False), ("own", run.setting.bfloat16)):
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=narrow):
                losses = [float(run.model(**part).loss) for part in parts]
            found[name] = np.array(sum(losses) / len(losses))
        run.model.train()
        return found

    return Job(
        round=train,
        tokens=sum(sizes),
        operations=3 * operations.encoder(sizes, LAYERS, WIDTH, INNER),
        answers=answers,
    )
