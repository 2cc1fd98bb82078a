"""What a config.json of BERT may say, and what is refused by name."""

from dataclasses import replace
from typing import Any

import pytest

from unmask.errors import UserError
from unmask.families.bert import FAMILY
from unmask.model.settings import ACTIVATIONS
from unmask.model.spec import Spec

CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "hidden_size": 12,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "vocab_size": 99,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
}
SPEC = Spec(width=12, heads=3, inner=20, layers=2, pieces=99, positions=64, segments=2)


def test_a_config_and_a_spec_say_the_same() -> None:
    assert FAMILY.spec(CONFIG) == SPEC
    assert FAMILY.config(SPEC) == CONFIG


@pytest.mark.parametrize(("theirs", "ours"), ACTIVATIONS.items())
def test_activations_have_several_names(theirs: str, ours: str) -> None:
    spec = FAMILY.spec({**CONFIG, "hidden_act": theirs})
    assert spec.activation == ours
    assert FAMILY.spec(FAMILY.config(spec)) == spec


@pytest.mark.parametrize(
    "setting",
    [
        {"position_embedding_type": "relative_key"},
        {"add_cross_attention": True},
        {"tie_word_embeddings": False},
        {"hidden_act": "silu"},
        {"num_attention_heads": 5},
        {"hidden_size": "768"},
        {"num_hidden_layers": 0},
        {"vocab_size": None},
    ],
    ids=str,
)
def test_what_is_not_supported_is_refused_by_name(setting: dict[str, Any]) -> None:
    (name,) = setting
    with pytest.raises(UserError, match=name):
        FAMILY.spec({**CONFIG, **setting})


def test_defaults_of_the_original_may_stand_in_the_config() -> None:
    plain = {"position_embedding_type": "absolute", "is_decoder": False}
    assert FAMILY.spec({**CONFIG, **plain}) == SPEC


def test_a_decoder_is_a_bert_that_sees_nothing_ahead() -> None:
    decoder = FAMILY.spec({**CONFIG, "is_decoder": True})
    assert decoder == replace(SPEC, causal=True)
    assert FAMILY.config(decoder) == {**CONFIG, "is_decoder": True}


def test_old_names_of_norms_are_known() -> None:
    names = FAMILY.names(SPEC, "pooler")
    norm = "bert.encoder.layer.1.output.LayerNorm"
    assert names.known(f"{norm}.gamma") == names.known(f"{norm}.weight") == f"{norm}.weight"
    assert names.known(f"{norm}.beta") == f"{norm}.bias"
    assert names.known("bert.encoder.layer.1.output.Norm.beta") is None
    assert names.known(norm.replace("1", "2") + ".beta") is None, "there are two layers"
