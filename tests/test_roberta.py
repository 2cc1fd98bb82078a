"""What a config.json of RoBERTa and its kin may say, and where its positions begin."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from parity import STRUCTURES, TOLERANCE, copied, difference, own, peer
from unmask.errors import UserError
from unmask.exchange.huggingface import Pretrained
from unmask.families import camembert, roberta, xlm_roberta

SPEC = STRUCTURES["roberta"]["plain"]
CONFIG = roberta.FAMILY.config(SPEC)


@pytest.mark.parametrize(
    "setting",
    [
        {"position_embedding_type": "relative_key"},
        {"is_decoder": True},
        {"add_cross_attention": True},
        {"tie_word_embeddings": False},
    ],
    ids=str,
)
def test_what_is_not_supported_is_refused_by_name(setting: dict[str, Any]) -> None:
    (name,) = setting
    with pytest.raises(UserError, match=name):
        roberta.FAMILY.spec({**CONFIG, **setting})


def test_positions_begin_behind_the_pad_token() -> None:
    published = {**CONFIG, "max_position_embeddings": 514, "pad_token_id": 1}
    spec = roberta.FAMILY.spec(published)
    assert (spec.positions, spec.position_start) == (512, 2)
    del published["pad_token_id"]
    assert roberta.FAMILY.spec(published) == spec
    assert roberta.FAMILY.spec({**published, "pad_token_id": 0}).position_start == 1


@pytest.mark.parametrize("start", [0, 1])
def test_positions_that_begin_elsewhere_are_seen(start: int) -> None:
    model, right = peer(roberta.FAMILY, "masked-lm", SPEC), own(roberta.FAMILY, "masked-lm", SPEC)
    copied(right, model)
    wrong = own(
        roberta.FAMILY,
        "masked-lm",
        replace(SPEC, position_start=start, positions=SPEC.positions + 2 - start),
    )
    wrong.network.load_state_dict(right.network.state_dict())
    assert difference(right, model) < TOLERANCE
    assert difference(wrong, model) > 100 * TOLERANCE


def test_kin_differ_by_name_only() -> None:
    families = roberta.FAMILY, camembert.FAMILY, xlm_roberta.FAMILY
    assert [one.config(SPEC)["model_type"] for one in families] == [
        "roberta",
        "camembert",
        "xlm-roberta",
    ]
    assert [one.heads["none"].architecture for one in families] == [
        "RobertaModel",
        "CamembertModel",
        "XLMRobertaModel",
    ]
    assert families[1].spec(CONFIG) == families[2].spec(CONFIG) == SPEC


def test_the_pooler_of_an_encoder_is_not_that_of_the_classifier() -> None:
    start: Pretrained = own(roberta.FAMILY, "pooler", SPEC)
    generator = torch.Generator().manual_seed(0)
    adapted, drawn = start.with_head("text-classification", ("no", "yes"), {}, generator)
    assert drawn == [
        f"classifier.{name}.{kind}" for name in ("dense", "out_proj") for kind in ("weight", "bias")
    ]
    _, drawn = start.with_head("multiple-choice", (), {}, generator)
    assert drawn == ["classifier.weight", "classifier.bias"]
    other, drawn = adapted.with_head("text-classification", ("a", "b", "c"), {}, generator)
    assert drawn == ["classifier.out_proj.weight", "classifier.out_proj.bias"]
    pooler, before = other.network.head.pooler, adapted.network.head.pooler
    assert pooler is not None
    assert before is not None
    assert torch.equal(pooler.dense.weight, before.dense.weight)
