"""A network whose weights are prepacked says the same as the one it was made of."""

import pytest
import torch
from torch import nn

import tiny
import unmask
from unmask import hardware
from unmask.errors import UserError
from unmask.model.prepacked import PrepackedLinear, prepacked
from unmask.tokens import Layout, Tokens

TOKENS = Tokens(torch.arange(1, 13), Layout.of([7, 5]))
able = pytest.mark.skipif(
    not hardware.has_bfloat16(torch.device("cpu")), reason="the processor has no bfloat16"
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
    with pytest.raises(UserError, match="precision 'int8' does not exist"):
        unmask.Model.from_pretrained(tmp_path, precision="int8")
