"""Model folders as the field has them: config.json, model.safetensors and the tokenizer's files.

Read from a folder or from the hub, written so that `transformers` opens them.
"""

import hashlib
import json
import os
import pickle
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from unmask.contracts import Family
from unmask.errors import UserError
from unmask.exchange.card import alike, card
from unmask.exchange.hub import OLD_WEIGHTS, locate, read_json
from unmask.model.network import Network
from unmask.model.spec import Spec
from unmask.registry import discover
from unmask.rewriting import OF_TASKS, of_task
from unmask.text.tokenizer import Tokenizer

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
GENERATION = "generation_config.json"
OURS = "unmask"
"""Key of config.json under which fine-tuning keeps the task and its reading."""
VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
"""Files of which a folder with a tokenizer has at least one."""
_OF_A_TASK = (
    "id2label",
    "label2id",
    "num_labels",
    "problem_type",
    "version_2_with_negative",
    OF_TASKS,
    "decoder_start_token_id",
    "eos_token_id",
    OURS,
)
"""Settings that belong to a head, and to how it was trained."""
CLASSIFIER = "head.classifier"
"""Where tensors that are made for certain labels have their names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pretrained:
    """A model with all that its folder holds."""

    family: Family
    spec: Spec
    network: Network
    head: str
    """Name of the head among the family's."""
    tokenizer: Tokenizer | None
    """None where the folder has none."""
    labels: tuple[str, ...] = ()
    """What a classifier tells apart, in the order of its scores."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """The config.json that it was read from, so that settings not used here are kept."""
    generation: Mapping[str, Any] = field(default_factory=dict)
    """The generation_config.json that stood beside it, where there was one."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """What config.json says and, over it, generation_config.json, as `transformers` has it."""
        return {**self.config, **self.generation}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all weights and what they are for."""
        digest = hashlib.sha256(f"{self.head} {self.labels}".encode())
        for name, tensor in sorted(self.network.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def with_head(
        self,
        head: str,
        labels: tuple[str, ...],
        config: Mapping[str, Any],
        generator: torch.Generator,
    ) -> tuple["Pretrained", list[str]]:
        """Put a head on the same encoder; its tensors that are not there yet are drawn at random.

        config: settings to be saved with the model. Returns the new model, which shares no tensor
        with this one, and the names of the drawn tensors, as checkpoints have them. A classifier
        of the same labels is kept. Raises UserError when the family has no such head.
        """
        _check_head(self.family, head)
        network = self.family.network(self.spec, head, len(labels))
        network.encoder.embeddings.spoken = self.network.encoder.embeddings.spoken
        network.initialise(generator)
        names, state = self.family.names(self.spec, head), network.state_dict()
        wanted = names.theirs(state)
        classifier = names.theirs({n: t for n, t in state.items() if n.startswith(CLASSIFIER)})
        same = (head, labels) == (self.head, self.labels)
        have = self.family.names(self.spec, self.head).theirs(self.network.state_dict())
        known = {
            name
            for name, tensor in wanted.items()
            if name in have and have[name].shape == tensor.shape
            if same or name not in classifier
        }
        merged = {name: have[name] if name in known else wanted[name] for name in wanted}
        network.load_state_dict(names.ours(merged))
        drawn = [name for name in wanted if name not in known]
        kept = {name: value for name, value in self.config.items() if name not in _OF_A_TASK}
        told = {**kept, **config}
        return replace(
            self, network=network, head=head, labels=labels, config=told, generation={}
        ), drawn

    @property
    def untold(self) -> bool:
        """Whether texts have a language that the model is not told."""
        return self.spec.languages > 0 and self.network.encoder.embeddings.spoken is None

    def speaking(self, language: str) -> "Pretrained":
        """Give the same model, with the same tensors, for texts of a language; it is saved so.

        Raises UserError for a language that its vocabulary does not list, or when it lists none.
        """
        if self.tokenizer is None:
            raise UserError(f"language {language!r}: the model has no tokenizer")
        tokenizer = self.tokenizer.with_language(language)
        with torch.device("meta"):
            network = self.family.network(self.spec, self.head, len(self.labels))
        network.load_state_dict(self.network.state_dict(keep_vars=True), assign=True)
        network.train(self.network.training)
        network.encoder.embeddings.spoken = tokenizer.languages.get(language)
        config = {**self.config, "language": language}
        return replace(self, network=network, tokenizer=tokenizer, config=config)


def read(source: str | Path, head: str | None = None, language: str | None = None) -> Pretrained:
    """Read a model from a folder or, by its id, from the hub.

    head: which of the family's heads it must have; when absent, the largest that it has all
    tensors of. language: of the texts it will read, where it tells languages apart; when absent
    the one that it was saved with, if it was. The network is in float32 and in evaluation mode.
    Raises UserError for a model that is not there, not supported or damaged, and for missing,
    unexpected or misshapen tensors.
    """
    folder = locate(source)
    config = read_json(folder / "config.json")
    family = _family(config, folder)
    if head is not None:
        _check_head(family, head)
    with _named(folder / "config.json"):
        spec, labels = family.spec(config), _labels(config)
    found = _present(_tensors(folder), family, spec)
    fitting_first = sorted(family.heads, key=lambda name: family.heads[name].causal != spec.causal)
    heads = {name: _shapes(family, spec, name, len(labels)) for name in fitting_first}
    with _named(folder / "config.json"):
        head = head or _head(heads, found, config.get("architectures") or [], family)
    with _named(folder):
        _check(heads[head], set().union(*heads.values()), found)
    with torch.device("meta"):
        network = family.network(spec, head, len(labels))
    tensors = {name: found[name].float() for name in heads[head]}
    network.load_state_dict(family.names(spec, head).ours(tensors), assign=True)
    classifier = network.head.classifier
    # A classifier of choices has one score, which has no name.
    told = classifier is not None and classifier.out_features == len(labels)
    spoken = language or config.get("language")
    generation = folder / GENERATION
    pretrained = Pretrained(
        family=family,
        spec=spec,
        network=network.eval(),
        head=head,
        tokenizer=_tokenizer(folder, family),
        labels=labels if told else (),
        config=config,
        generation=read_json(generation) if generation.exists() else {},
    )
    return pretrained if spoken is None else pretrained.speaking(spoken)


def write(pretrained: Pretrained, folder: str | Path) -> None:
    """Write a model folder. Each file is complete or not there at all."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if pretrained.tokenizer is not None:
        pretrained.tokenizer.save(folder)
    family, head = pretrained.family, pretrained.family.heads[pretrained.head]
    config: dict[str, Any] = family.config(pretrained.spec)
    if (words := pretrained.tokenizer) is not None:
        config["pad_token_id"] = words.pad
        if "following" in head.bricks:
            config["eos_token_id"] = words.sep
        if pretrained.spec.source is not None:
            config["decoder_start_token_id"] = words.cls
    config.update(pretrained.config)
    config.pop("torch_dtype", None)  # the older name of dtype
    config.update(architectures=[head.architecture], dtype="float32")
    if pretrained.labels:
        config["id2label"] = {str(i): label for i, label in enumerate(pretrained.labels)}
        config["label2id"] = {label: i for i, label in enumerate(pretrained.labels)}
    assert family.spec(config) == pretrained.spec, "the kept settings contradict the structure"
    state = pretrained.network.state_dict()
    named = family.names(pretrained.spec, pretrained.head).theirs(
        {name: tensor.detach().to("cpu", torch.float32) for name, tensor in state.items()}
    )
    tensors = {
        name if head.prefixed else name.removeprefix(family.prefix): tensor.contiguous()
        for name, tensor in named.items()
    }
    with _whole(folder / WEIGHTS) as part:
        save_file(tensors, part, metadata={"format": "pt"})
    with _whole(folder / "README.md") as part:
        about = card(family, pretrained.spec, pretrained.head, pretrained.network)
        part.write_text(about, encoding="utf-8")
    if settings := _generation(config, pretrained.generation):
        with _whole(folder / GENERATION) as part:
            part.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    with _whole(folder / "config.json") as part:
        part.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _generation(config: Mapping[str, Any], kept: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give the settings of a task that writes, with the tokens that begin and end its texts.

    `transformers` reads them out of a file of their own, and no more out of config.json. kept: what
    stood in that file before, which holds for a model that was fine-tuned for no such task.
    """
    task = (config.get(OURS) or {}).get("task")
    names = ("decoder_start_token_id", "eos_token_id", "pad_token_id")
    told = {name: config[name] for name in names if config.get(name) is not None}
    settings = of_task(config, task)
    return {**settings, **told} if settings else kept


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Let the user's mistakes be told with the path where they are."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def families() -> dict[str, Family]:
    """List every family by its name."""
    return discover("unmask.families", "FAMILY")


def family(source: str | Path) -> Family:
    """Tell the family of a model folder or hub id. Raises UserError for one that is not there."""
    folder = locate(source)
    return _family(read_json(folder / "config.json"), folder)


def _family(config: Mapping[str, Any], folder: Path) -> Family:
    known, kind = families(), config.get("model_type")
    if kind not in known:
        raise UserError(
            f"{folder / 'config.json'}: model_type is {kind!r}, a family that unmask lacks;"
            f" it would need a file in unmask/families, where there are {', '.join(known)}"
        )
    return known[kind]


def _tokenizer(folder: Path, family: Family) -> Tokenizer | None:
    """Read the tokenizer of a folder, if there is one, to lay sequences out as the family does."""
    if not any(found for name in VOCABULARIES for found in folder.glob(name)):
        return None
    tokenizer = Tokenizer.load(folder)
    with _named(folder):
        return tokenizer.with_template(family.template)


def _check_head(family: Family, head: str) -> None:
    if head not in family.heads:
        raise UserError(f"there is no head {head!r}; {family.name} has {', '.join(family.heads)}")


def _labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Read the names of the labels, in the order of their scores; two unnamed ones by default."""
    named = config.get("id2label")
    if named is None:
        return tuple(f"LABEL_{i}" for i in range(config.get("num_labels", 2)))
    try:
        numbered = {int(number): str(label) for number, label in named.items()}
        return tuple(numbered[number] for number in range(len(numbered)))
    except (AttributeError, KeyError, ValueError):
        raise UserError("id2label does not number labels from 0 on") from None


def _tensors(folder: Path) -> dict[str, Tensor]:
    """Load every tensor of a checkpoint under its own name."""
    path = next((p for n in (WEIGHTS, INDEX, OLD_WEIGHTS) if (p := folder / n).exists()), None)
    if path is None:
        raise UserError(f"{folder}: neither {WEIGHTS} nor {INDEX} nor {OLD_WEIGHTS} is there")
    try:
        if path.name == WEIGHTS:
            return load_file(path)
        if path.name == INDEX:
            files = [folder / name for name in sorted(set(read_json(path)["weight_map"].values()))]
            return {name: tensor for file in files for name, tensor in load_file(file).items()}
        # weights_only: a pickle that a user brings must not run code
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except (
        SafetensorError,
        OSError,
        RuntimeError,
        KeyError,
        EOFError,
        pickle.PickleError,
    ) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"{path}: the weights cannot be read ({type(error).__name__}: {reason}); get them anew"
        ) from error


def _present(tensors: Mapping[str, Tensor], family: Family, spec: Spec) -> dict[str, Tensor]:
    """Name a checkpoint's tensors as it would today, without copies of others."""
    every, found = [family.names(spec, head) for head in family.heads], {}
    for name, tensor in tensors.items():
        bare = name.removeprefix(family.prefix)
        if not any(fnmatchcase(bare, copy) for copy in family.copies):
            named = (names.known(n) for n in (name, family.prefix + name) for names in every)
            found[next(filter(None, named), name)] = tensor
    return found


def _shapes(family: Family, spec: Spec, head: str, labels: int) -> dict[str, tuple[int, ...]]:
    """Give the shape of every tensor of a checkpoint."""
    with torch.device("meta"):
        network = family.network(spec, head, labels)
    theirs = family.names(spec, head).theirs(network.state_dict())
    return {name: tuple(tensor.shape) for name, tensor in theirs.items()}


def _head(
    heads: Mapping[str, Mapping[str, Any]],
    found: Mapping[str, Any],
    architectures: Sequence[str],
    family: Family,
) -> str:
    """Find the largest head that all tensors are there of, or else one that the config names.

    Raises UserError where the config names another, which needs tensors that no other head has.
    """
    named = [name for name, kind in family.heads.items() if kind.architecture in architectures]
    complete = [head for head, tensors in heads.items() if all(name in found for name in tensors)]
    if fitting := [head for head in complete if head in named]:
        return fitting[0]
    if named or not complete:
        return (named or list(heads))[-1]  # it is not complete, which is an error that tells more
    rest = [name for name in found if not any(name in heads[head] for head in complete)]
    if architectures and rest:
        raise UserError(
            f"architectures is {', '.join(architectures)}, a head of {family.name} that unmask"
            f" lacks; it would need {', '.join(rest)}. There are"
            f" {', '.join(dict.fromkeys(kind.architecture for kind in family.heads.values()))}"
        )
    return complete[0]


def _check(
    wanted: Mapping[str, tuple[int, ...]], known: Container[str], found: Mapping[str, Tensor]
) -> None:
    """Compare the tensors of a checkpoint with those that are wanted, and those that are known."""
    complaints = {
        "missing": [f"{name} {shape}" for name, shape in wanted.items() if name not in found],
        "unexpected": [f"{n} {tuple(t.shape)}" for n, t in found.items() if n not in known],
        "misshapen": [
            f"{name} {tuple(found[name].shape)} instead of {shape}"
            for name, shape in wanted.items()
            if name in found and found[name].shape != shape
        ],
    }
    if any(complaints.values()):
        listed = "; ".join(f"{kind} {alike(names)}" for kind, names in complaints.items() if names)
        missing = complaints["missing"]
        if missing and all("crossattention" in name for name in missing):
            listed += ". A decoder without them is made one with Model.from_encoder_decoder"
        raise UserError(f"the tensors do not fit config.json: {listed}")


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Let a file be written beside its place, then put it there in one step."""
    part = path.with_name(path.name + ".part")
    yield part
    os.replace(part, path)
