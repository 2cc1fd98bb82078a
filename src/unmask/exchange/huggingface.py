"""Model folders as the field has them: config.json, model.safetensors and the tokenizer's files.

Read from a folder or from the hub, written so that `transformers` opens them.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from unmask.contracts import Family
from unmask.errors import UserError
from unmask.model.network import Network
from unmask.model.spec import Spec
from unmask.registry import discover
from unmask.text.tokenizer import Tokenizer

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
OLD_WEIGHTS = "pytorch_model.bin"


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
    config: Mapping[str, Any] = field(default_factory=dict)
    """The config.json that it was read from, so that settings not used here are kept."""


def read(source: str | Path, head: str | None = None) -> Pretrained:
    """Read a model from a folder or, by its id, from the hub.

    head: which of the family's heads it must have; when absent, the largest that it has all tensors
    of. The network is in float32 and in evaluation mode. Raises UserError for a model that is not
    there, not supported or damaged, and for missing, unexpected or misshapen tensors, by name.
    """
    folder = locate(source)
    config = _json(folder / "config.json")
    family = _family(config, folder)
    try:
        spec = family.spec(config)
    except UserError as error:
        raise UserError(f"{folder / 'config.json'}: {error}") from error
    found = _ours(_tensors(folder), family, folder)
    if head is None:
        head = _largest(found, family, spec)
    elif head not in family.heads:
        raise UserError(
            f"head {head!r} does not exist; {family.name} has {', '.join(family.heads)}"
        )
    network = _fill(family, spec, head, found, folder)
    has_tokenizer = any((folder / name).exists() for name in ("tokenizer.json", "vocab.txt"))
    return Pretrained(
        family=family,
        spec=spec,
        network=network.eval(),
        head=head,
        tokenizer=Tokenizer.load(folder) if has_tokenizer else None,
        config=config,
    )


def write(pretrained: Pretrained, folder: str | Path) -> None:
    """Write a model folder. Each file is complete or not there at all."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if pretrained.tokenizer is not None:
        pretrained.tokenizer.save(folder)
    family, head = pretrained.family, pretrained.family.heads[pretrained.head]
    config = {
        "architectures": [head.architecture],
        "dtype": "float32",
        **family.config(pretrained.spec),
        **{
            k: v
            for k, v in pretrained.config.items()
            if k not in ("architectures", "torch_dtype", "dtype")
        },
    }
    assert family.spec(config) == pretrained.spec, "the kept settings contradict the structure"
    tensors = {}
    for name, tensor in pretrained.network.state_dict().items():
        theirs = family.names.theirs(name)
        if not head.prefixed:
            theirs = theirs.removeprefix(family.prefix)
        tensors[theirs] = tensor.detach().to("cpu", torch.float32).contiguous()
    _replace(folder / "config.json", (json.dumps(config, indent=2) + "\n").encode())
    _replace(folder / WEIGHTS, save(tensors, metadata={"format": "pt"}))
    _replace(folder / "README.md", _card(pretrained).encode())


def locate(source: str | Path) -> Path:
    """Find a model's folder: a folder as it is, else the files of a hub id, downloaded once."""
    folder = Path(source)
    if folder.is_dir():
        return folder
    if isinstance(source, Path) or str(source).count("/") > 1 or str(source).startswith("."):
        raise UserError(f"{source}: no such folder; --model takes a model folder or a hub id")
    try:
        found = Path(
            snapshot_download(
                source, allow_patterns=["*.json", "*.txt", "*.safetensors"], ignore_patterns=["*/*"]
            )
        )
        if not any(found.glob("*.safetensors")):
            snapshot_download(source, allow_patterns=[OLD_WEIGHTS])
        return found
    except (
        HFValidationError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        OSError,
    ) as error:
        raise UserError(
            f"{source}: no such folder, and the hub did not give it ({type(error).__name__});"
            " check the name and the network"
        ) from error


