"""Distillation: its losses by their definitions, its students, and whole runs."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModelForMaskedLM

import runs
import tiny
import unmask
from parity import STRUCTURES, own
from unmask.data.masking import Vocabulary
from unmask.data.packing import Packed
from unmask.errors import UserError
from unmask.exchange import huggingface
from unmask.objectives.distillation import Distillation, DistillationObjective, divergence
from unmask.objectives.masked import MaskedObjective
from unmask.train.distill import spaced

LENGTHS = [9, 4, 12]
SETS = [one for one in runs.SETS if not one.startswith("model.")]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.make_store(tmp_path_factory.mktemp("data") / "store")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    huggingface.write(tiny.pretrained(tiny.tokenizer(), "pretraining", positions=64), folder)
    return folder


def test_twelve_layers_give_the_six_of_distilbert() -> None:
    assert spaced(12) == [0, 2, 4, 7, 9, 11]
    assert spaced(24)[0::11] == [0, 23]
    assert spaced(4) == [0, 3]
    assert spaced(2) == [0]
    assert spaced(1) == [0]


def test_the_divergence_is_that_of_softened_distributions() -> None:
    generator = torch.Generator().manual_seed(0)
    ours, theirs = torch.randn(2, 7, 11, generator=generator)
    p, q = (theirs / 2).softmax(-1), (ours / 2).softmax(-1)
    part = divergence(ours, theirs, 2.0)
    torch.testing.assert_close(part.total, 4 * (p * (p / q).log()).sum())
    assert part.correct == (ours.argmax(-1) == theirs.argmax(-1)).sum()
    assert divergence(theirs, theirs, 2.0).total.abs() < 1e-5


@pytest.mark.parametrize("every", [False, True])
def test_the_three_losses_follow_their_definitions(every: bool) -> None:
    words = tiny.tokenizer()
    teacher = tiny.pretrained(words, "masked-lm").network
    student = tiny.pretrained(words, "masked-lm").network
    with torch.no_grad():
        for parameter in student.parameters():
            parameter += 0.05
    settings = Distillation(all_tokens=every)
    masked = MaskedObjective(vocabulary=Vocabulary.of(words))
    objective = DistillationObjective(masked=masked, teacher=teacher, settings=settings)
    ids = np.random.default_rng(0).integers(5, 40, sum(LENGTHS))
    packed = Packed(ids, np.cumsum([0, *LENGTHS]), None, None)
    batch = objective.corrupt(packed, np.random.default_rng(0))
    parts = objective.loss(student.encoder, student.head, batch)
    with torch.no_grad():
        hidden, shown = student(batch.tokens), teacher(batch.tokens)
        assert student.head.masked is not None
        assert teacher.head.masked is not None
        scores, taught = student.head.masked(hidden), teacher.head.masked(shown)
        rows = torch.arange(len(ids)) if every else batch.rows
        soft = divergence(scores[rows], taught[rows], 2.0).total
        mlm = F.cross_entropy(scores[batch.rows], batch.labels, reduction="sum")
        cosine = (1 - F.cosine_similarity(hidden, shown)).sum()
    assert batch.counts == {"mlm": len(batch.rows), "soft": len(rows), "cosine": len(ids)}
    for name, wanted in (("mlm", mlm), ("soft", soft), ("cosine", cosine)):
        torch.testing.assert_close(parts[name].total, wanted, atol=1e-3, rtol=1e-4)
    assert {name: part.weight for name, part in parts.items()} == {
        "mlm": 2.0,
        "soft": 5.0,
        "cosine": 1.0,
    }
    sum(part.total for part in parts.values()).backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(parameter.grad is not None for parameter in student.parameters())


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"soft": -1.0}, "distillation.soft"), ({"temperature": 0.0}, "distillation.temperature")],
)
def test_impossible_settings_are_refused_by_name(fields: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Distillation(**fields)


def test_a_run_leaves_a_student_that_transformers_opens(
    store: Path, teacher: Path, tmp_path: Path
) -> None:
    def distill(steps: int) -> unmask.train.pretraining.PretrainResult:
        return unmask.distill(
            str(store),
            teacher=str(teacher),
            out=tmp_path / "run",
            steps=steps,
            heldout="0.2",
            set=SETS,
            probe=["The quick [MASK] jumped."],
        )

    result = distill(4)
    names = {"heldout_mlm_loss", "heldout_soft_loss", "heldout_cosine_loss", "unigram_loss"}
    assert names <= result.figures.keys()
    config = json.loads((Path(result.model) / "config.json").read_text())
    assert (config["model_type"], config["n_layers"], config["dim"]) == ("distilbert", 1, 16)
    assert AutoModelForMaskedLM.from_pretrained(result.model) is not None
    rows = [json.loads(row) for row in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    for row in rows:
        parts = 2 * row["mlm_loss"] + 5 * row["soft_loss"] + row["cosine_loss"]
        assert row["loss"] == pytest.approx(parts)
    assert distill(4) == result
    assert distill(6).steps == 6


def test_the_student_begins_as_its_teacher(store: Path, teacher: Path, tmp_path: Path) -> None:
    """With all layers, and a rate of nothing, it is the teacher."""
    result = unmask.distill(
        str(store),
        teacher=str(teacher),
        out=tmp_path,
        steps=1,
        heldout="0.2",
        set=[*SETS, "layers=[0,1]", "optimizer.rate=0.0"],
    )
    texts = ["The quick fox jumped.", "A bear"]
    ours, theirs = (unmask.Model.from_pretrained(path) for path in (result.model, teacher))
    for one, other in zip(ours.encode(texts), theirs.encode(texts), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["layers=[0,7]"], r"layers \[0, 7\]: the teacher has the layers 0 to 1"),
        (["model.width=8"], "its teacher's; choose its layers"),
        (["data.form='pairs'"], "data.form = 'singles' only"),
    ],
)
def test_what_cannot_be_distilled_is_refused(
    store: Path, teacher: Path, tmp_path: Path, sets: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        unmask.distill(
            str(store),
            teacher=str(teacher),
            out=tmp_path,
            steps=1,
            heldout="0.2",
            set=[*SETS, *sets],
        )


def test_a_teacher_of_other_words_is_refused(store: Path, tmp_path: Path) -> None:
    words = tiny.WordPiece(tiny.describe([*tiny.SPECIAL, *"abcdefg"], cased=False))
    huggingface.write(tiny.pretrained(words, "masked-lm", 64), tmp_path / "teacher")
    with pytest.raises(UserError, match="its tokenizer is not the one"):
        unmask.distill(
            str(store), teacher=str(tmp_path / "teacher"), out=tmp_path / "run", steps=1, set=SETS
        )


@pytest.mark.parametrize(
    ("family", "changed", "message"),
    [
        ("albert", {}, "the layers of albert share their weights"),
        ("xlm", {"causal": True}, "its tokens see only what comes before"),
        ("bert", {"eps": 1e-5}, "distilbert has no setting for eps"),
    ],
)
def test_a_teacher_that_cannot_teach_is_refused(
    family: str, changed: dict[str, object], message: str, store: Path, tmp_path: Path
) -> None:
    words = tiny.tokenizer()
    made = huggingface.families()[family]
    spec = replace(
        next(iter(STRUCTURES[family].values())), pieces=words.vocab_size, positions=64, **changed
    )
    teacher = replace(own(made, "masked-lm", spec), tokenizer=words.with_template(made.template))
    huggingface.write(teacher, tmp_path / "teacher")
    with pytest.raises(UserError, match=message):
        unmask.distill(
            str(store), teacher=str(tmp_path / "teacher"), out=tmp_path / "run", steps=1, set=SETS
        )


def test_a_student_has_its_teachers_structure(store: Path, tmp_path: Path) -> None:
    words = tiny.tokenizer()
    made = huggingface.families()["flaubert"]
    spec = replace(
        STRUCTURES["flaubert"]["plain"], pieces=words.vocab_size, positions=64, norm_first=True
    )
    teacher = replace(own(made, "masked-lm", spec), tokenizer=words.with_template(made.template))
    huggingface.write(teacher, tmp_path / "teacher")
    result = unmask.distill(
        str(store),
        teacher=str(tmp_path / "teacher"),
        out=tmp_path / "run",
        steps=1,
        heldout="0.2",
        set=SETS,
    )
    assert huggingface.read(result.model).spec == replace(spec, layers=1)


def test_another_teacher_is_refused_when_a_run_goes_on(
    store: Path, teacher: Path, tmp_path: Path
) -> None:
    own_teacher = tmp_path / "teacher"
    shutil.copytree(teacher, own_teacher)
    options = {"teacher": str(own_teacher), "out": tmp_path / "run", "heldout": "0.2", "set": SETS}
    unmask.distill(str(store), steps=1, **options)
    other = tiny.pretrained(tiny.tokenizer(), "pretraining", positions=64)
    with torch.no_grad():
        other.network.encoder.embeddings.piece.weight += 0.1
    huggingface.write(other, own_teacher)
    with pytest.raises(UserError, match="teacher has other content now"):
        unmask.distill(str(store), steps=2, **options)
