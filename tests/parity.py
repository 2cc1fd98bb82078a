"""Our networks and transformers' models side by side: small, with strong weights, on one batch."""

from dataclasses import replace

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
STRUCTURES: dict[str, dict[str, Spec]] = {
    "bert": {
        "gelu": SMALL,
        "tanh": replace(SMALL, activation="gelu_tanh"),
        "relu": replace(SMALL, activation="relu"),
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


def batch(spec: Spec) -> Tokens:
    """Draw sequences of several lengths, without the pad token of any family."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(6, spec.pieces, (sum(LENGTHS),), generator=generator)
    kinds = torch.randint(6, (2, len(ids)), generator=generator)
    segments = kinds[0] % 2 if spec.segments > 1 or spec.scores else None
    languages = kinds[1] % spec.languages if spec.languages else None
    return Tokens(ids, Layout.of(LENGTHS), segments, languages)


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
    return found


@torch.no_grad()
def theirs(model: transformers.PreTrainedModel, tokens: Tokens) -> dict[str, Tensor]:
    """Give all that a model of transformers computes, padded, under the names of ours."""
    layout = tokens.layout
    inside = torch.arange(layout.max_seqlen) < torch.tensor(layout.lengths)[:, None]  # (B, L)
    if model.config.model_type == "xlnet":  # which takes the last cell for the last token
        inside = inside.flip(1)

    def padded(x: Tensor, blank: int) -> Tensor:
        rows = torch.full(inside.shape, blank)
        rows[inside] = x
        return rows

    if model.config.pad_token_id is None:
        model.config.pad_token_id = 0  # by which they find the last token
    inputs = {
        "input_ids": padded(tokens.ids, model.config.pad_token_id),
        "attention_mask": inside.long(),
    }
    if tokens.segments is not None:
        inputs["token_type_ids"] = padded(tokens.segments, 0)
    if tokens.languages is not None:
        inputs["langs"] = padded(tokens.languages, 0)
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
