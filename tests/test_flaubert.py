"""FlauBERT is an XLM that may norm first, which transformers cannot run as it is."""

from dataclasses import replace
from typing import Any

import pytest
from transformers.cache_utils import EncoderDecoderCache

from parity import STRUCTURES, TOLERANCE, copied, difference, own, peer
from unmask.errors import UserError
from unmask.families.flaubert import FAMILY

SPEC = STRUCTURES["flaubert"]["plain"]
FIRST = replace(SPEC, norm_first=True)


@pytest.mark.parametrize(
    "setting", [{"asm": True}, {"is_encoder": False}, {"summary_activation": "tanh"}], ids=str
)
def test_what_is_not_supported_is_refused_by_name(setting: dict[str, Any]) -> None:
    (name,) = setting
    with pytest.raises(UserError, match=name):
        FAMILY.spec({**FAMILY.config(SPEC), **setting})


@pytest.mark.parametrize("spec", [SPEC, FIRST], ids=["norms last", "norms first"])
def test_a_config_says_where_norms_are(spec: object) -> None:
    assert spec in (SPEC, FIRST)
    config = FAMILY.config(SPEC if spec is SPEC else FIRST)
    assert config["pre_norm"] is (spec is FIRST)
    assert FAMILY.spec(config) == spec
    assert FAMILY.spec({k: v for k, v in config.items() if k != "pre_norm"}) == SPEC


@pytest.mark.parametrize("head", FAMILY.heads)
def test_norms_first_are_those_of_the_paper(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Version 5 of transformers takes layer i of a cache that is one for all layers, and fails.
    monkeypatch.setattr(EncoderDecoderCache, "__getitem__", lambda one, _: one, raising=False)
    model, made = peer(FAMILY, head, FIRST), own(FAMILY, head, FIRST)
    copied(made, model)
    assert difference(made, model) < TOLERANCE
    last = own(FAMILY, head, SPEC)
    last.network.load_state_dict(made.network.state_dict())
    assert difference(last, model) > 100 * TOLERANCE
