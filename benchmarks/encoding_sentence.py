"""Encoding by sentence-transformers: a contestant of `encoding.py`."""

from collections.abc import Sequence

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from encoding_data import LENGTH, job, start, work_of
from job import Job


def encoder(work: str, precision: str, texts: int = 32) -> Job:
    """`SentenceTransformer.encode`, which sorts by length itself; texts: of a batch."""
    dtype = {"dtype": getattr(torch, precision)}
    model = SentenceTransformer(str(start()), device="cpu", model_kwargs=dtype)
    model.max_seq_length = LENGTH

    def encode(given: Sequence[str]) -> np.ndarray:
        found: np.ndarray = model.encode(
            list(given), batch_size=texts, normalize_embeddings=True, show_progress_bar=False
        )
        return found

    def read(given: Sequence[str]) -> list[np.ndarray]:
        found = model.encode(
            list(given),
            batch_size=texts,
            output_value="token_embeddings",
            show_progress_bar=False,
        )
        sizes = model.tokenizer(list(given), truncation=True, max_length=LENGTH)["input_ids"]
        return [one.float().numpy()[: len(ids)] for one, ids in zip(found, sizes, strict=True)]

    return job(work_of(work), encode, read)
