"""The gradient of a step, from micro-batches that are read one after the other or at once."""

import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

import tiny
from unmask.contracts import Batch
from unmask.data.masking import Vocabulary
from unmask.model.network import Network
from unmask.objectives.masked import MaskedObjective
from unmask.train import passes
from unmask.train.passes import Passes

LENGTHS = ([9, 9, 12, 20], [5, 7, 7, 8, 9, 11], [30, 31], [4, 4, 4, 4, 8], [16, 16])
SEED = [0, 1, 2]


@pytest.fixture(autouse=True)
def two_cores() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def network() -> Network:
    network: Network = tiny.pretrained(tiny.tokenizer()).network
    network.train()
    return network


@pytest.fixture
def objective() -> MaskedObjective:
    return MaskedObjective(vocabulary=Vocabulary.of(tiny.tokenizer()), pair="nsp")


@pytest.fixture
def batches(objective: MaskedObjective) -> list[Batch]:
    return [tiny.batch(objective, lengths) for lengths in LENGTHS]


def gradient(network: Network) -> dict[str, Tensor]:
    found = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    network.zero_grad()
    return found


def whole(batches: list[Batch]) -> Tensor:
    names = batches[0].counts
    return torch.tensor([float(sum(batch.counts[name] for batch in batches)) for name in names])


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_two_at_once_come_to_what_one_after_the_other_does(
    network: Network,
    objective: MaskedObjective,
    batches: list[Batch],
    dropout: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network.set_dropout(dropout)
    found, threads = {}, {}
    backward = Passes.backward

    def noted(self, batch, counts, network):  # type: ignore[no-untyped-def]
        threads.setdefault(passes.LANES, set()).add(threading.current_thread().name)
        return backward(self, batch, counts, network)

    monkeypatch.setattr(Passes, "backward", noted)
    for lanes in (1, 2):
        monkeypatch.setattr(passes, "LANES", lanes)
        does = Passes(network, objective, torch.float32)
        found[lanes] = does.step(batches, whole(batches), SEED), gradient(network)
    assert [len(threads[lanes]) for lanes in (1, 2)] == [1, 2]
    torch.testing.assert_close(found[1], found[2], rtol=1e-4, atol=1e-6)
    assert len(found[1][1]) == len(list(network.parameters()))


def test_the_same_step_gives_the_same_bits(
    network: Network, objective: MaskedObjective, batches: list[Batch]
) -> None:
    network.set_dropout(0.1)
    does = Passes(network, objective, torch.bfloat16)
    steps = []
    for number in range(6):
        sums = does.step(batches, whole(batches), [0, number // 3, 0])
        steps.append({"sums": sums, **gradient(network)})
    for number, one in enumerate(steps):
        first = steps[number - number % 3]
        assert all(torch.equal(one[name], first[name]) for name in first)
    assert not torch.equal(steps[0]["sums"], steps[3]["sums"])  # of another seed


def test_updates_are_seen_and_what_is_frozen_stays_without_gradient(
    network: Network, objective: MaskedObjective, batches: list[Batch]
) -> None:
    does = Passes(network, objective, torch.float32)
    does.step(batches, whole(batches), SEED)
    network.zero_grad()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(0.5)
    frozen = network.encoder.embeddings.piece.weight.requires_grad_(False)
    sums = does.step(batches, whole(batches), SEED)
    assert frozen.grad is None
    fresh = Passes(network, objective, torch.float32).step(batches, whole(batches), SEED)
    assert torch.equal(sums, fresh)


def test_a_single_micro_batch_has_all_cores(
    network: Network, objective: MaskedObjective, batches: list[Batch]
) -> None:
    caller, seen = threading.current_thread(), []
    network.encoder.register_forward_hook(lambda *_: seen.append(threading.current_thread()))
    Passes(network, objective, torch.float32).step(batches[:1], whole(batches[:1]), SEED)
    assert seen == [caller]


def test_a_wide_network_has_all_cores(
    network: Network,
    objective: MaskedObjective,
    batches: list[Batch],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(passes, "WIDE", network.encoder.width - 1)
    caller, seen = threading.current_thread(), []
    network.encoder.register_forward_hook(lambda *_: seen.append(threading.current_thread()))
    Passes(network, objective, torch.float32).step(batches, whole(batches), SEED)
    assert seen == [caller] * len(batches)
