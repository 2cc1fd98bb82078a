"""Our networks and transformers' models side by side: small, with strong weights, on one batch."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from unmask.contracts import Family
from unmask.exchange.huggingface import Pretrained
from unmask.model.spec import Spec
from unmask.tokens import Layout, Tokens

TOLERANCE = 1e-5
"""Of float32; in float64 rounding is far smaller, and what is wrong stays as large."""
EXACT = {"xlm": 2e-6, "flaubert": 2e-6}
"""The tolerance of float64, of families whose peer takes softmax in float32 all the same."""
LENGTHS = [5, 12, 1, 7, 7, 7]
SOURCE_LENGTHS = [3, 9, 7, 12, 1, 4]
"""Of what an encoder-decoder reads to write those of `LENGTHS`."""
LABELS = {
    "text-classification": ("one", "two", "three"),
    "token-classification": ("O", "B-one", "I-one", "two"),
}
"""Of the heads that have some."""

SMALL = Spec(width=16, heads=2, inner=24, layers=2, pieces=40, positions=12, segments=2)
GPT2 = replace(
    SMALL,
    segments=0,
    activation="gelu_tanh",
    eps=1e-5,
    embedding_norm=False,
    norm_first=True,
    final_norm=True,
    causal=True,
)
XLM = replace(SMALL, segments=0, inner=64)
XLNET = replace(
    SMALL,
    positions=None,
    segments=0,
    embedding_norm=False,
    attention_bias=False,
    scores="transformer-xl",
    two_streams=True,
)
PAPER = replace(
    SMALL,
    segments=0,
    activation="relu",
    eps=1e-5,
    sinusoidal=True,
    scaled=True,
    embedding_norm=False,
)
TORCH = replace(PAPER, scaled=False, final_norm=True, norm_first=True)
OTHER = replace(SMALL, width=24, heads=3, layers=1, inner=20, positions=14, pieces=50)
STRUCTURES: dict[str, dict[str, Spec]] = {
    "bert": {
        "gelu": SMALL,
        "tanh": replace(SMALL, activation="gelu_tanh"),
        "relu": replace(SMALL, activation="relu"),
        "decoder": replace(SMALL, causal=True),
    },
    "distilbert": {
        "plain": replace(SMALL, segments=0),
        "sinusoids": replace(SMALL, segments=0, sinusoidal=True, activation="relu"),
    },
    "roberta": {
        "plain": replace(SMALL, segments=1, position_start=2),
        "segments": replace(SMALL, position_start=1, activation="relu"),
    },
    "camembert": {"plain": replace(SMALL, segments=1, position_start=2)},
    "xlm-roberta": {"plain": replace(SMALL, segments=1, position_start=2)},
    "albert": {
        "one block": replace(SMALL, inner=40, embedding_width=8, layers=3, schedule=(0, 0, 0)),
        "groups": replace(SMALL, embedding_width=8, layers=3, schedule=(0, 0, 1)),
        "two a layer": replace(
            SMALL, inner=40, embedding_width=16, layers=4, schedule=(0, 1, 0, 1)
        ),
        "groups of two a layer": replace(
            SMALL, embedding_width=8, layers=6, schedule=(0, 1, 0, 1, 2, 3), activation="gelu_tanh"
        ),
    },
    "gpt2": {"plain": GPT2, "relu": replace(GPT2, activation="relu", inner=64)},
    "xlm": {
        "languages": replace(XLM, languages=3),
        "one language": XLM,
        "sinusoids": replace(XLM, sinusoidal=True, activation="relu"),
        "causal": replace(XLM, causal=True, languages=2),
    },
    "flaubert": {"plain": XLM, "languages": replace(XLM, languages=2, activation="relu")},
    "xlnet": {"plain": XLNET, "relu": replace(XLNET, activation="relu", inner=40)},
    "encoder-decoder": {
        "alike": replace(SMALL, causal=True, source=SMALL),
        "different": replace(SMALL, causal=True, layers=3, activation="relu", source=OTHER),
    },
    "transformer": {
        "paper": replace(PAPER, causal=True, shared=True, source=PAPER),
        "torch": replace(
            TORCH, causal=True, tied=False, layers=1, source=replace(TORCH, heads=4, inner=40)
        ),
    },
}
"""Of each family those that its tests compare; all heads are compared with the first one only."""


def strengthen(module: nn.Module) -> None:
    """Draw weights from N(0, 0.3): strong enough that any mistake shows."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            # Scales of norms lie around 1, or the signal fades away.
            middle = float(parameter.dim() == 1 and name.endswith("weight"))
            parameter.copy_(middle + torch.randn(parameter.shape, generator=generator) * 0.3)


