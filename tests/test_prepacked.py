"""A network whose weights are prepacked says the same as the one it was made of."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import tiny
import unmask
from unmask import hardware
from unmask.errors import UserError
from unmask.model.attention import Attention
from unmask.model.block import ACTIVATIONS
from unmask.model.prepacked import (
    AT_ONCE,
    FUSED,
    JointAttention,
    PrepackedLinear,
    QuantizedLinear,
    prepacked,
    quantized,
)
from unmask.model.spec import Activation
from unmask.model.view import View
from unmask.tokens import Layout, Tokens

TOKENS = Tokens(torch.arange(1, 13), Layout.of([7, 5]))
able = pytest.mark.skipif(
    not hardware.has_bfloat16(torch.device("cpu")), reason="the processor has no bfloat16"
)
whole = pytest.mark.skipif(
    not hardware.has_int8(torch.device("cpu")), reason="the processor has no products in int8"
)


@able
def test_a_prepacked_network_says_what_products_in_bfloat16_say() -> None:
    network = tiny.pretrained(tiny.tokenizer()).network
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        wanted = network(TOKENS)
        found = prepacked(network, torch.bfloat16)(TOKENS)
    assert torch.nn.functional.cosine_similarity(found, wanted, dim=-1).min() > 0.999


@able
def test_it_shares_what_is_not_prepacked_and_leaves_the_network_as_it_was() -> None:
    network = tiny.pretrained(tiny.tokenizer()).network.train()
    made = prepacked(network, torch.bfloat16)
    assert network.training
    assert not made.training
    assert made.encoder.embeddings.piece.weight is network.encoder.embeddings.piece.weight
    kinds = {type(module) for module in made.encoder.blocks.modules()}
    assert PrepackedLinear in kinds
    assert nn.Linear not in kinds
    assert not any(isinstance(module, PrepackedLinear) for module in network.modules())


def test_in_float32_there_is_nothing_to_pack() -> None:
    network = tiny.pretrained(tiny.tokenizer()).network
    assert prepacked(network, torch.float32) is network


def test_a_model_reads_in_the_precision_it_is_told(tmp_path) -> None:
    unmask.Model(tiny.pretrained(tiny.tokenizer())).save_pretrained(tmp_path)
    exact = unmask.Model.from_pretrained(tmp_path).embed(["the quick fox"])
    for precision in ("bfloat16", "auto"):
        found = unmask.Model.from_pretrained(tmp_path, precision=precision).embed(["the quick fox"])
        assert abs(found - exact).max() < 0.1
    with pytest.raises(UserError, match="precision 'int4' does not exist"):
        unmask.Model.from_pretrained(tmp_path, precision="int4")


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=50))
def test_numbers_of_8_bits_are_as_near_as_they_can_be(values: list[float]) -> None:
    x = torch.tensor(values)
    narrow, scale, zero = quantized(x)
    assert narrow.dtype == torch.uint8
    assert 0 <= zero <= 255
    back = scale * (narrow.double() - zero)
    assert (back - x).abs().max() <= scale * (0.5 + 1e-3)


def test_many_rows_are_quantised_as_one() -> None:
    x = torch.linspace(-3, 5, 3 * AT_ONCE).view(-1, 8)
    narrow, scale, zero = quantized(x)
    assert narrow.shape == x.shape
    back = scale * (narrow.double() - zero)
    assert (back - x).abs().max() <= scale * (0.5 + 1e-3)


@pytest.mark.parametrize("bias", [True, False])
def test_one_product_gives_what_three_give(bias: bool) -> None:
    torch.manual_seed(0)
    spec = replace(tiny.pretrained(tiny.tokenizer()).spec, attention_bias=bias)
    three = Attention(spec).eval()
    x, view = torch.randn(12, 16), View(TOKENS.layout, TOKENS.layout)
    torch.testing.assert_close(
        JointAttention(three).self_attend(x, view), three.self_attend(x, view)
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_has_no_such_numbers(value: float) -> None:
    with pytest.raises(UserError, match="not finite"):
        quantized(torch.tensor([0.0, value]))


@whole
@pytest.mark.parametrize("activation", FUSED)
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_of_8_bits_says_about_what_the_exact_one_says(
    activation: Activation | None, bias: bool
) -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(96, 160, bias=bias), torch.randn(40, 96)
    exact = linear(x)
    wanted = exact if activation is None else ACTIVATIONS[activation](exact)
    found = QuantizedLinear(linear, activation)(x).float()
    assert (found - wanted).norm() / wanted.norm() < 0.02


@able
def test_nothing_is_drawn_to_pack() -> None:
    network, before = tiny.pretrained(tiny.tokenizer()).network, torch.get_rng_state()
    prepacked(network, torch.bfloat16)
    assert (torch.get_rng_state() == before).all()


@able
@pytest.mark.parametrize("change", [{"causal": True}, {"scores": "transformer-xl"}])
def test_what_keeps_keys_and_values_keeps_its_three_products(change: dict[str, Any]) -> None:
    exact = tiny.pretrained(tiny.tokenizer())
    network = exact.family.network(replace(exact.spec, **change), exact.head, 0).eval()
    made = prepacked(network, torch.bfloat16)
    assert not any(isinstance(module, JointAttention) for module in made.modules())


@able
def test_of_an_encoder_decoder_the_encoder_has_one_product() -> None:
    made = prepacked(
        tiny.pretrained(tiny.tokenizer(), "seq2seq-lm").network, torch.bfloat16
    ).encoder
    assert made.source is not None
    joint = [name for name, part in made.named_modules() if isinstance(part, JointAttention)]
    assert joint == ["source.blocks.0.attention", "source.blocks.1.attention"]


@whole
def test_a_network_of_8_bits_says_about_the_same_and_shares_the_rest() -> None:
    network = tiny.pretrained(tiny.tokenizer()).network
    made = prepacked(network, torch.int8)
    with torch.inference_mode():
        wanted, found = network(TOKENS), made(TOKENS)
    assert torch.nn.functional.cosine_similarity(found, wanted, dim=-1).min() > 0.98
    assert made.encoder.embeddings.piece.weight is network.encoder.embeddings.piece.weight
    kinds = {type(module) for module in made.encoder.blocks.modules()}
    assert QuantizedLinear in kinds
    assert nn.Linear not in kinds


@whole
def test_a_model_reads_with_8_bits(tmp_path) -> None:
    unmask.Model(tiny.pretrained(tiny.tokenizer())).save_pretrained(tmp_path)
    exact = unmask.Model.from_pretrained(tmp_path)
    rough = unmask.Model.from_pretrained(tmp_path, precision="int8")
    texts = ["the quick fox", "a dog looked over the river"]
    found, wanted = rough.embed(texts), exact.embed(texts)
    assert not (found == wanted).all()
    assert ((found * wanted).sum(1) > 0.95 * (wanted * wanted).sum(1)).all()


def test_8_bits_need_hardware_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "has_int8", lambda device: False)
    with pytest.raises(UserError, match="precision 'int8' needs a CPU with VNNI"):
        unmask.Model(tiny.pretrained(tiny.tokenizer()), precision="int8")
