"""What a config.json of DistilBERT may say, and what its fixed positions are."""

from typing import Any

import pytest
import torch
import transformers

from parity import STRUCTURES, own
from unmask.errors import UserError
from unmask.families.distilbert import FAMILY

CONFIG = FAMILY.config(STRUCTURES["distilbert"]["plain"])
SINUSOIDAL = STRUCTURES["distilbert"]["sinusoids"]


@pytest.mark.parametrize(
    "setting",
    [{"tie_word_embeddings": False}, {"activation": "silu"}, {"n_heads": 5}, {"dim": None}],
    ids=str,
)
def test_what_is_not_supported_is_refused_by_name(setting: dict[str, Any]) -> None:
    (name,) = setting
    with pytest.raises(UserError, match=name):
        FAMILY.spec({**CONFIG, **setting})


def test_fixed_positions_are_those_of_transformers_and_not_trained() -> None:
    network = FAMILY.network(SINUSOIDAL, "none")
    config = transformers.AutoConfig.for_model(**FAMILY.config(SINUSOIDAL))
    theirs = transformers.DistilBertModel(config).embeddings.position_embeddings.weight
    table = network.encoder.embeddings.position.weight
    assert torch.allclose(table, theirs, atol=1e-6)
    assert not torch.allclose(table.roll(1, 0), theirs, atol=0.1)
    assert "encoder.embeddings.position.weight" in network.state_dict()
    assert "encoder.embeddings.position.weight" not in dict(network.named_parameters())


def test_the_tokens_of_a_second_text_are_no_segment() -> None:
    network = own(FAMILY, "none", SINUSOIDAL).network
    assert network.encoder.embeddings.segment is None
