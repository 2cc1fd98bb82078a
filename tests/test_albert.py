"""How ALBERT's layers share blocks, and what its config.json may say."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from parity import STRUCTURES, TOLERANCE, copied, difference, own, peer
from unmask.errors import UserError
from unmask.families.albert import FAMILY
from unmask.model.spec import Spec

SPECS = STRUCTURES["albert"]
CONFIG = FAMILY.config(SPECS["one block"])


@pytest.mark.parametrize(
    ("layers", "groups", "inner", "schedule"),
    [
        (4, 1, 1, (0, 0, 0, 0)),
        (4, 2, 1, (0, 0, 1, 1)),
        (5, 2, 1, (0, 0, 0, 1, 1)),
        (3, 3, 1, (0, 1, 2)),
        (2, 1, 2, (0, 1, 0, 1)),
        (3, 2, 2, (0, 1, 0, 1, 2, 3)),
    ],
)
def test_layers_share_blocks(
    layers: int, groups: int, inner: int, schedule: tuple[int, ...]
) -> None:
    shared = {
        "num_hidden_layers": layers,
        "num_hidden_groups": groups,
        "inner_group_num": inner,
    }
    spec = FAMILY.spec(CONFIG | shared)
    assert spec.schedule == schedule
    assert (spec.layers, spec.blocks) == (len(schedule), groups * inner)
    assert FAMILY.config(spec).items() >= shared.items()
    numbers = [(b // inner, b % inner) for b in range(groups * inner)]
    assert FAMILY.blocks(spec) == [f"{group}.albert_layers.{n}" for group, n in numbers]
    network = FAMILY.network(spec, "none")
    assert len(network.encoder.blocks) == spec.blocks


@pytest.mark.parametrize(
    "setting",
    [
        {"num_hidden_groups": 0},
        {"num_hidden_groups": 4},
        {"inner_group_num": 0},
        {"inner_group_num": 2, "num_hidden_groups": 3},
        {"position_embedding_type": "relative_key"},
        {"tie_word_embeddings": False},
        {"embedding_size": None},
    ],
    ids=str,
)
def test_what_is_not_supported_is_refused_by_name(setting: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(setting))):
        FAMILY.spec({**CONFIG, **setting})


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("one block", (0, 0)), ("groups", (0, 1, 1)), ("two a layer", (0, 0, 1, 1))],
)
def test_another_order_of_the_blocks_is_seen(name: str, wrong: tuple[int, ...]) -> None:
    spec = SPECS[name]
    model, right = peer(FAMILY, "masked-lm", spec), own(FAMILY, "masked-lm", spec)
    copied(right, model)
    other = own(FAMILY, "masked-lm", replace(spec, schedule=wrong, layers=len(wrong)))
    other.network.load_state_dict(right.network.state_dict())
    assert difference(right, model) < TOLERANCE
    assert difference(other, model) > 100 * TOLERANCE


def test_has_the_parameters_of_the_paper() -> None:
    # Table 1: ALBERT-base has 12 million.
    spec = Spec(
        width=768,
        embedding_width=128,
        heads=12,
        inner=3072,
        layers=12,
        schedule=(0,) * 12,
        pieces=30_000,
        positions=512,
        segments=2,
    )
    with torch.device("meta"):
        network = FAMILY.network(spec, "pooler")
    assert sum(p.numel() for p in network.parameters()) == 11_683_584
