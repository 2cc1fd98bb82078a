"""What a config.json of XLM may say, and the languages that its tokens are told."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from parity import STRUCTURES, TOLERANCE, batch, copied, difference, ours, own, peer, theirs
from unmask.errors import UserError
from unmask.exchange.huggingface import read, write
from unmask.families.xlm import FAMILY

SPEC = STRUCTURES["xlm"]["languages"]
CONFIG = FAMILY.config(SPEC)


@pytest.mark.parametrize(
    "setting",
    [
        {"asm": True},
        {"is_encoder": False},
        {"summary_type": "mean"},
        {"summary_use_proj": False},
        {"summary_activation": "tanh"},
        {"summary_proj_to_labels": False},
        {"tie_word_embeddings": False},
        {"n_heads": 5},
    ],
    ids=str,
)
def test_what_is_not_supported_is_refused_by_name(setting: dict[str, Any]) -> None:
    (name,) = setting
    with pytest.raises(UserError, match=name):
        FAMILY.spec({**CONFIG, **setting})


@pytest.mark.parametrize(
    ("languages", "told", "rows"), [(1, True, 0), (3, False, 0), (3, True, 3), (1, False, 0)]
)
def test_there_is_a_table_only_of_several_languages_that_are_told(
    languages: int, told: bool, rows: int
) -> None:
    spec = FAMILY.spec({**CONFIG, "n_langs": languages, "use_lang_emb": told})
    assert spec.languages == rows
    assert (FAMILY.network(spec, "none").encoder.embeddings.language is None) == (rows == 0)


def test_a_language_that_is_not_told_adds_nothing() -> None:
    model, made = peer(FAMILY, "masked-lm", SPEC), own(FAMILY, "masked-lm", SPEC)
    copied(made, model)
    tokens = batch(SPEC)
    silent = replace(tokens, languages=None)
    assert difference(made, model) < TOLERANCE
    mine = ours(made, silent)["hidden"]
    assert torch.allclose(mine, theirs(model, silent)["hidden"], atol=TOLERANCE)
    assert not torch.allclose(mine, theirs(model, tokens)["hidden"], atol=1e-2)
    first = replace(tokens, languages=torch.zeros_like(tokens.ids))
    assert not torch.allclose(mine, ours(made, first)["hidden"], atol=1e-2)


def test_settings_of_languages_that_are_kept_do_not_contradict(tmp_path: Path) -> None:
    numbers = {"lang2id": {"en": 0, "fr": 1, "de": 2}, "n_langs": 3, "use_lang_emb": False}
    made = own(FAMILY, "masked-lm", STRUCTURES["xlm"]["one language"])
    write(replace(made, config=numbers), tmp_path)
    found = read(tmp_path)
    assert found.spec == made.spec
    assert found.config.items() >= numbers.items()


@pytest.mark.parametrize("labels", [2, 3])
def test_choices_are_pooled_to_as_many_numbers_as_there_are_labels(
    tmp_path: Path, labels: int
) -> None:
    start = own(FAMILY, "masked-lm", SPEC)
    made, drawn = start.with_head("multiple-choice", (), {}, torch.Generator().manual_seed(0))
    assert drawn == [
        f"{name}.{kind}"
        for name in ("sequence_summary.summary", "logits_proj")
        for kind in ("weight", "bias")
    ]
    if labels == 3:
        network = FAMILY.network(SPEC, "multiple-choice", 3)
        made = replace(made, network=network, config={"id2label": dict(enumerate("abc"))})
    write(made, tmp_path)
    found = read(tmp_path)
    assert (found.head, found.labels) == ("multiple-choice", ())
    assert found.network.head.pooler is not None
    assert found.network.head.pooler.dense.out_features == labels
    # Other numbers of labels are no obstacle to another head.
    found.with_head("text-classification", ("a", "b"), {}, torch.Generator().manual_seed(0))
    found.with_head("multiple-choice", (), {}, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("wrong", [{"causal": True}, {"activation": "relu"}, {"eps": 0.1}])
def test_another_structure_of_the_same_tensors_is_seen(wrong: dict[str, Any]) -> None:
    model, right = peer(FAMILY, "masked-lm", SPEC), own(FAMILY, "masked-lm", SPEC)
    copied(right, model)
    other = own(FAMILY, "masked-lm", replace(SPEC, **wrong))
    other.network.load_state_dict(right.network.state_dict())
    assert difference(other, model) > 100 * TOLERANCE
