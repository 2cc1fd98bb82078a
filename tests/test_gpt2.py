"""What a config.json of GPT-2 may say, its tensors in their own form, and what sees what."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from parity import STRUCTURES, TOLERANCE, batch, copied, difference, ours, own, peer
from unmask.errors import UserError
from unmask.exchange.huggingface import read, write
from unmask.families.gpt2 import FAMILY
from unmask.tokens import Tokens
from unmask.train.layers import grouping
from unmask.train.tuning import Layers

SPEC = STRUCTURES["gpt2"]["plain"]
CONFIG = FAMILY.config(SPEC)


@pytest.mark.parametrize(
    "setting",
    [
        {"scale_attn_weights": False},
        {"scale_attn_by_inverse_layer_idx": True},
        {"add_cross_attention": True},
        {"tie_word_embeddings": False},
        {"activation_function": "silu"},
        {"n_embd": None},
    ],
    ids=str,
)
def test_what_is_not_supported_is_refused_by_name(setting: dict[str, Any]) -> None:
    (name,) = setting
    with pytest.raises(UserError, match=name):
        FAMILY.spec({**CONFIG, **setting})


def test_settings_that_are_absent_are_those_of_the_original() -> None:
    absent = {"n_inner", "activation_function", "layer_norm_epsilon"}
    spec = FAMILY.spec({name: value for name, value in CONFIG.items() if name not in absent})
    assert (spec.inner, spec.activation, spec.eps) == (4 * SPEC.width, "gelu_tanh", 1e-5)


def test_tensors_are_fused_and_transposed_in_checkpoints(tmp_path: Path) -> None:
    made = own(FAMILY, "causal-lm", SPEC)
    write(made, tmp_path)
    theirs, state = load_file(tmp_path / "model.safetensors"), made.network.state_dict()
    block = "encoder.blocks.1"
    assert theirs["transformer.h.1.attn.c_attn.weight"].shape == (16, 48)
    key = theirs["transformer.h.1.attn.c_attn.weight"][:, 16:32]
    assert torch.equal(key, state[f"{block}.attention.key.weight"].T)
    up = theirs["transformer.h.1.mlp.c_fc.weight"]
    assert torch.equal(up, state[f"{block}.feed_forward.up.weight"].T)
    assert "lm_head.weight" not in theirs


def test_the_published_file_is_read(tmp_path: Path) -> None:
    # It has no prefix, and the mask of what lies ahead in every block.
    made = own(FAMILY, "causal-lm", SPEC)
    write(made, tmp_path)
    path = tmp_path / "model.safetensors"
    bare = {n.removeprefix("transformer."): t for n, t in load_file(path).items()}
    bare |= {f"h.{n}.attn.bias": torch.ones(12, 12).tril()[None, None] for n in range(2)}
    save_file(bare, path)
    found = read(tmp_path)
    assert found.head == "causal-lm"
    for name, tensor in made.network.state_dict().items():
        assert torch.equal(found.network.state_dict()[name], tensor), name


def test_a_missing_fused_tensor_is_named_once_and_in_their_form(tmp_path: Path) -> None:
    write(own(FAMILY, "none", SPEC), tmp_path)
    path = tmp_path / "model.safetensors"
    save_file({n: t for n, t in load_file(path).items() if n != "h.0.attn.c_attn.weight"}, path)
    with pytest.raises(UserError, match=r"missing transformer\.h\.0\S+c_attn.weight \(16, 48\)$"):
        read(tmp_path)


@torch.no_grad()
def test_a_token_does_not_see_what_follows() -> None:
    made, tokens = own(FAMILY, "text-classification", SPEC), batch(SPEC)
    changed = Tokens(tokens.ids.clone(), tokens.layout)
    changed.ids[3] = (changed.ids[3] + 1) % SPEC.pieces  # of a first sequence of five tokens
    before, after = ours(made, tokens), ours(made, changed)
    same = (before["hidden"] - after["hidden"]).abs().amax(1) < TOLERANCE
    assert same[:3].all()
    assert not same[3:5].any()
    assert same[5:].all()
    assert not torch.allclose(before["labels"][0], after["labels"][0], atol=1e-3)


@pytest.mark.parametrize(
    "wrong", [{"causal": False}, {"norm_first": False}, {"eps": 0.1}, {"activation": "relu"}]
)
def test_another_structure_of_the_same_tensors_is_seen(wrong: dict[str, Any]) -> None:
    model, right = peer(FAMILY, "causal-lm", SPEC), own(FAMILY, "causal-lm", SPEC)
    copied(right, model)
    other = own(FAMILY, "causal-lm", replace(SPEC, **wrong))
    other.network.load_state_dict(right.network.state_dict())
    assert difference(right, model) < TOLERANCE
    assert difference(other, model) > 100 * TOLERANCE


@torch.no_grad()
def test_the_loss_is_that_of_transformers() -> None:
    model, made = peer(FAMILY, "causal-lm", SPEC), own(FAMILY, "causal-lm", SPEC)
    copied(made, model)
    tokens = batch(SPEC)
    start = int(tokens.layout.first[1])
    ids = tokens.ids[start : start + 12]
    hidden = made.network(tokens)[start : start + 12]
    assert made.network.head.following is not None
    part = made.network.head.following.loss(hidden[:-1], ids[1:])
    wanted = model(input_ids=ids[None], labels=ids[None]).loss
    assert float(part.total / 11) == pytest.approx(float(wanted), abs=TOLERANCE)


def test_learning_without_a_bias_gives_the_same_gradient() -> None:
    made, tokens = own(FAMILY, "causal-lm", SPEC), batch(SPEC)
    following, table = made.network.head.following, made.network.encoder.embeddings.piece.weight
    assert following is not None
    hidden = torch.randn(7, SPEC.width, requires_grad=True)
    labels = tokens.ids[:7]
    fast = torch.autograd.grad(following.loss(hidden, labels).total, [hidden, table])
    plain = torch.nn.functional.cross_entropy(following(hidden), labels, reduction="sum")
    for one, other in zip(fast, torch.autograd.grad(plain, [hidden, table]), strict=True):
        assert torch.allclose(one, other, atol=TOLERANCE)


def test_the_last_norm_learns_at_the_pace_of_the_head() -> None:
    pace = grouping(Layers(decay=0.5), SPEC.layers, 10)
    factors = [pace(f"encoder.{name}.weight").factor for name in ("embeddings.piece", "norm")]
    assert factors == [0.125, pace("head.classifier.weight").factor]


def test_transformers_generates_from_what_is_written(tmp_path: Path) -> None:
    write(own(FAMILY, "causal-lm", SPEC), tmp_path)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(model).__name__ == "GPT2LMHeadModel"
