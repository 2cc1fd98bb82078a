"""Who is timed on a GPU: unmask and transformers, with the same weights, by `gpu.py`.

T tokens of a batch.
"""

import copy
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from transformers import BertConfig, BertForPreTraining

from padding import Rows, rows
from unmask.contracts import Batch
from unmask.families.bert import FAMILY
from unmask.model.network import Network
from unmask.model.spec import Spec
from unmask.objectives.masked import MaskedObjective
from unmask.train.batches import StepData
from unmask.train.loop import Plan, Trainer
from unmask.train.parallel import World
from unmask.train.recipe import Optimizer, Schedule

T = TypeVar("T")
Found = Mapping[str, Tensor]
"""What is compared, by name, on the CPU."""
RATE = 1e-5
"""Low, so that all rounds are alike."""
CLIP = 1.0


@dataclass(frozen=True, slots=True)
class Work:
    """What a contestant can do with the batches of a case, again and again."""

    train: Callable[[], object]
    """Takes one step: forward, backward, update."""
    forward: Callable[[], object]
    """Runs the encoder once, in bfloat16 and without gradients."""


def network_of(spec: Spec) -> Network:
    """Draw random weights, always the same."""
    network = FAMILY.network(spec, "pretraining")
    network.initialise(torch.Generator().manual_seed(0))
    return network


def plan(dtype: torch.dtype) -> Plan:
    """Plan a run whose products are of a type."""
    return Plan(
        steps=1 << 20,
        phase_ends=(1 << 20,),
        evaluate_at=frozenset(),
        optimizer=Optimizer(rate=RATE, clip=CLIP),
        schedule=Schedule(),
        checkpoint_seconds=1e9,
        keep=1,
        seed=0,
        folder=Path(),
        dtype=dtype,
    )


def step_of(batch: Batch) -> StepData:
    """Make a step of one batch."""
    return StepData(batches=[batch], counts=batch.counts, tokens=len(batch.tokens.ids), state={})


def ours(
    spec: Spec,
    aim: MaskedObjective,
    batches: Sequence[Batch],
    device: torch.device,
    backend: str | None = None,
) -> Work:
    """What `unmask pretrain` repeats, with AdamW; backend: compiles the blocks.

    The batches are on the host, and are copied in every step.
    """
    network = network_of(spec).to(device)
    narrow = copy.deepcopy(network).bfloat16().eval()
    if backend is not None:
        network.compile_blocks(backend)
        narrow.compile_blocks(backend)
        most = max(len(batch.tokens.ids) for batch in batches)
        batches = [batch.filled(most + -most % 128) for batch in batches]
    network.train()
    trainer = Trainer(plan(torch.bfloat16), network, aim, World())
    turns, again = _endless(batches), _endless(batches)
    numbers = iter(range(1, 1 << 30))

    def train() -> None:
        number = next(numbers)
        trainer.step(step_of(turns()), number, number, RATE)

    @torch.inference_mode()
    def forward() -> Tensor:
        out: Tensor = narrow(again().tokens.to(device))
        return out

    return Work(train, forward)


def peer_of(spec: Spec, network: Network, attention: str) -> BertForPreTraining:
    """Give transformers' model of the same weights."""
    config = BertConfig(
        **FAMILY.config(spec),
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        attn_implementation=attention,
    )
    model = BertForPreTraining(config)
    state = FAMILY.names(spec, "pretraining").theirs(network.state_dict())
    missing = model.load_state_dict(state, strict=False)
    assert not missing.unexpected_keys, missing
    return model


def peer(
    spec: Spec,
    batches: Sequence[Batch],
    device: torch.device,
    attention: str = "sdpa",
    backend: str | None = None,
) -> Work:
    """BertForPreTraining on the same sequences, each batch filled up to its longest one."""
    model = peer_of(spec, network_of(spec), attention).to(device)
    narrow = copy.deepcopy(model.bert).bfloat16().eval()
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01, fused=True)
    ready = [_on(device, rows(batch)) for batch in batches]
    called: Any = model if backend is None else torch.compile(model, backend=backend)
    read: Any = narrow if backend is None else torch.compile(narrow, backend=backend)
    turns, again = _endless(ready), _endless(ready)

    def train() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            loss = called(**turns()).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad()

    @torch.inference_mode()
    def forward() -> Tensor:
        out: Tensor = read(**_unlabelled(again())).last_hidden_state
        return out

    return Work(train, forward)


def _endless(items: Sequence[T]) -> Callable[[], T]:
    """Give one item after the other, again and again."""
    places = iter(range(1 << 60))
    return lambda: items[next(places) % len(items)]


def flash() -> bool:
    """Tell whether transformers has flash attention here."""
    return importlib.util.find_spec("flash_attn") is not None


def found_by_ours(
    spec: Spec, aim: MaskedObjective, batch: Batch, device: torch.device, dtype: torch.dtype
) -> Found:
    """Give hidden states, loss, gradient and its norm, with products of a type."""
    network = network_of(spec).to(device)
    trainer = Trainer(plan(dtype), network, aim, World())
    counts = torch.tensor(list(batch.counts.values()), device=device)
    loss = (trainer.passes.backward(batch, counts)[0] / counts).sum()
    with torch.no_grad(), trainer.passes.autocast():
        states = network(batch.to(device).tokens)
    slopes = _slopes(network)
    gradient = torch.cat([slope.flatten() for slope in slopes])
    norm = torch.nn.utils.get_total_norm(slopes)
    found = {"states": states, "loss": loss, "gradient": gradient, "norm": norm}
    return {name: tensor.detach().float().cpu() for name, tensor in found.items()}


def found_by_peer(spec: Spec, batch: Batch, device: torch.device) -> Found:
    """Give the same of transformers in float32, but for the gradient itself."""
    model = peer_of(spec, network_of(spec), "sdpa").to(device)
    filled = _on(device, rows(batch))
    loss = model(**filled).loss
    loss.backward()
    norm = torch.nn.utils.get_total_norm(_slopes(model))
    with torch.no_grad():
        cells = model.bert(**_unlabelled(filled)).last_hidden_state.flatten(0, 1)  # (B * L, W)
    states = cells.cpu()[batch.tokens.layout.unpad_index]  # (T, W)
    return {"states": states, "loss": loss.detach().cpu(), "norm": norm.cpu()}


def _on(device: torch.device, fields: Rows) -> Rows:
    return {name: field.to(device) for name, field in fields.items()}


def _unlabelled(fields: Rows) -> Rows:
    return {name: field for name, field in fields.items() if "label" not in name}


def _slopes(model: torch.nn.Module) -> list[Tensor]:
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
