"""What training is timed with: steps of sentence pairs from novels, and models to begin from."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import numpy as np
import torch

import operations
from filing import WORK, kept
from job import Answers
from novels import STORE, novels
from unmask.contracts import Batch
from unmask.exchange import huggingface
from unmask.model.spec import Spec
from unmask.text.template import BERT
from unmask.train.batches import StepData
from unmask.train.corpus import Corpus
from unmask.train.parallel import World
from unmask.train.pretraining import model_of
from unmask.train.recipe import Recipe
from unmask.train.settings import Settings

MODELS = WORK / "models"


def corpus(recipe: Recipe) -> Corpus:
    """Open the novels as a run of a recipe does."""
    return Corpus([str(STORE)], None, recipe, BERT, seed=0)


def steps(text: Corpus, count: int) -> list[StepData]:
    """Lay out the first steps of a run."""
    return list(islice(text.steps(0, {}, World()), count))


def model(name: str, recipe: Recipe, spread: float = 1.0) -> Path:
    """Give the folder of a recipe's model with random weights, once made.

    spread: by how much the embeddings are larger than usual, and so the scores of tokens further
    apart.
    """
    made_of = {"recipe": repr(recipe), "spread": spread, "store": novels().fingerprint}

    def make(folder: Path) -> None:
        text = corpus(recipe)
        wanted = Settings(stores=text.sources, heldout="", seed=0, recipe=recipe)
        made = model_of(wanted, text)
        with torch.no_grad():
            made.network.encoder.embeddings.piece.weight *= spread
        huggingface.write(made, folder)

    return kept(MODELS / name, made_of, make)


def slopes(network: torch.nn.Module, names: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Give the gradients of some weights; `{last}` in a name is the number of the last block."""
    weights = dict(network.named_parameters())
    last = max(int(part) for name in weights for part in name.split(".") if part.isdigit())
    found = {}
    for name, path in names.items():
        grad = weights[path.format(last=last)].grad
        assert grad is not None, "the gradient was made"
        found[name] = grad.float().flatten().numpy().copy()
    return found


def named(float32: Mapping[str, np.ndarray], own: Mapping[str, np.ndarray]) -> Answers:
    """Put answers in both precisions together."""
    kinds = {"float32": float32, "own": own}
    return {f"{kind} {name}": values for kind in kinds for name, values in kinds[kind].items()}


def tokens(taken: list[StepData]) -> int:
    """Count the real tokens of steps."""
    return sum(step.tokens for step in taken)


def work(taken: list[StepData], spec: Spec) -> float:
    """Count the operations that training on steps takes, for their real tokens alone."""
    total = 0.0
    for batch in (batch for step in taken for batch in step.batches):
        assert isinstance(batch, Batch)
        lengths = batch.tokens.layout.lengths
        total += operations.encoder(lengths, spec.layers, spec.width, spec.inner)
        total += operations.pretraining_head(
            len(batch.labels), len(lengths), spec.width, spec.pieces
        )
    return 3 * total
