"""Distillation from end to end: a teacher and stores in, a run folder with a smaller model out."""

from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from unmask import hardware
from unmask.data.masking import Vocabulary
from unmask.errors import UserError
from unmask.exchange import huggingface
from unmask.exchange.huggingface import Pretrained
from unmask.objectives.distillation import Distillation, DistillationObjective
from unmask.objectives.masked import MaskedObjective
from unmask.text.tokenizer import Tokenizer
from unmask.train.corpus import Corpus
from unmask.train.parallel import world
from unmask.train.pretrain import carry_out, lasting
from unmask.train.pretraining import PretrainResult
from unmask.train.recipe import Recipe, Shape, compose, packaged
from unmask.train.settings import Settings
from unmask.train.structure import check_kept, check_tokenizer, family_of, fresh
from unmask.verbs import DistillOptions, verb

STUDENTS = {"bert": "distilbert"}
"""Families whose students are of another one; the others' are of their own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DistilRecipe(Recipe):
    """All settings of a distillation."""

    layers: list[int]
    """The teacher's layers that the student begins with, counted from 0."""
    distillation: Distillation = field(default_factory=Distillation)


@dataclass(frozen=True, kw_only=True, slots=True)
class DistilSettings(Settings):
    """Everything that a distillation was started with, resolved."""

    teacher: str
    """Folder or hub id."""
    teacher_fingerprint: str
    """Of its weights."""
    recipe: DistilRecipe


@verb(DistillOptions)
def distill(options: DistillOptions) -> PretrainResult:
    """Train a smaller model to do what a teacher does, or go on with the run that `out` holds.

    Raises UserError for impossible settings, damaged input or a teacher that cannot teach, and
    KeyboardInterrupt, after saving, when it is stopped by Ctrl-C or SIGTERM.
    """
    hardware.keep_memory()
    device = hardware.device()
    with world(device) as ranks:
        teacher = _teacher(options.teacher)
        recipe = lasting(_recipe(options, teacher), options.steps, options.budget)
        family = family_of(recipe)

        def objective(recipe: Recipe, vocabulary: Vocabulary) -> DistillationObjective:
            """Make what the student learns, with the teacher on the device."""
            assert isinstance(recipe, DistilRecipe), "the corpus gives back what it was given"
            masked = MaskedObjective(vocabulary=vocabulary, masking=recipe.masking)
            network = teacher.network.to(device).requires_grad_(requires_grad=False)
            return DistillationObjective(
                masked=masked, teacher=network, settings=recipe.distillation
            )

        corpus = Corpus(
            options.stores, options.heldout, recipe, family.template, options.seed, objective
        )
        check_tokenizer(teacher, corpus.tokenizer, f"--teacher {options.teacher}")
        wanted = DistilSettings(
            stores=corpus.sources,
            heldout=corpus.heldout_name,
            heldout_fingerprint=corpus.heldout_fingerprint,
            seed=options.seed,
            probe=options.probe,
            budget=options.budget,
            recipe=recipe,
            teacher=options.teacher,
            teacher_fingerprint=teacher.fingerprint,
        )
        start = student_of(teacher, recipe, corpus.tokenizer)
        return carry_out(options, wanted, corpus, lambda: start, device, ranks)


def _teacher(source: str) -> Pretrained:
    """Read a teacher. Raises UserError for one whose layers cannot be taken apart, or is causal."""
    teacher = huggingface.read(source, "masked-lm")
    if teacher.spec.blocks < teacher.spec.layers:
        raise UserError(
            f"--teacher {source}: the layers of {teacher.family.name} share their weights; none can"
            " be taken out. Distil from a BERT or a RoBERTa"
        )
    if teacher.spec.causal:
        raise UserError(
            f"--teacher {source}: its tokens see only what comes before; it cannot fill masks"
        )
    return teacher


def _recipe(options: DistillOptions, teacher: Pretrained) -> DistilRecipe:
    """Load the recipe, with a student of the teacher's sizes."""
    spec, family = teacher.spec, teacher.family.name
    layers = spaced(spec.layers)
    sizes: dict[str, Any] = {
        "family": STUDENTS.get(family, family),
        "width": spec.width,
        "layers": len(layers),
        "heads": spec.heads,
        "inner": spec.inner,
        "positions": spec.longest,
        "activation": spec.activation,
    }
    tables = [packaged("fast"), packaged("distil"), {"model": sizes, "layers": layers}]
    recipe = compose(DistilRecipe, "distil", tables, options.config, options.set)
    if recipe.model != Shape(**sizes):
        raise UserError("[model] of a student is its teacher's; choose its layers by layers=[...]")
    if not recipe.layers or not all(0 <= layer < spec.layers for layer in recipe.layers):
        raise UserError(
            f"layers {recipe.layers}: the teacher has the layers 0 to {spec.layers - 1}"
        )
    if recipe.objective != "masked" or recipe.data.form != "singles":
        raise UserError("a student learns with objective = 'masked' and data.form = 'singles' only")
    return replace(recipe, model=replace(recipe.model, layers=len(recipe.layers)))


def spaced(layers: int) -> list[int]:
    """Choose half of so many layers, the first and the last among them, at even distances.

    Of twelve these are 0, 2, 4, 7, 9 and 11, as DistilBERT has them.
    """
    half = max(1, layers // 2)
    return [round(place * (layers - 1) / max(1, half - 1)) for place in range(half)]


def student_of(teacher: Pretrained, recipe: DistilRecipe, tokenizer: Tokenizer) -> Pretrained:
    """Make the student: the teacher's embeddings and head, and some of its layers.

    Raises UserError for a teacher whose structure the student's family cannot say.
    """
    family = family_of(recipe)
    spec = replace(teacher.spec, layers=len(recipe.layers), schedule=None)
    without_segments = family.name in STUDENTS.values() and spec.segments > 0
    if without_segments:
        spec = replace(spec, segments=0)
    check_kept(family, spec)
    student = fresh(family, spec, "masked-lm", tokenizer, recipe.dropout)
    have: dict[str, Tensor] = teacher.network.state_dict()
    blocks = {f"encoder.blocks.{new}.": old for new, old in enumerate(recipe.layers)}

    def taken(name: str) -> Tensor:
        """Give the teacher's tensor that a tensor of the student begins as."""
        for prefix, old in blocks.items():
            if name.startswith(prefix):
                return have[f"encoder.blocks.{old}.{name.removeprefix(prefix)}"]
        return have[name]

    begun = {name: taken(name) for name in student.network.state_dict()}
    if without_segments:  # all tokens of one text have the first segment
        segment, table = "encoder.embeddings.segment.weight", "encoder.embeddings.position.weight"
        begun[table] = begun[table] + have[segment][0]
    student.network.load_state_dict(begun)
    return student
