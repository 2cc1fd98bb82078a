"""Causal language modelling: labels are the tokens that follow, and the loss is the peer's."""

import numpy as np
import torch

from parity import STRUCTURES, copied, own, peer, strengthen
from unmask.data.packing import Packed
from unmask.families.gpt2 import FAMILY
from unmask.objectives.causal import OBJECTIVE

LENGTHS = [4, 1, 7]


def packed() -> Packed:
    ids = np.random.default_rng(0).integers(6, 40, sum(LENGTHS))
    return Packed(ids, np.cumsum([0, *LENGTHS]), None, None)


def test_every_token_but_the_first_of_a_sequence_is_predicted() -> None:
    batch, ids = OBJECTIVE().corrupt(packed(), np.random.default_rng(0)), packed().ids
    assert batch.rows.tolist() == [0, 1, 2, 5, 6, 7, 8, 9, 10]
    assert batch.labels.tolist() == ids[batch.rows.numpy() + 1].tolist()
    assert batch.tokens.ids.tolist() == ids.tolist()
    assert batch.counts == {"clm": 9}
    assert batch.pairs is None


def test_the_loss_is_that_of_transformers() -> None:
    spec = STRUCTURES["gpt2"]["plain"]
    model = peer(FAMILY, "causal-lm", spec)
    strengthen(model)
    made = own(FAMILY, "causal-lm", spec)
    copied(made, model)
    objective = OBJECTIVE()
    batch = objective.corrupt(packed(), np.random.default_rng(0))
    with torch.no_grad():
        found = objective.loss(made.network.encoder, made.network.head, batch)["clm"].total
        wanted = sum(
            model(input_ids=ids[None], labels=ids[None]).loss * (len(ids) - 1)
            for ids in torch.from_numpy(packed().ids).split(LENGTHS)
            if len(ids) > 1
        )
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-5)
