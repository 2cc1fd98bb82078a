"""Names of tensors, ours and theirs, and tensors that checkpoints hold in another form."""

import torch

from unmask.model.names import Form, Names

FUSED = Form(
    ours=("blocks.*.query.weight", "blocks.*.key.weight"),
    theirs="h.*.qk",
    split=lambda tensor: tensor.T.chunk(2),
    join=lambda tensors: torch.cat(list(tensors)).T,
)
TABLE = {"norm": "ln_f", "blocks.*.up": "h.*.fc", "blocks.*.bias": "h.*.attn.b", "bias": "lm.bias"}
NAMES = Names(TABLE, ["0.first", "0.second"], [FUSED])
OURS = {
    "norm.weight": torch.randn(4),
    "blocks.1.up.bias": torch.randn(4),
    "blocks.0.bias": torch.randn(2),
    "blocks.0.query.weight": torch.randn(3, 4),
    "blocks.0.key.weight": torch.randn(3, 4),
    "blocks.1.query.weight": torch.randn(3, 4),
    "blocks.1.key.weight": torch.randn(3, 4),
    "bias": torch.randn(5),
    "nowhere.weight": torch.randn(1),
}


def test_names_and_forms_go_there_and_back() -> None:
    theirs = NAMES.theirs(OURS)
    assert set(theirs) == {
        "ln_f.weight",
        "h.0.second.fc.bias",
        "h.0.first.attn.b",
        "h.0.first.qk",
        "h.0.second.qk",
        "lm.bias",
        "nowhere.weight",
    }
    assert torch.equal(theirs["h.0.second.qk"][:, 3:], OURS["blocks.1.key.weight"].T)
    back = NAMES.ours(theirs)
    assert back.keys() == OURS.keys()
    for name, tensor in OURS.items():
        assert torch.equal(back[name], tensor), name
        assert back[name].is_contiguous(), name


def test_known_names_are_present_ones() -> None:
    assert NAMES.known("ln_f.gamma") == NAMES.known("ln_f.weight") == "ln_f.weight"
    assert NAMES.known("ln_f.beta") == "ln_f.bias"
    assert NAMES.known("h.0.first.qk") == "h.0.first.qk"
    assert NAMES.known("lm.bias") == "lm.bias"
    for name in ("h.2.qk", "h.0.qk", "norm.weight", "qk", "h.0.first.up.bias"):
        assert NAMES.known(name) is None, name


def test_a_part_of_a_form_keeps_its_name() -> None:
    part = {"blocks.0.query.weight": OURS["blocks.0.query.weight"]}
    assert NAMES.theirs(part).keys() == part.keys()
