"""The losses of pre-training equal transformers', and count only what is real."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor, nn

import tiny
from unmask.contracts import Batch, Part
from unmask.data.masking import Masking, Vocabulary
from unmask.data.packing import Packed
from unmask.exchange.huggingface import Pretrained, write
from unmask.objectives.masked import OBJECTIVE, MaskedObjective
from unmask.registry import discover
from unmask.tokens import Layout, Tokens

LENGTHS = np.array([9, 9, 9, 12, 5])


@pytest.fixture(scope="module")
def pretrained() -> Pretrained:
    return tiny.pretrained(tiny.tokenizer())


@pytest.fixture(scope="module")
def objective(pretrained: Pretrained) -> MaskedObjective:
    assert pretrained.tokenizer is not None
    return MaskedObjective(vocabulary=Vocabulary.of(pretrained.tokenizer), pair="nsp")


def packed(pairs: bool = True) -> Packed:
    rng = np.random.default_rng(0)
    ids = rng.integers(5, 40, LENGTHS.sum())
    ends = LENGTHS.cumsum()
    return Packed(
        ids=ids,
        cu_seqlens=np.concatenate([[0], ends]),
        segments=rng.integers(0, 2, ids.size) if pairs else None,
        labels=rng.integers(0, 2, LENGTHS.size) if pairs else None,
    )


def corrupt(objective: MaskedObjective, pairs: bool = True) -> Batch:
    return objective.corrupt(packed(pairs), np.random.default_rng(1))


def losses(objective: MaskedObjective, pretrained: Pretrained, batch: Batch) -> dict[str, Part]:
    network = pretrained.network
    return objective.loss(network.encoder, network.head, batch)


def mean(parts: dict[str, Part], batch: Batch) -> Tensor:
    return torch.stack([part.total / batch.counts[name] for name, part in parts.items()]).sum()


def test_is_found_by_its_name() -> None:
    assert discover("unmask.objectives", "OBJECTIVE")["masked"] is OBJECTIVE


def test_corrupting_hides_tokens_and_keeps_the_rest(objective: MaskedObjective) -> None:
    batch, before = corrupt(objective), packed()
    assert torch.equal(batch.labels, torch.from_numpy(before.ids)[batch.rows])
    untouched = np.ones(before.ids.size, dtype=bool)
    untouched[batch.rows] = False
    assert (batch.tokens.ids.numpy()[untouched] == before.ids[untouched]).all()
    assert batch.tokens.layout.lengths == tuple(LENGTHS)
    assert before.labels is not None
    assert batch.pairs is not None
    assert batch.pairs.tolist() == before.labels.tolist()
    assert batch.counts == {"mlm": len(batch.rows), "nsp": len(LENGTHS)}
    again = corrupt(objective)
    assert torch.equal(again.tokens.ids, batch.tokens.ids)
    other = objective.corrupt(packed(), np.random.default_rng(2))
    assert not torch.equal(other.rows, batch.rows)


def test_the_masking_is_that_of_the_config(objective: MaskedObjective) -> None:
    half = corrupt(replace(objective, masking=Masking(probability=0.5)))
    assert len(half.rows) > 2 * len(corrupt(objective).rows)


def peer(pretrained: Pretrained, tmp_path: object) -> transformers.PreTrainedModel:
    transformers.logging.disable_progress_bar()
    write(pretrained, str(tmp_path))
    return transformers.AutoModelForPreTraining.from_pretrained(str(tmp_path)).eval()


def theirs(model: nn.Module, batch: Batch) -> Tensor:
    """Give the loss of transformers, which takes padded rows."""
    tokens, layout = batch.tokens, batch.tokens.layout
    assert tokens.segments is not None
    inside = torch.arange(layout.max_seqlen) < torch.tensor(layout.lengths)[:, None]
    ids, segments, labels = torch.zeros(3, *inside.shape, dtype=torch.int64)
    ids[inside], segments[inside] = tokens.ids, tokens.segments
    labels.fill_(-100)
    labels[inside] = torch.full_like(tokens.ids, -100).index_copy(0, batch.rows, batch.labels)
    loss: Tensor = model(
        input_ids=ids,
        attention_mask=inside.long(),
        token_type_ids=segments,
        labels=labels,
        next_sentence_label=batch.pairs,
    ).loss
    return loss


def test_loss_and_gradients_equal_transformers(
    objective: MaskedObjective, pretrained: Pretrained, tmp_path: object
) -> None:
    batch, model = corrupt(objective), peer(pretrained, tmp_path)
    pretrained.network.zero_grad()
    ours, wanted = mean(losses(objective, pretrained, batch), batch), theirs(model, batch)
    assert ours.item() == pytest.approx(wanted.item(), abs=1e-5)
    ours.backward()
    wanted.backward()
    names, parameters = (
        pretrained.family.names(pretrained.spec, pretrained.head),
        pretrained.network,
    )
    slopes = {n: p.grad for n, p in parameters.named_parameters() if p.grad is not None}
    assert len(slopes) == len(list(parameters.parameters()))
    for name, slope in names.theirs(slopes).items():
        grad = model.get_parameter(name).grad
        assert grad is not None
        assert torch.allclose(slope, grad, atol=1e-5), name
    assert batch.pairs is not None
    swapped = replace(batch, pairs=1 - batch.pairs)
    changed = mean(losses(objective, pretrained, swapped), swapped)
    assert abs(changed.item() - wanted.item()) > 1e-3


def test_how_many_are_right_is_counted(objective: MaskedObjective, pretrained: Pretrained) -> None:
    batch, network = corrupt(objective), pretrained.network
    assert network.head.masked is not None
    with torch.no_grad():
        best = network.head.masked(network(batch.tokens)[batch.rows]).argmax(-1)
    labels = best.clone()
    labels[0] = (best[0] + 1) % 9
    parts = losses(objective, pretrained, replace(batch, labels=labels))
    assert parts["mlm"].correct == len(labels) - 1


def test_single_texts_have_one_loss(objective: MaskedObjective, pretrained: Pretrained) -> None:
    batch = corrupt(objective, pairs=False)
    assert batch.pairs is None
    assert losses(objective, pretrained, batch).keys() == batch.counts.keys() == {"mlm"}


@torch.no_grad()
def test_fillers_do_not_count(objective: MaskedObjective, pretrained: Pretrained) -> None:
    batch = corrupt(objective)
    tokens, pairs = batch.tokens, batch.pairs
    assert tokens.segments is not None
    assert pairs is not None
    zeros = torch.zeros(9, dtype=torch.int64)
    lengths = [*LENGTHS.tolist(), 4, 5]
    filled = Batch(
        tokens=Tokens(
            torch.cat([tokens.ids, zeros]),
            Layout.of(lengths, real=len(LENGTHS)),
            torch.cat([tokens.segments, zeros]),
        ),
        rows=torch.cat([batch.rows, zeros[:2]]),
        labels=torch.cat([batch.labels, zeros[:2] - 100]),
        pairs=torch.cat([pairs, zeros[:2]]),
        counts=batch.counts,
    )
    plain, full = losses(objective, pretrained, batch), losses(objective, pretrained, filled)
    for name, part in plain.items():
        assert torch.allclose(part.total, full[name].total, atol=1e-4)
        assert part.correct == full[name].correct


def test_batches_move_to_a_device(objective: MaskedObjective) -> None:
    there = corrupt(objective).to(torch.device("meta"))
    assert there.rows.is_meta
    assert there.labels.is_meta
    assert there.tokens.ids.is_meta
    assert there.pairs is not None
    assert there.pairs.is_meta