def _family(config: Mapping[str, Any], folder: Path) -> Family:
    families: dict[str, Family] = discover("unmask.families", "FAMILY")
    kind = config.get("model_type")
    if kind not in families:
        raise UserError(
            f"{folder / 'config.json'}: model_type is {kind!r}; there are {', '.join(families)}"
        )
    return families[kind]


def _tensors(folder: Path) -> dict[str, Tensor]:
    """Load every tensor of a checkpoint under its own name."""
    try:
        if (folder / WEIGHTS).exists():
            return load_file(folder / WEIGHTS)
        if (folder / INDEX).exists():
            files = sorted(set(_json(folder / INDEX)["weight_map"].values()))
            return {k: v for file in files for k, v in load_file(folder / file).items()}
        if (folder / OLD_WEIGHTS).exists():
            # weights_only: a pickle that a user brings must not run code
            return dict(torch.load(folder / OLD_WEIGHTS, map_location="cpu", weights_only=True))
    except (SafetensorError, OSError, RuntimeError) as error:
        raise UserError(f"{folder}: the weights cannot be read ({error})") from error
    raise UserError(f"{folder}: neither {WEIGHTS} nor {INDEX} nor {OLD_WEIGHTS} is there")


def _ours(tensors: Mapping[str, Tensor], family: Family, folder: Path) -> dict[str, Tensor]:
    """Name a checkpoint's tensors as ours; with or without the family's prefix."""
    found, unexpected = {}, []
    for name, tensor in tensors.items():
        ours = family.names.ours(name) or family.names.ours(family.prefix + name)
        if name.removeprefix(family.prefix) in family.copies:
            continue
        if ours is None:
            unexpected.append(f"{name} {tuple(tensor.shape)}")
        else:
            found[ours] = tensor
    if unexpected:
        raise UserError(f"{folder}: unexpected tensors {', '.join(unexpected)}")
    return found


def _largest(found: Mapping[str, Tensor], family: Family, spec: Spec) -> str:
    with torch.device("meta"):
        for head in family.heads:
            if family.network(spec, head).state_dict().keys() <= found.keys():
                return head
    return list(family.heads)[-1]


def _fill(
    family: Family, spec: Spec, head: str, found: Mapping[str, Tensor], folder: Path
) -> Network:
    """Build a network of these tensors; those of other heads are left aside."""
    with torch.device("meta"):
        network = family.network(spec, head)
    wanted = network.state_dict()
    missing = [
        f"{family.names.theirs(k)} {tuple(v.shape)}" for k, v in wanted.items() if k not in found
    ]
    if missing:
        raise UserError(f"{folder}: missing tensors {', '.join(missing)}")
    wrong = [
        f"{family.names.theirs(k)} {tuple(found[k].shape)} instead of {tuple(v.shape)}"
        for k, v in wanted.items()
        if found[k].shape != v.shape
    ]
    if wrong:
        raise UserError(f"{folder}: misshapen tensors {', '.join(wrong)}")
    network.load_state_dict({k: found[k].float() for k in wanted}, assign=True)
    return network.requires_grad_()


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; a model folder has one") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not JSON ({error})") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: not a JSON object")
    return value


def _replace(path: Path, content: bytes) -> None:
    """Write a file beside its place, then put it there in one step."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    os.replace(part, path)


def _card(pretrained: Pretrained) -> str:
    spec = pretrained.spec
    parameters = sum(p.numel() for p in pretrained.network.parameters())
    return f"""---
library_name: transformers
tags: [{pretrained.family.name}, unmask]
---
# A {pretrained.family.name} of {parameters:,} parameters

{spec.layers} layers of width {spec.width} with {spec.heads} attention heads, sequences of up to
{spec.positions} tokens, a vocabulary of {spec.pieces:,}. Saved by unmask; `transformers` opens it
as `{pretrained.family.heads[pretrained.head].architecture}`.

What it was trained on, and what it must not be used for, is for its makers to add here.
"""
