"""The peer of the translation study: torch.nn.Transformer in the loop that everyone writes.

Embeddings times the root of the width, waves, nn.Transformer, a linear layer that shares the
embeddings' table; batches filled up to their longest sentence on both sides, bfloat16 by autocast
or float32, fused AdamW. It is scored by our own beam search: `borrowed` puts its weights into our
model, and sees that both give the same loss. N sentences, L pieces of the longest, W width.
"""

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

import unmask
from translation_data import EVALUATIONS, examples, files, shape, task, tuning, words
from unmask.data.windows import Window
from unmask.exchange.huggingface import Pretrained
from unmask.text.tokenizer import Tokenizer
from unmask.train.schedule import linear
from unmask.train.structure import transformer

KEEP_SECONDS = 120.0
"""Between two times that a run is kept, to go on from."""
PACE = 40
"""Steps by which the time of a step is told, and a quarter as many before that do not count."""


class Torch(nn.Module):
    """The model, of torch's parts."""

    def __init__(self, pieces: int, pad: int, dropout: float) -> None:
        super().__init__()
        sizes = shape()
        self.pad, self.scale = pad, math.sqrt(sizes.width)
        self.table = nn.Embedding(pieces, sizes.width)
        self.transformer = nn.Transformer(
            sizes.width,
            sizes.heads,
            sizes.layers,
            sizes.layers,
            sizes.inner,
            dropout,
            batch_first=True,
        )
        self.transformer.encoder.use_nested_tensor = False  # a form for reading alone, which warns
        self.linear = nn.Linear(sizes.width, pieces)
        self.linear.weight = self.table.weight
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("waves", waves(sizes.positions, sizes.width), persistent=False)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        nn.init.zeros_(self.linear.bias)

    def forward(self, source: Tensor, seen: Tensor) -> Tensor:
        """Score what follows each token that is seen: (N, L), (N, L') -> (N, L', V)."""
        unread = source == self.pad
        hidden = self.transformer(
            self.embedded(source),
            self.embedded(seen),
            tgt_mask=nn.Transformer.generate_square_subsequent_mask(seen.shape[1]) != 0,
            src_key_padding_mask=unread,
            memory_key_padding_mask=unread,
            tgt_key_padding_mask=seen == self.pad,
            tgt_is_causal=True,
        )
        scores: Tensor = self.linear(hidden)
        return scores

    def embedded(self, ids: Tensor) -> Tensor:
        """Embed tokens and their places: (N, L) -> (N, L, W)."""
        out: Tensor = self.dropout(self.table(ids) * self.scale + self.waves[: ids.shape[1]])
        return out


def waves(places: int, width: int) -> Tensor:
    """Make the sines and cosines of places: (places, W)."""
    angles = torch.arange(places)[:, None] / 10_000 ** (torch.arange(0, width, 2) / width)
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)  # (places, W/2, 2) -> W


