"""Distillation from end to end: a teacher and stores in, a run folder with a smaller model out."""

from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from unmask import hardware
from unmask.errors import UserError
from unmask.exchange import huggingface
from unmask.exchange.huggingface import Pretrained
from unmask.objectives.distillation import Distillation, DistillationObjective
from unmask.objectives.masked import MaskedObjective
from unmask.train.corpus import Corpus
from unmask.train.parallel import world
from unmask.train.pretrain import carry_out, lasting
from unmask.train.pretraining import PretrainResult
from unmask.train.recipe import Recipe, compose, packaged
from unmask.train.settings import Settings
from unmask.train.structure import family_of, structure
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
        teacher = huggingface.read(options.teacher, "masked-lm")
        recipe = lasting(_recipe(options, teacher), options.steps, options.budget)
        corpus = Corpus(
            options.stores, options.heldout, recipe, family_of(recipe).template, options.seed
        )
        _check_tokenizer(teacher, corpus, options.teacher)
        assert isinstance(corpus.objective, MaskedObjective), "the recipe has no other"
        teacher.network.to(device).requires_grad_(requires_grad=False)
        corpus.objective = DistillationObjective(
            masked=corpus.objective, teacher=teacher.network, settings=recipe.distillation
        )
        wanted = DistilSettings(
            stores=corpus.sources,
            heldout=corpus.heldout_name,
            heldout_fingerprint=corpus.heldout_fingerprint,
            seed=options.seed,
            probe=options.probe,
            budget=options.budget,
            recipe=recipe,
            teacher=options.teacher,
        )
        start = student_of(teacher, recipe, corpus)
        return carry_out(options, wanted, corpus, lambda: start, device, ranks)


def _recipe(options: DistillOptions, teacher: Pretrained) -> DistilRecipe:
    """Load the recipe, with a student of the teacher's sizes."""
    spec, family = teacher.spec, teacher.family.name
    if spec.blocks < spec.layers:
        raise UserError(
            f"--teacher {options.teacher}: the layers of {family} share their weights; none can be"
            " taken out. Distil from a BERT or a RoBERTa"
        )
    layers = spaced(spec.layers)
    model = {
        "family": STUDENTS.get(family, family),
        "width": spec.width,
        "layers": len(layers),
        "heads": spec.heads,
        "inner": spec.inner,
        "positions": spec.longest,
        "activation": spec.activation,
    }
    tables: list[dict[str, Any]] = [packaged("fast"), packaged("distil")]
    tables.append({"model": model, "layers": layers})
    recipe = compose(DistilRecipe, "distil", tables, options.config, options.set)
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


def student_of(teacher: Pretrained, recipe: DistilRecipe, corpus: Corpus) -> Pretrained:
    """Make the student: the teacher's embeddings and head, and some of its layers.

    Raises UserError for a size that is not the teacher's.
    """
    tokenizer, family = corpus.tokenizer, family_of(recipe)
    pad, languages = tokenizer.pad or 0, len(tokenizer.languages)
    spec = replace(structure(recipe, teacher.spec.pieces, pad, languages), eps=teacher.spec.eps)
    network = family.network(spec, "masked-lm")
    have: dict[str, Tensor] = teacher.network.state_dict()
    blocks = {f"encoder.blocks.{new}.": old for new, old in enumerate(recipe.layers)}

    def taken(name: str) -> Tensor:
        for prefix, old in blocks.items():
            if name.startswith(prefix):
                return have[f"encoder.blocks.{old}.{name.removeprefix(prefix)}"]
        return have[name]

    begun = {name: taken(name) for name in network.state_dict()}
    lacks = teacher.network.encoder.embeddings.segment
    if lacks is not None and spec.segments == 0:  # of one text all tokens have the first segment
        table = "encoder.embeddings.position.weight"
        begun[table] = begun[table] + lacks.weight[0]
    for name, tensor in network.state_dict().items():
        if begun[name].shape != tensor.shape:
            raise UserError(
                f"the student's {name} is {tuple(tensor.shape)} and the teacher's"
                f" {tuple(begun[name].shape)}; leave the sizes in [model] as they are"
            )
    network.load_state_dict(begun)
    return Pretrained(
        family=family,
        spec=spec,
        network=network,
        head="masked-lm",
        tokenizer=tokenizer,
        config=dict.fromkeys(family.dropout, recipe.dropout),
    )


def _check_tokenizer(teacher: Pretrained, corpus: Corpus, source: str) -> None:
    """Refuse a teacher that reads other pieces than the stores hold."""
    theirs = teacher.tokenizer
    if theirs is None or theirs.fingerprint != corpus.tokenizer.fingerprint:
        raise UserError(
            f"--teacher {source}: its tokenizer is not the one that the stores were made with;"
            f" prepare them with --tokenizer {source}"
        )
