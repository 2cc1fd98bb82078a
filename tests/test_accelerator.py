"""What a GPU wants of a run, tried on the CPU with the same code; and what only a GPU shows."""

import os
import signal
from functools import partialmethod

import numpy as np
import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

import runs
import tiny
import unmask
from unmask import hardware
from unmask.data.masking import Vocabulary
from unmask.errors import UserError
from unmask.model.network import Network
from unmask.objectives.distillation import Distillation, DistillationObjective
from unmask.objectives.masked import MaskedObjective
from unmask.tokens import Layout
from unmask.train import loop
from unmask.train.batches import StepData
from unmask.train.loop import Plan, Trainer
from unmask.train.metrics import rows
from unmask.train.parallel import World
from unmask.train.recipe import Optimizer, Schedule

TOKENS = 64
"""Of a batch that is filled."""
LENGTHS = ([9, 9, 12, 20], [5, 7, 7, 8, 9, 11], [30, 31])
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch's compiler looks
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")


@pytest.fixture
def pretrained():
    return tiny.pretrained(tiny.tokenizer())


@pytest.fixture
def objective(pretrained):
    return MaskedObjective(vocabulary=Vocabulary.of(pretrained.tokenizer), pair="nsp")


def found(network, objective, batch):
    """Sums of the losses, and all gradients."""
    network.zero_grad()
    parts = objective.loss(network.encoder, network.head, batch)
    torch.stack([part.weight * part.total for part in parts.values()]).sum().backward()
    slopes = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    return {name: part.total.item() for name, part in parts.items()}, slopes


def assert_same(one, other):
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_layout_is_filled_with_sequences_that_do_not_count():
    layout = Layout.of([3, 5]).filled(20)
    assert layout.lengths == (3, 5, 5, 5, 2)
    assert (layout.real, layout.real_tokens, layout.max_seqlen) == (2, 8, 5)
    assert Layout.of([3, 5]).filled(8).lengths == (3, 5)


@pytest.mark.parametrize("lengths", LENGTHS)
def test_what_fills_a_batch_changes_no_loss_and_no_gradient(pretrained, objective, lengths):
    batch = tiny.batch(objective, lengths)
    filled = batch.filled(TOKENS)
    assert len(filled.tokens.ids) == len(filled.tokens.segments) == TOKENS
    assert filled.counts == batch.counts
    assert_same(
        found(pretrained.network, objective, filled), found(pretrained.network, objective, batch)
    )


@pytest.mark.parametrize("all_tokens", [False, True])
def test_nor_those_of_a_student(pretrained, objective, all_tokens):
    teacher = tiny.pretrained(tiny.tokenizer(), head="masked-lm").network
    student = tiny.pretrained(tiny.tokenizer(), head="masked-lm").network
    with torch.no_grad():
        student.encoder.embeddings.piece.weight += 0.1
    taught = DistillationObjective(
        masked=MaskedObjective(vocabulary=objective.vocabulary),
        teacher=teacher.requires_grad_(requires_grad=False),
        settings=Distillation(all_tokens=all_tokens),
    )
    batch = tiny.batch(taught, [9, 12, 20], pairs=False)
    assert_same(found(student, taught, batch.filled(TOKENS)), found(student, taught, batch))


def test_compiled_blocks_compute_the_same_and_are_compiled_once(pretrained, objective):
    plain = tiny.pretrained(tiny.tokenizer()).network
    names = set(pretrained.network.state_dict())
    compiler = CompileCounterWithBackend("aot_eager")
    network = pretrained.network
    network.compile_blocks(compiler)
    assert set(network.state_dict()) == names
    counts = []
    for lengths in LENGTHS:
        batch = tiny.batch(objective, lengths)
        assert_same(
            found(network, objective, batch.filled(TOKENS)),
            found(plain, objective, batch),
        )
        counts.append(compiler.frame_count)
    assert counts[0] > 0
    assert counts == counts[:1] * len(counts)  # the second block and other batches need nothing new
    with network.evaluating(), torch.no_grad():
        tokens = tiny.batch(objective, [7, 8]).tokens
        assert_same(network(tokens), plain.eval()(tokens))
    assert compiler.frame_count == counts[0]
    assert network.training


def test_a_run_with_compiled_blocks_comes_to_the_same(tmp_path, monkeypatch):
    store = runs.make_store(tmp_path / "store")
    sets = [*runs.SETS, "dropout=0.0", "precision=float32"]

    def losses(out, *more):
        unmask.pretrain(
            [str(store)],
            out=out,
            steps=4,
            heldout="0.2",
            set=[*sets, *more],
            probe=["The quick [MASK] jumped."],
        )
        table = rows(out / "metrics.jsonl")
        return [row["loss"] for row in table] + [table[-1]["heldout_mlm_loss"]]

    plain = losses(tmp_path / "plain", "compile=off")
    compiler = CompileCounterWithBackend("aot_eager")
    monkeypatch.setattr(hardware.shutil, "which", lambda name: name)
    compiled = partialmethod(Network.compile_blocks, backend=compiler)
    monkeypatch.setattr(Network, "compile_blocks", compiled)
    assert losses(tmp_path / "compiled", "compile=on") == pytest.approx(plain, rel=1e-4)
    assert compiler.frame_count > 0
    assert losses(tmp_path / "auto") == plain  # on a CPU that is: not compiled


