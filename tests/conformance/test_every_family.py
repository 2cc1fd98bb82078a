"""Every family equals transformers' model of its name, in both directions, tensor by tensor."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch
import transformers
from torch import Tensor, nn

from unmask.contracts import Family
from unmask.exchange.huggingface import Pretrained, read, write
from unmask.model.spec import Spec
from unmask.registry import discover
from unmask.tokens import Layout, Tokens

FAMILIES: dict[str, Family] = discover("unmask.families", "FAMILY")
SPEC = Spec(width=16, heads=2, inner=24, layers=2, pieces=40, positions=12, segments=2)
TOLERANCE = 1e-5
LENGTHS = [5, 12, 1, 7, 7, 7]
LABELS = {
    "text-classification": ("one", "two", "three"),
    "token-classification": ("O", "B-one", "I-one", "two"),
}
"""Of the heads that have some."""


@pytest.fixture(autouse=True)
def _quiet() -> None:
    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()


def strengthen(module: nn.Module) -> None:
    """Draw weights from N(0, 0.3): strong enough that any mistake shows."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            middle = float(name.lower().endswith("norm.weight"))  # or the signal fades away
            parameter.copy_(middle + torch.randn(parameter.shape, generator=generator) * 0.3)


def tokens() -> Tokens:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(SPEC.pieces, (sum(LENGTHS),), generator=generator)
    segments = torch.randint(SPEC.segments, ids.shape, generator=generator)
    return Tokens(ids, Layout.of(LENGTHS), segments)


@torch.no_grad()
def ours(pretrained: Pretrained, batch: Tokens) -> dict[str, Tensor]:
    """Give all that a model computes, packed."""
    head, hidden = pretrained.network.head, pretrained.network(batch)
    found = {"hidden": hidden}
    if head.masked is not None:
        found["masked"] = head.masked(hidden)
    if head.pooler is not None:
        found["pooled"] = head.pooler(hidden, batch.layout.first)
    if head.pair is not None:
        found["pair"] = head.pair(found["pooled"])
    if head.classifier is not None:
        every = torch.arange(len(batch.ids))
        found["labels"] = head.classify(
            hidden, every if head.pooler is None else batch.layout.first
        )
    if head.span is not None:
        found["first"], found["last"] = head.spans(hidden).T
    return found


@torch.no_grad()
def theirs(model: transformers.PreTrainedModel, batch: Tokens) -> dict[str, Tensor]:
    """Give all that a model of transformers computes, padded, under the names of ours."""
    layout = batch.layout
    inside = torch.arange(layout.max_seqlen) < torch.tensor(layout.lengths)[:, None]  # (B, L)
    ids, segments = torch.zeros(2, *inside.shape, dtype=torch.int64)
    ids[inside], segments[inside] = batch.ids, batch.segments
    inputs = {"input_ids": ids, "token_type_ids": segments, "attention_mask": inside.long()}
    kind, inner = type(model).__name__, model.base_model(**inputs)
    if kind.endswith("MultipleChoice"):  # of one choice each
        inputs = {name: tensor[:, None] for name, tensor in inputs.items()}
    out = model(**inputs)
    found = {"hidden": inner.last_hidden_state[inside], "pooled": inner.pooler_output}
    logits = out.get("prediction_logits", out.get("logits"))
    if logits is not None:
        by_token = logits.dim() == 3
        name = "masked" if logits.shape[-1] == SPEC.pieces else "labels"
        found[name] = logits[inside] if by_token else logits
    found["pair"] = out.get("seq_relationship_logits")
    if "start_logits" in out:
        found["first"], found["last"] = out.start_logits[inside], out.end_logits[inside]
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def difference(pretrained: Pretrained, model: transformers.PreTrainedModel) -> float:
    """Give the largest difference of any output that both have."""
    batch = tokens()
    mine, other = ours(pretrained, batch), theirs(model, batch)
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


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_equals_transformers_in_both_directions(
    family: Family, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found: dict[str, float] = {}
    for head, activation in product(family.heads, ("gelu", "gelu_tanh", "relu")):
        spec = replace(SPEC, activation=activation)
        made = tmp_path / f"{head}-{activation}"
        model = peer(family, head, spec)
        model.save_pretrained(made / "theirs")
        found[f"{head} {activation} read"] = difference(read(made / "theirs", head), model)
        pretrained = own(family, head, spec)
        write(pretrained, made / "ours")
        opened = type(model).from_pretrained(made / "ours").eval()
        found[f"{head} {activation} written"] = difference(pretrained, opened)
    with capsys.disabled():
        print(
            f"\n{family.name}: {', '.join(family.heads)} x 3 activations, read and written,"
            f" largest difference {max(found.values()):.1e}"
        )
    assert {case: size for case, size in found.items() if not size < TOLERANCE} == {}


TENSORS = [
    pytest.param(family, head, name, id=f"{family.name}-{head}-{name}")
    for family in FAMILIES.values()
    for number, head in enumerate(family.heads)
    for name in own(family, head, SPEC).network.state_dict()
    if number == 0 or name.startswith("head.")
]


@pytest.mark.parametrize(("family", "head", "name"), TENSORS)
def test_a_mutated_tensor_is_seen(family: Family, head: str, name: str) -> None:
    model, pretrained = peer(family, head, SPEC), own(family, head, SPEC)
    weights = model.state_dict()
    prefix = "" if family.heads[head].prefixed else family.prefix
    names = {
        n: family.names.theirs(n).removeprefix(prefix) for n in pretrained.network.state_dict()
    }
    pretrained.network.load_state_dict({ours: weights[n] for ours, n in names.items()})
    assert difference(pretrained, model) < TOLERANCE
    tensor = pretrained.network.get_parameter(name)
    with torch.no_grad():
        tensor += torch.randn(tensor.shape, generator=torch.Generator().manual_seed(2)) * 0.1
    if name.endswith("attention.key.bias"):
        # It adds the same to all logits of a query: no output can show it, only the tensor itself.
        assert difference(pretrained, model) < TOLERANCE
        assert not torch.equal(tensor, weights[names[name]])
    else:
        assert difference(pretrained, model) > 100 * TOLERANCE


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_every_tensor_goes_through_files_unchanged(family: Family, tmp_path: Path) -> None:
    head = next(iter(family.heads))
    model = peer(family, head, SPEC)
    model.save_pretrained(tmp_path / "theirs")
    write(read(tmp_path / "theirs"), tmp_path / "ours")
    opened = type(model).from_pretrained(tmp_path / "ours").state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(opened[name], tensor), name