class Run:
    """A model in training: its examples, its optimizer, and one step after another."""

    def __init__(self, narrow: bool, smoke: bool) -> None:
        """Begin; narrow: whether products are in bfloat16."""
        self.narrow, self.smoke, self.tuning = narrow, smoke, tuning()
        self.tokenizer = Tokenizer.load(words(smoke))
        self.pad = self.tokenizer.ids["pad"]
        self.pairs = examples("train", smoke)
        torch.manual_seed(0)
        assert self.tuning.dropout is not None, "the study sets it"
        self.model = Torch(self.tokenizer.vocab_size, self.pad, self.tuning.dropout)
        settings = self.tuning.optimizer
        parameters = list(self.model.parameters())
        decayed = [p for p in parameters if p.dim() > 1]
        bare = [p for p in parameters if p.dim() <= 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": settings.weight_decay},
                {"params": bare, "weight_decay": 0.0},
            ],
            lr=settings.rate,
            betas=settings.betas,
            eps=settings.eps,
            fused=True,
        )
        self.epoch = math.ceil(len(self.pairs) / self.tuning.batch)
        """Steps of an epoch."""

    def batch(self, step: int) -> list[Window]:
        """Give the examples of a step, counted from 0: a random order for each epoch."""
        epoch, place = divmod(step, self.epoch)
        order = np.random.default_rng([0, epoch]).permutation(len(self.pairs))
        size = self.tuning.batch
        return [self.pairs[number] for number in order[place * size : (place + 1) * size]]

    def loss(self, pairs: Sequence[Window], smoothing: float) -> Tensor:
        """Give the mean loss of a batch, filled up to its longest sentences."""
        begin = torch.tensor([self.tokenizer.ids["cls"]])
        source = self.rows([torch.from_numpy(pair.ids).long() for pair in pairs])  # (N, L)
        labels = self.rows([torch.from_numpy(pair.target) for pair in pairs])  # (N, L')
        seen = torch.cat([begin.expand(len(pairs), 1), labels[:, :-1]], 1)  # (N, L')
        with torch.autocast("cpu", torch.bfloat16, enabled=self.narrow):
            scores = self.model(source, seen)
        return F.cross_entropy(
            scores.flatten(0, 1).float(),  # (N, L', V) -> (N * L', V)
            labels.flatten(),
            ignore_index=self.pad,
            label_smoothing=smoothing,
        )

    def rows(self, texts: list[Tensor]) -> Tensor:
        """Lay texts out as rows: (N, L)."""
        return pad_sequence(texts, batch_first=True, padding_value=self.pad)

    def step(self, number: int, steps: int) -> float:
        """Learn from a batch; gives the loss. number: of the step, counted from 0."""
        warmup, floor = self.tuning.schedule.warmup, self.tuning.schedule.floor
        for group in self.optimizer.param_groups:
            group["lr"] = self.tuning.optimizer.rate * linear(number + 1, steps, warmup, floor)
        loss = self.loss(self.batch(number), self.tuning.smoothing)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.tuning.optimizer.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(loss.detach())

    def pace(self) -> float:
        """Measure the seconds of a step."""
        warm, count = PACE // 4, 4 if self.smoke else PACE
        begin = 0.0
        for number in range(-min(warm, count), count):
            if number == 0:
                begin = time.perf_counter()
            self.step(number + warm, 10_000)
        return (time.perf_counter() - begin) / count

    def train(self, steps: int, kept: Path) -> dict[str, Any]:
        """Train to the end, from where `kept` was written; gives what there is to tell."""
        state: dict[str, Any] = {"step": 0, "seconds": 0.0, "losses": [], "curve": [], "best": None}
        if kept.exists():
            state = self._resume(kept)
        due = {max(1, steps * part // EVALUATIONS) for part in range(1, EVALUATIONS + 1)}
        saved = time.monotonic()
        while state["step"] < steps:
            begin = time.perf_counter()
            loss = self.step(state["step"], steps)
            state["seconds"] += time.perf_counter() - begin
            state["losses"].append(loss)
            state["step"] += 1
            if state["step"] in due:
                self._judge(state)
            if state["step"] in due or time.monotonic() - saved > KEEP_SECONDS:
                self._keep(kept, state)
                saved = time.monotonic()
                said = f"{state['step']:,}/{steps:,}  loss {loss:.4f}  {state['seconds']:,.0f} s"
                print(said, file=sys.stderr, flush=True)
        self.model.load_state_dict(state["best"])
        return state

    def _judge(self, state: dict[str, Any]) -> None:
        """Find BLEU on val, greedily; keep the model where it is the best so far."""
        found = unmask.evaluate(
            "translation",
            borrowed(self),
            data=files("val", self.smoke),
            set=["num_beams=1", f"max_new_tokens={self.tuning.generation.max_new_tokens}"],
        )
        if all(found["bleu"] > bleu for _, _, bleu in state["curve"]):
            state["best"] = {name: value.clone() for name, value in self.model.state_dict().items()}
        state["curve"].append((state["step"], state["seconds"], found["bleu"]))

    def _keep(self, path: Path, state: dict[str, Any]) -> None:
        parts = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        new = path.with_suffix(".new")
        torch.save({**parts, "random": torch.get_rng_state(), "state": state}, new)
        new.replace(path)

    def _resume(self, path: Path) -> dict[str, Any]:
        kept = torch.load(path)
        self.model.load_state_dict(kept["model"])
        self.optimizer.load_state_dict(kept["optimizer"])
        torch.set_rng_state(kept["random"])
        state: dict[str, Any] = kept["state"]
        return state


@torch.no_grad()
def borrowed(run: Run) -> unmask.Model:
    """Put the peer's weights into our model; both must give the same loss in float32."""
    made = transformer(shape(), run.tokenizer)
    source = replace(made.spec.source, final_norm=True)
    spec = replace(made.spec, final_norm=True, source=source)  # nn.Transformer has these norms
    network = made.family.network(spec, made.head)
    own = network.state_dict()  # of which its waves stay
    network.load_state_dict({**own, **renamed(run.model.state_dict(), shape().layers)})
    some = run.pairs[: run.tuning.batch]
    run.model.eval()
    narrow, run.narrow = run.narrow, False
    theirs = float(run.loss(some, 0.0))
    run.narrow = narrow
    run.model.train()
    batch: Any = task().batch(some)
    head: Any = network.eval().head.following
    part = head.loss(network.encoder(batch.tokens), batch.labels)
    ours = float(part.total) / batch.counts["task"]
    assert abs(ours - theirs) < 1e-4 * theirs, f"the peer's loss is {theirs}, in our model {ours}"
    pretrained: Pretrained = replace(made, spec=spec, network=network)
    return unmask.Model(pretrained)


def renamed(theirs: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    """Name torch's tensors as ours; query, key and value are one matrix there."""
    found = {
        "encoder.source.embeddings.piece.weight": theirs["table.weight"],
        "head.following.bias": theirs["linear.bias"],
    }
    norms = {
        "encoder": {"attention_norm": "norm1", "feed_forward_norm": "norm2"},
        "decoder": {"attention_norm": "norm1", "cross_norm": "norm2", "feed_forward_norm": "norm3"},
    }
    for side, own in (("encoder", "encoder.source"), ("decoder", "encoder")):
        attentions = {"attention": "self_attn", "cross": "multihead_attn"}
        if side == "encoder":
            del attentions["cross"]
        for leaf in ("weight", "bias"):
            found[f"{own}.norm.{leaf}"] = theirs[f"transformer.{side}.norm.{leaf}"]
            for layer in range(layers):
                block, other = f"{own}.blocks.{layer}", f"transformer.{side}.layers.{layer}"
                for part, name in attentions.items():
                    three = theirs[f"{other}.{name}.in_proj_{leaf}"].chunk(3)
                    for which, matrix in zip(("query", "key", "value"), three, strict=True):
                        found[f"{block}.{part}.{which}.{leaf}"] = matrix
                    found[f"{block}.{part}.output.{leaf}"] = theirs[
                        f"{other}.{name}.out_proj.{leaf}"
                    ]
                for norm, name in norms[side].items():
                    found[f"{block}.{norm}.{leaf}"] = theirs[f"{other}.{name}.{leaf}"]
                for part, name in {"up": "linear1", "down": "linear2"}.items():
                    found[f"{block}.feed_forward.{part}.{leaf}"] = theirs[f"{other}.{name}.{leaf}"]
    return found
