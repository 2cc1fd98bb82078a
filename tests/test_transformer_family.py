"""The original Transformer equals torch.nn.Transformer; its settings, its file, what it shares."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from parity import PAPER, STRUCTURES, TOLERANCE, batch, own, strengthen
from unmask.errors import UserError
from unmask.exchange.huggingface import Pretrained, read, write
from unmask.families.transformer import FAMILY
from unmask.model.spec import Spec
from unmask.tokens import Tokens
from unmask.train.layers import grouping
from unmask.train.tuning import Layers

SPEC = STRUCTURES["transformer"]["paper"]
CONFIG = FAMILY.config(SPEC)
OWN = replace(SPEC, shared=False, tied=False)


class Torch(nn.Module):
    """The model as people build it of torch.nn: tables, waves, nn.Transformer, a linear layer."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        assert spec.source is not None
        self.spec = spec
        self.source = nn.Embedding(spec.pieces, spec.width)
        self.target = self.source if spec.shared else nn.Embedding(spec.pieces, spec.width)
        self.transformer = nn.Transformer(
            spec.width,
            spec.heads,
            spec.source.layers,
            spec.layers,
            spec.inner,
            activation=spec.activation,
            layer_norm_eps=spec.eps,
            batch_first=True,
            norm_first=spec.norm_first,
        )
        self.transformer.encoder.use_nested_tensor = False
        if not spec.final_norm:
            self.transformer.encoder.norm = self.transformer.decoder.norm = None
        self.linear = nn.Linear(spec.width, spec.pieces)
        if spec.tied:
            self.linear.weight = self.target.weight

    def forward(self, tokens: Tokens) -> Tensor:
        """Give the scores of every entry of the vocabulary, for each token of the target."""
        assert tokens.source is not None
        (source, unread), (target, unwritten) = self._rows(tokens.source), self._rows(tokens)
        hidden = self.transformer(
            self._embedded(self.source, source),
            self._embedded(self.target, target),
            tgt_mask=nn.Transformer.generate_square_subsequent_mask(target.shape[1]).bool(),
            src_key_padding_mask=unread,
            memory_key_padding_mask=unread,
            tgt_key_padding_mask=unwritten,
        )
        scores: Tensor = self.linear(hidden[~unwritten])
        return scores

    def _rows(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        lengths = torch.tensor(tokens.layout.lengths)
        empty = torch.arange(tokens.layout.max_seqlen) >= lengths[:, None]
        rows = torch.zeros(empty.shape, dtype=torch.int64)
        rows[~empty] = tokens.ids
        return rows, empty

    def _embedded(self, table: nn.Embedding, rows: Tensor) -> Tensor:
        scale = math.sqrt(self.spec.width) if self.spec.scaled else 1
        waves = torch.zeros(rows.shape[1], self.spec.width)
        for place in range(rows.shape[1]):
            for pair in range(0, self.spec.width, 2):
                angle = place / 10_000 ** (pair / self.spec.width)
                waves[place, pair : pair + 2] = torch.tensor([math.sin(angle), math.cos(angle)])
        embedded: Tensor = table(rows) * scale + waves
        return embedded


def fused(ours: dict[str, Tensor], name: str, leaf: str) -> Tensor:
    return torch.cat([ours[f"{name}.{part}.{leaf}"] for part in ("query", "key", "value")])


def copied(made: Pretrained, spec: Spec) -> Torch:
    """Make torch's model with the weights of ours."""
    theirs, ours = Torch(spec).eval(), made.network.state_dict()
    assert spec.source is not None
    found = {
        "source.weight": ours["encoder.source.embeddings.piece.weight"],
        "linear.bias": ours["head.following.bias"],
    }
    table = "encoder.source" if spec.shared else "encoder"
    found["target.weight"] = ours[f"{table}.embeddings.piece.weight"]
    found["linear.weight"] = ours.get("head.following.pieces.weight", found["target.weight"])
    sides = {"encoder.source": ("encoder", spec.source.layers), "encoder": ("decoder", spec.layers)}
    for own_side, (side, layers) in sides.items():
        parts = {"attention": "self_attn", "cross": "multihead_attn"}
        norms = {"attention_norm": "norm1", "feed_forward_norm": "norm2"}
        if side == "encoder":
            del parts["cross"]
        else:
            norms |= {"cross_norm": "norm2", "feed_forward_norm": "norm3"}
        for layer in range(layers):
            block, other = f"{own_side}.blocks.{layer}", f"transformer.{side}.layers.{layer}"
            for leaf in ("weight", "bias"):
                for part, name in parts.items():
                    found[f"{other}.{name}.in_proj_{leaf}"] = fused(ours, f"{block}.{part}", leaf)
                    found[f"{other}.{name}.out_proj.{leaf}"] = ours[f"{block}.{part}.output.{leaf}"]
                for norm, name in norms.items():
                    found[f"{other}.{name}.{leaf}"] = ours[f"{block}.{norm}.{leaf}"]
                for part, name in {"up": "linear1", "down": "linear2"}.items():
                    found[f"{other}.{name}.{leaf}"] = ours[f"{block}.feed_forward.{part}.{leaf}"]
        if spec.final_norm:
            for leaf in ("weight", "bias"):
                found[f"transformer.{side}.norm.{leaf}"] = ours[f"{own_side}.norm.{leaf}"]
    theirs.load_state_dict(found)
    return theirs


def both(final_norm: bool, norm_first: bool, shared: bool) -> Spec:
    source = replace(PAPER, final_norm=final_norm, norm_first=norm_first)
    return replace(source, causal=True, source=source, shared=shared, tied=shared, layers=3)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:enable_nested_tensor")  # which is switched off above
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "own"])
@pytest.mark.parametrize(
    ("final_norm", "norm_first"),
    [(False, False), (True, False), (True, True)],
    ids=["paper", "torch", "pre-norm"],
)
def test_equals_torch(
    final_norm: bool,
    norm_first: bool,
    shared: bool,
    record_property: Callable[[str, object], None],
) -> None:
    spec = both(final_norm, norm_first, shared)
    made, tokens = own(FAMILY, "seq2seq-lm", spec), batch(spec)
    theirs = copied(made, spec)
    following = made.network.head.following
    assert following is not None

    def difference(wrong: Spec | None = None) -> float:
        network = made.network
        if wrong is not None:
            network = FAMILY.network(wrong, "seq2seq-lm").eval()
            network.load_state_dict(made.network.state_dict())
            assert network.head.following is not None
            return float((network.head.following(network(tokens)) - scores).abs().max())
        return float((following(network(tokens)) - scores).abs().max())

    scores = theirs(tokens)
    kinds = "a final norm" * final_norm, "norms first" * norm_first, "shared tables" * shared
    record_property(
        "conformance",
        f"transformer: equal to torch.nn.Transformer with"
        f" {', '.join(filter(None, kinds)) or 'own tables'}; largest difference {difference():.1e}",
    )
    assert difference() < TOLERANCE
    for wrong in ({"scaled": False}, {"causal": False}, {"activation": "gelu"}, {"heads": 4}):
        assert difference(replace(spec, **wrong)) > 100 * TOLERANCE, wrong
    made.network.double()
    scores = theirs.double()(tokens)
    assert difference() < 1e-6, "their waves are of float32"


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"norm_first": 1}, "norm_first is 1; it must be true or false"),
        ({"d_model": 15}, "d_model is 15; it must be even"),
        ({"d_model": None}, "d_model is None"),
        ({"decoder_attention_heads": 3}, "multiple of decoder_attention_heads 3"),
        ({"encoder_layers": 0}, "encoder_layers is 0"),
        ({"activation_function": "silu"}, "activation_function is 'silu'"),
    ],
    ids=str,
)
def test_what_is_not_supported_is_refused_by_name(setting: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        FAMILY.spec({**CONFIG, **setting})


def test_settings_that_are_absent_are_those_of_the_paper() -> None:
    sizes = {n: value for n, value in CONFIG.items() if not isinstance(value, bool | str | float)}
    assert FAMILY.spec(sizes) == SPEC


def test_shared_tables_are_saved_once_and_stay_shared(tmp_path: Path) -> None:
    made = own(FAMILY, "seq2seq-lm", SPEC)
    write(made, tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    tables = [name for name, tensor in saved.items() if tensor.shape == (40, 16)]
    assert tables == ["encoder.source.embeddings.piece.weight"]
    assert len(load_tables(OWN, tmp_path / "own")) == 3
    for network in (read(tmp_path).network, copy.deepcopy(made.network)):
        encoder, before = network.encoder, batch(SPEC)
        assert encoder.source is not None
        assert encoder.embeddings.piece is encoder.source.embeddings.piece
        scores = network(before)
        with torch.no_grad():
            encoder.source.embeddings.piece.weight.neg_()
        assert not torch.allclose(network(before), scores, atol=1e-2)
    assert torch.allclose(made.network(batch(SPEC)), scores, atol=TOLERANCE), "a copy is a copy"


def load_tables(spec: Spec, folder: Path) -> list[str]:
    write(own(FAMILY, "seq2seq-lm", spec), folder)
    saved = load_file(folder / "model.safetensors")
    return [name for name, tensor in saved.items() if tensor.shape == (40, 16)]


def test_the_card_does_not_promise_transformers(tmp_path: Path) -> None:
    write(own(FAMILY, "seq2seq-lm", SPEC), tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert "behind an encoder\nof 2 layers" in card
    assert "`transformers` has no such model" in card
    assert "library_name: unmask" in card


def test_a_target_learns_to_follow_its_source() -> None:
    torch.manual_seed(0)
    network = FAMILY.network(SPEC, "seq2seq-lm")
    network.initialise(torch.Generator().manual_seed(0))
    following, tokens = network.head.following, batch(SPEC)
    assert following is not None
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(60):
        part = following.loss(network(tokens), tokens.ids.roll(-1), smoothing=0.1)
        optimizer.zero_grad()
        (part.total / len(tokens.ids)).backward()
        optimizer.step()
    assert float(part.correct) / len(tokens.ids) > 0.9


def test_strong_weights_reach_every_tensor() -> None:
    network = FAMILY.network(OWN, "seq2seq-lm")
    strengthen(network)
    following, tokens = network.head.following, batch(OWN)
    assert following is not None
    following.loss(network(tokens), tokens.ids).total.backward()
    still = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


def test_both_sides_learn_at_the_pace_of_their_layers() -> None:
    pace = grouping(Layers(decay=0.5), SPEC.layers, 10)
    for part in ("embeddings.piece", "blocks.0.attention.query", "blocks.1.feed_forward.up"):
        own, source = (pace(f"encoder.{side}{part}.weight").factor for side in ("", "source."))
        assert own == source < pace("head.following.bias").factor
