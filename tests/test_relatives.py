"""Every family does what its heads are for with the same task code as BERT, and is fine-tuned."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest

import labelled
import tiny
import unmask
from parity import STRUCTURES, strengthen
from samples import KINDS, READING, SAMPLES, records, task
from unmask.contracts import Family
from unmask.exchange import huggingface
from unmask.exchange.huggingface import Pretrained
from unmask.predict.model import Model
from unmask.registry import discover

FAMILIES: dict[str, Family] = discover("unmask.families", "FAMILY")
WORDS = tiny.tokenizer()


def pretrained(family: Family, head: str, labels: tuple[str, ...] = ()) -> Pretrained:
    """Build the family's first structure for the tiny vocabulary."""
    spec = next(iter(STRUCTURES[family.name].values()))
    spec = replace(spec, pieces=WORDS.vocab_size, positions=spec.positions and 32)
    if spec.source is not None:
        source = replace(spec.source, pieces=spec.pieces, positions=spec.positions)
        spec = replace(spec, source=source)
    if spec.position_start:  # positions are counted from behind the pad token
        spec = replace(spec, position_start=WORDS.ids["pad"] + 1)
    network = family.network(spec, head, len(labels)).eval()
    strengthen(network)
    words = WORDS.with_template(family.template)
    return Pretrained(
        family=family, spec=spec, network=network, head=head, tokenizer=words, labels=labels
    )


CASES = [
    pytest.param(family, name, id=f"{family.name}-{name}")
    for family in FAMILIES.values()
    for name, kind in KINDS.items()
    if kind.head in family.heads
]


@pytest.mark.parametrize(("family", "name"), CASES)
def test_every_task_is_done_by_every_family(family: Family, name: str, tmp_path: Path) -> None:
    made = task(name)
    model = pretrained(family, KINDS[name].head, made.labels)
    kept = {**made.config(), "unmask": {"task": name, "reading": asdict(READING)}}
    huggingface.write(replace(model, config=kept), tmp_path)
    opened = Model.from_pretrained(tmp_path)
    assert opened.pretrained.family is family
    assert opened.tokenizer.template == family.template
    assert (opened.purpose, opened.task) == (made, name)
    (found,) = opened.predict([SAMPLES[name].item], top_k=2)
    if SAMPLES[name].learns:
        assert all(set(one) == SAMPLES[name].keys for one in found)
        batch = made.batch(
            [
                window
                for record in records(name)
                if getattr(record, "texts", None) != ("",)  # which is nothing at all for GPT-2
                for window in made.windows([record], opened.tokenizer)[0]
            ]
        )
        made.loss(opened.network.encoder, opened.network.head, batch)["task"].total.backward()
        table = opened.network.encoder.embeddings.piece.weight.grad
        assert table is not None
        assert table.isfinite().all()
        assert table.any()


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_every_family_gives_vectors(family: Family, tmp_path: Path) -> None:
    huggingface.write(pretrained(family, next(iter(family.heads))), tmp_path)
    opened = Model.from_pretrained(tmp_path)
    one, two = opened.embed(["the fox", "a dog"], pooling="cls")
    row = 0 if family.template.summary == "first" else -1
    (states,) = opened.encode(["a dog"])
    assert two == pytest.approx(states[row], abs=1e-5)
    assert one != pytest.approx(two, abs=1e-2)


@pytest.mark.parametrize("name", ["albert", "gpt2", "xlnet"])
def test_families_of_every_kind_learn_a_task(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]
    start = pretrained(family, next(iter(family.heads)))
    huggingface.write(start, tmp_path / "start")
    result = unmask.finetune(
        task="text-classification",
        model=str(tmp_path / "start"),
        train=labelled.tsv(tmp_path / "train.tsv", labelled.sentences(120, seed=1)),
        eval=labelled.tsv(tmp_path / "eval.tsv", labelled.sentences(20, seed=2)),
        out=tmp_path / "run",
        set=[*labelled.SETS, "dropout=0.0", "micro_tokens=512"],
        batch=8,
        rate=0.01,
        epochs=8,
    )
    text = labelled.sentences(1, seed=3)[0][0]
    again = Model.from_pretrained(tmp_path / "run" / "model").predict([text])
    assert again[0]["score"] == pytest.approx(result.model.predict([text])[0]["score"], abs=1e-5)
    assert result.metrics["accuracy"] > 0.9
