"""Encoding by unmask: a contestant of `encoding.py`."""

from collections.abc import Sequence

import numpy as np
import torch

from encoding_data import LENGTH, job, start, work_of
from job import Job
from unmask import Model
from unmask.data.windows import Reading
from unmask.model.prepacked import prepacked
from unmask.predict.predictor import predictions
from unmask.tasks.embed import Embedding
from unmask.tasks.regress import Measured


def encoder(work: str, precision: str) -> Job:
    """What `Model.embed` does, in a precision."""
    model = Model.from_pretrained(start())
    products = getattr(torch, precision)
    network = prepacked(model.network, products)
    reading = Reading(length=LENGTH)

    def run(task: Embedding, texts: Sequence[str]) -> list[np.ndarray]:
        records = [Measured(place=f"text {n}", texts=(text,)) for n, text in enumerate(texts, 1)]
        found = predictions(task, network, model.tokenizer, records, products)
        return [prediction.answer for _, prediction in found]

    def encode(texts: Sequence[str]) -> np.ndarray:
        return np.stack(run(Embedding(reading=reading, pooling="mean", normalize=True), texts))

    def read(texts: Sequence[str]) -> list[np.ndarray]:
        return run(Embedding(reading=reading, pooling=None), texts)

    return job(work_of(work), encode, read)