def test_compiling_is_for_gpus_unless_it_is_wanted(monkeypatch):
    cpu, cuda = torch.device("cpu"), torch.device("cuda", 0)
    monkeypatch.setattr(hardware.importlib.util, "find_spec", lambda name: object())
    assert [hardware.compiles("auto", device) for device in (cpu, cuda)] == [False, True]
    monkeypatch.setattr(hardware.shutil, "which", lambda name: name)
    assert [hardware.compiles("on", device) for device in (cpu, cuda)] == [True, True]
    assert [hardware.compiles("off", device) for device in (cpu, cuda)] == [False, False]
    monkeypatch.setattr(hardware.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(hardware.shutil, "which", lambda name: None)
    assert not hardware.compiles("auto", cuda)
    with pytest.raises(UserError, match="compile = 'on' needs triton"):
        hardware.compiles("on", cuda)
    with pytest.raises(UserError, match=r"compile = 'on' needs a C\+\+ compiler"):
        hardware.compiles("on", cpu)


def test_two_streams_are_not_compiled(tmp_path):
    store = runs.make_store(tmp_path / "store")
    with pytest.raises(UserError, match="compile = 'on' is not for objective = 'permutation'"):
        unmask.pretrain([str(store)], recipe="xlnet-tiny", out=tmp_path / "run", set=["compile=on"])


def told(out):
    """Say all that a run wrote of its steps, but for the time."""
    table = rows(out / "metrics.jsonl")
    return [{key: row[key] for key in row if key != "seconds"} for row in table]


def test_figures_that_are_read_late_are_the_same_figures(tmp_path, monkeypatch):
    """As on a GPU: stopped somewhere, saved at any time, with the same rows in the end."""
    store = runs.make_store(tmp_path / "store")

    def run(out, **options):
        settings = {"steps": 8, "heldout": "0.2", "set": runs.SETS, **options}
        return unmask.pretrain([str(store)], out=out, **settings)

    run(tmp_path / "whole")
    monkeypatch.setattr(loop, "ahead", lambda device: 2)
    run(tmp_path / "late")
    assert told(tmp_path / "late") == told(tmp_path / "whole")

    take = Trainer.step

    def stopping(self, data, number, *args, **options):
        if number == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return take(self, data, number, *args, **options)

    monkeypatch.setattr(Trainer, "step", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped")
    stopped_at = len(told(tmp_path / "stopped"))
    assert 3 <= stopped_at <= 6  # it is heard of when the figures of the step are read
    monkeypatch.setattr(Trainer, "step", take)
    run(tmp_path / "stopped")
    assert told(tmp_path / "stopped") == told(tmp_path / "whole")


def trainer_on(device, network, objective):
    plan = Plan(
        steps=100,
        phase_ends=(100,),
        evaluate_at=frozenset(),
        optimizer=Optimizer(rate=1e-3, algorithm="muon"),
        schedule=Schedule(),
        checkpoint_seconds=1e9,
        keep=1,
        seed=0,
        folder=None,
        dtype=torch.bfloat16,
    )
    return Trainer(plan, network.to(device), objective, World())


@gpu
@pytest.mark.parametrize("compiled", [False, True])
def test_no_step_waits_for_the_gpu(pretrained, objective, compiled):
    device = hardware.device()
    if compiled:
        pretrained.network.compile_blocks()
    trainer = trainer_on(device, pretrained.network, objective)
    batches = [tiny.batch(objective, lengths).filled(TOKENS) for lengths in LENGTHS]
    steps = [StepData([batch], batch.counts, len(batch.tokens.ids), {}) for batch in batches]
    for number, step in enumerate(steps, 1):  # sets up what is set up once
        trainer.step(step, number, number, 1e-3)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for number, step in enumerate(steps, 4):
            figures = trainer.step(step, number, number, 1e-3)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(map(np.isfinite, figures.tolist()))


@gpu
def test_a_gpu_comes_to_what_the_cpu_comes_to(pretrained, objective):
    batch = tiny.batch(objective, LENGTHS[0])
    right = found(pretrained.network, objective, batch)
    network = pretrained.network.to(hardware.device())
    losses, slopes = found(network, objective, batch.to(hardware.device()))
    assert losses == pytest.approx(right[0], rel=1e-4)
    for name, slope in slopes.items():
        torch.testing.assert_close(slope.cpu(), right[1][name], rtol=1e-3, atol=1e-4)