def batch(spec: Spec, lengths: Sequence[int] = LENGTHS) -> Tokens:
    """Draw sequences of several lengths, without the pad token of any family."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(6, spec.pieces, (sum(lengths),), generator=generator)
    kinds = torch.randint(6, (2, len(ids)), generator=generator)
    segments = kinds[0] % 2 if spec.segments > 1 or spec.scores else None
    languages = kinds[1] % spec.languages if spec.languages else None
    source = None if spec.source is None else batch(spec.source, SOURCE_LENGTHS)
    return Tokens(ids, Layout.of(lengths), segments, languages, source=source)


def alone(tokens: Tokens, number: int) -> Tokens:
    """Take one sequence out of a batch."""
    start, length = int(tokens.layout.first[number]), tokens.layout.lengths[number]
    kinds = (tokens.segments, tokens.languages)
    return Tokens(
        tokens.ids[start : start + length],
        Layout.of([length]),
        *(None if kind is None else kind[start : start + length] for kind in kinds),
        source=None if tokens.source is None else alone(tokens.source, number),
    )


@torch.no_grad()
def ours(pretrained: Pretrained, tokens: Tokens) -> dict[str, Tensor]:
    """Give all that a model computes, packed."""
    head, hidden = pretrained.network.head, pretrained.network(tokens)
    last = pretrained.family.template.summary == "last"
    rows = tokens.layout.last if last else tokens.layout.first
    found = {"hidden": hidden}
    if head.masked is not None:
        found["tokens"] = head.masked(hidden)
    if head.following is not None:
        found["tokens"] = head.following(hidden)
    if head.pair is not None:
        assert head.pooler is not None
        found["pair"] = head.pair(head.pooler(hidden, rows))
    if head.classifier is not None:
        every = torch.arange(len(tokens.ids))
        found["labels"] = head.classify(
            hidden, every if pretrained.head == "token-classification" else rows
        )
    if head.span is not None:
        found["first"], found["last"] = head.spans(hidden).T
    if pretrained.head == "pooler":
        assert head.pooler is not None
        found["pooled"] = head.pooler(hidden, rows)
    if (encoder := pretrained.network.encoder.source) is not None and head.pooler is not None:
        assert tokens.source is not None
        found["pooled"] = head.pooler(encoder(tokens.source), tokens.source.layout.first)
    return found


def padded(model: transformers.PreTrainedModel, tokens: Tokens) -> tuple[dict[str, Tensor], Tensor]:
    """Lay tokens out as transformers has them: its inputs, and (B, L) bool, the cells of tokens."""
    layout = tokens.layout
    inside = torch.arange(layout.max_seqlen) < torch.tensor(layout.lengths)[:, None]  # (B, L)
    if model.config.model_type == "xlnet":  # which takes the last cell for the last token
        inside = inside.flip(1)

    def rows(x: Tensor, blank: int) -> Tensor:
        cells = torch.full(inside.shape, blank)
        cells[inside] = x
        return cells

    if model.config.pad_token_id is None:
        model.config.pad_token_id = 0  # by which they find the last token
    inputs = {
        "input_ids": rows(tokens.ids, model.config.pad_token_id),
        "attention_mask": inside.long(),
    }
    if tokens.segments is not None:
        inputs["token_type_ids"] = rows(tokens.segments, 0)
    if tokens.languages is not None:
        inputs["langs"] = rows(tokens.languages, 0)
    return inputs, inside


@torch.no_grad()
def theirs(model: transformers.PreTrainedModel, tokens: Tokens) -> dict[str, Tensor]:
    """Give all that a model of transformers computes, padded, under the names of ours."""
    if tokens.source is not None:
        return _of_both(model, tokens, tokens.source)
    inputs, inside = padded(model, tokens)
    inner = model.base_model(**inputs)
    if type(model).__name__.endswith("MultipleChoice"):  # of one choice each
        inputs = {name: tensor[:, None] for name, tensor in inputs.items()}
    out = model(**inputs)
    found = {"hidden": inner.last_hidden_state[inside], "pooled": inner.get("pooler_output")}
    logits = out.get("prediction_logits", out.get("logits"))
    if logits is not None:
        name = "tokens" if logits.shape[-1] == model.config.vocab_size else "labels"
        found[name] = logits[inside] if logits.dim() == 3 else logits
    found["pair"] = out.get("seq_relationship_logits", out.get("sop_logits"))
    if "start_logits" in out:
        found["first"], found["last"] = out.start_logits[inside], out.end_logits[inside]
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def _of_both(model: Any, tokens: Tokens, source: Tokens) -> dict[str, Tensor]:
    """Give what an encoder-decoder of transformers computes."""
    read, _ = padded(model.encoder, source)
    written, inside = padded(model.decoder, tokens)
    inputs = {f"decoder_{name}": tensor for name, tensor in written.items()}
    out = model(**read, **inputs, output_hidden_states=True)
    return {
        "hidden": out.decoder_hidden_states[-1][inside],
        "tokens": out.logits[inside],
        "pooled": model.encoder(**read).pooler_output,
    }


def difference(pretrained: Pretrained, model: transformers.PreTrainedModel) -> float:
    """Give the largest difference of any output of ours, which they must have, too."""
    tokens = batch(pretrained.spec)
    mine, other = ours(pretrained, tokens), theirs(model, tokens)
    assert {name: x.shape for name, x in mine.items()} == {n: other[n].shape for n in mine}
    return max(float((mine[name] - other[name]).abs().max()) for name in mine)


def peer(family: Family, head: str, spec: Spec) -> transformers.PreTrainedModel:
    """Make transformers' model of a structure, with strong weights."""
    settings = {k: v for k, v in family.config(spec).items() if k != "model_type"}
    if head in LABELS:
        settings["num_labels"] = len(LABELS[head])
    config = transformers.AutoConfig.for_model(family.name, **settings)
    model = getattr(transformers, family.heads[head].architecture)(config).eval()
    strengthen(model)
    return model


def own(family: Family, head: str, spec: Spec) -> Pretrained:
    """Make our model of a structure, with strong weights."""
    labels = LABELS.get(head, ())
    network = family.network(spec, head, len(labels)).eval()
    strengthen(network)
    return Pretrained(
        family=family, spec=spec, network=network, head=head, tokenizer=None, labels=labels
    )


def copied(pretrained: Pretrained, model: transformers.PreTrainedModel) -> None:
    """Give our network the weights of theirs."""
    family, spec = pretrained.family, pretrained.spec
    names = family.names(spec, pretrained.head)
    prefix = "" if family.heads[pretrained.head].prefixed else family.prefix
    found = names.ours({prefix + name: tensor for name, tensor in model.state_dict().items()})
    state = pretrained.network.state_dict()
    pretrained.network.load_state_dict({name: found[name] for name in state})
