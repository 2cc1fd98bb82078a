"""What holds for every objective: chance by the generator alone, honest counts, gradients."""

from typing import Any

import numpy as np
import pytest
import torch

import stores
from parity import STRUCTURES, own
from unmask.contracts import Objective
from unmask.data.masking import Masking, Vocabulary
from unmask.data.packing import Packed
from unmask.exchange import huggingface
from unmask.objectives.distillation import Distillation
from unmask.objectives.masked import MaskedObjective
from unmask.registry import discover
from unmask.text.template import BERT, XLNET

OBJECTIVES = discover("unmask.objectives", "OBJECTIVE")
FAMILIES = {"causal": "gpt2", "permutation": "xlnet"}
"""One that can do it; for the others BERT."""
HEADS = {"masked": "pretraining", "distillation": "masked-lm"}
LENGTHS = [9, 12, 7]


def made(name: str) -> tuple[Objective, Any]:
    """Make an objective, and a network for it."""
    template = XLNET if name == "permutation" else BERT
    vocabulary = stores.vocabulary(40, template=template)
    family = huggingface.families()[FAMILIES.get(name, "bert")]
    spec = next(iter(STRUCTURES[family.name].values()))
    network = own(family, HEADS.get(name, f"{name}-lm"), spec).network
    fields: dict[str, Any] = {}
    if name == "masked":
        fields = {"vocabulary": vocabulary, "pair": "nsp"}
    elif name == "permutation":
        fields = {"vocabulary": vocabulary, "masking": Masking(longest=5)}
    elif name == "distillation":
        teacher = own(family, "masked-lm", spec).network
        masked = MaskedObjective(vocabulary=vocabulary)
        fields = {"masked": masked, "teacher": teacher, "settings": Distillation()}
    return OBJECTIVES[name](**fields), network


def packed() -> Packed:
    ids = np.random.default_rng(0).integers(stores.FIRST, 40, sum(LENGTHS))
    bounds = np.cumsum([0, *LENGTHS])
    ids[bounds[:-1]], ids[bounds[1:] - 1] = 2, 3
    return Packed(ids, bounds, np.zeros_like(ids), np.array([0, 1, 0]))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_batches_depend_on_the_generator_alone(name: str) -> None:
    objective, _ = made(name)
    one, again, other = (objective.corrupt(packed(), np.random.default_rng(n)) for n in (1, 1, 2))
    assert torch.equal(one.rows, again.rows)
    assert torch.equal(one.tokens.ids, again.tokens.ids)
    if name != "causal":  # where nothing is left to chance
        assert not torch.equal(one.rows, other.rows)
    assert (one.labels[one.labels >= 0] < 40).all()
    assert one.counts[objective.tokens] == (one.labels >= 0).sum()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_are_finite_counted_and_reach_every_tensor(name: str) -> None:
    objective, network = made(name)
    network.train()
    batch = objective.corrupt(packed(), np.random.default_rng(0)).to(torch.device("cpu"))
    parts = objective.loss(network.encoder, network.head, batch)
    assert parts.keys() == batch.counts.keys()
    assert objective.pair is None or objective.pair in parts
    for key, part in parts.items():
        assert part.total.isfinite()
        assert part.correct is None or 0 <= part.correct <= batch.counts[key]
    torch.stack([part.total for part in parts.values()]).sum().backward()
    for tensor, parameter in network.named_parameters():
        assert parameter.grad is not None, tensor
        assert parameter.grad.isfinite().all(), tensor


@pytest.mark.parametrize("name", OBJECTIVES)
def test_fillers_count_for_nothing(name: str) -> None:
    objective, network = made(name)
    batch = objective.corrupt(packed(), np.random.default_rng(0))
    before = objective.loss(network.encoder, network.head, batch)[objective.tokens]
    batch.labels[0] = -1
    after = objective.loss(network.encoder, network.head, batch)[objective.tokens]
    assert after.total < before.total


def test_vocabularies_without_a_mask_cannot_be_masked() -> None:
    from_gpt2 = Vocabulary(
        ids={}, template=BERT, special=np.arange(5), continues=np.zeros(40, dtype=bool)
    )
    with pytest.raises(Exception, match="mask"):
        MaskedObjective(vocabulary=from_gpt2).corrupt(packed(), np.random.default_rng(0))
