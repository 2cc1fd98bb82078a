"""From texts to texts: what a model writes on behind a prompt, or of a source that it reads."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from unmask.errors import UserError
from unmask.exchange.huggingface import Pretrained
from unmask.model.generation import Generation
from unmask.model.search import ROWS, Written, generate
from unmask.rewriting import token_ids
from unmask.text.tokenizer import Tokenizer
from unmask.tokens import Layout, Tokens

MOST = 128
"""New tokens where nothing is said of their number, and there are places for so many."""


@dataclass(frozen=True, slots=True)
class _Prompt:
    """What the decoder begins with."""

    ids: list[int]
    limit: int
    """The most new tokens."""
    source: np.ndarray | None
    """Ids of what an encoder-decoder reads; None of a decoder alone."""

    @property
    def length(self) -> int:
        """Tokens that are read before the first one is written."""
        return len(self.ids if self.source is None else self.source)


@dataclass(frozen=True, kw_only=True, slots=True)
class Writer:
    """A model that writes, with its way to begin and to end."""

    pretrained: Pretrained
    tokenizer: Tokenizer
    settings: Generation
    truncate: bool
    """Whether what is too long is cut: the beginning of a prompt, the end of a source."""
    products: torch.dtype
    """The type in which products run."""

    def texts(self, texts: Sequence[str], full: bool | None) -> list[list[str]]:
        """Write `num_return_sequences` texts for each, the best one first.

        full: whether what is written stands behind its prompt, which is so when absent. Raises
        UserError for a text that is too long, for a model that does not write, and for settings
        that do not fit it.
        """
        reads = self.pretrained.spec.source is not None
        if reads and full is not None:
            raise UserError(
                "return_full_text (--only-new) changes nothing: an encoder-decoder writes a text of"
                " its own, which has no prompt; leave it out"
            )
        prompts = self._prompts(texts)
        written = self._written(prompts)
        return [
            [self._shown(text, prompt, one, full is not False and not reads) for one in own]
            for text, prompt, own in zip(texts, prompts, written, strict=True)
        ]

    def _shown(self, text: str, prompt: _Prompt, written: Written, full: bool) -> str:
        """Write the new tokens as they stand behind the prompt, special tokens left out."""
        special = set(self.tokenizer.special.tolist())
        new = [token for token in written.ids if token not in special]
        old = [] if prompt.source is not None else [i for i in prompt.ids if i not in special]
        before, whole = self.tokenizer.decode(old), self.tokenizer.decode([*old, *new])
        alone = not whole.startswith(before)  # where decoding joins what is old and new
        added = self.tokenizer.decode(new) if alone else whole[len(before) :]
        return text + added if full else added

    def _written(self, prompts: Sequence[_Prompt]) -> list[list[Written]]:
        """Write behind prompts, those of like lengths at once."""
        network, settings = self.pretrained.network, self.settings
        assert network.head.following is not None, "checked before"
        assert not network.training, "a model writes in evaluation mode"
        stop, found = self._stop(), dict[int, list[Written]]()
        kind = next(network.parameters()).device.type
        narrow = self.products != torch.float32
        for places in self._batches(prompts):
            batch = [prompts[place] for place in places]
            sources = [torch.from_numpy(one.source) for one in batch if one.source is not None]
            source = None
            if sources:
                layout = Layout.of([len(ids) for ids in sources])
                source = Tokens(torch.cat(sources).long(), layout)
            with torch.autocast(kind, self.products, enabled=narrow):
                written = generate(
                    network.encoder,
                    network.head.following,
                    [one.ids for one in batch],
                    settings,
                    limits=[one.limit for one in batch],
                    stop=stop,
                    source=source,
                    places=places,
                )
            found.update(zip(places, written, strict=True))
        return [found[place] for place in range(len(prompts))]

    def _batches(self, prompts: Sequence[_Prompt]) -> Iterator[list[int]]:
        rows = max(self.settings.num_beams, self.settings.num_return_sequences)
        size = max(1, ROWS // rows)
        order = sorted(range(len(prompts)), key=lambda place: -prompts[place].length)
        for start in range(0, len(order), size):
            yield order[start : start + size]

    def _prompts(self, texts: Sequence[str]) -> list[_Prompt]:
        make = self._continued if self.pretrained.spec.source is None else self._read
        encoded = self.tokenizer.encode_batch(texts)
        return [make(ids, f"text {number}") for number, ids in enumerate(encoded, 1)]

    def _continued(self, ids: list[int], place: str) -> _Prompt:
        """Let a decoder go on behind a text; behind an empty one, from the end of another."""
        longest, wanted = self.pretrained.spec.longest, self.settings.max_new_tokens
        begin = list(self.tokenizer.frames[0].gaps[0])
        if not begin and not ids:
            begin = list(self._ends[:1])
        if self.truncate:
            keep = longest - len(begin) - (wanted or max(self._least, min(MOST, longest // 2)))
            ids = ids[-keep:] if keep > 0 else ids
        prompt = [*begin, *ids]
        if not prompt:
            raise UserError(
                f"{place}: empty, and the model has no token to begin with; give a text"
            )
        room, least = longest - len(prompt), wanted or self._least
        if room < least:
            shorter = (
                "" if self.truncate else ", shorten the text, or let truncate cut its beginning"
            )
            raise UserError(
                f"{place}: {len(prompt):,} tokens and {least:,} new ones are more than the"
                f" {longest:,} that the model reads; ask for fewer{shorter}"
            )
        return _Prompt(prompt, wanted or max(least, min(MOST, room)), None)

    def _read(self, ids: list[int], place: str) -> _Prompt:
        """Let an encoder read a text, and a decoder begin one of its own."""
        spec, wanted = self.pretrained.spec, self.settings.max_new_tokens
        room, special = self.tokenizer.room(spec.longest, 1), self.tokenizer.frames[0].special
        if len(ids) > room and not self.truncate:
            raise UserError(
                f"{place}: a source of {len(ids) + special:,} tokens is longer than the"
                f" {spec.longest:,} that the model reads; shorten it, or let its end be cut with"
                " truncate"
            )
        limit = wanted or max(self._least, min(MOST, (spec.positions or MOST + 1) - 1))
        if spec.positions is not None and spec.positions <= limit:
            name = "min_new_tokens" if wanted is None else "max_new_tokens"
            raise UserError(
                f"{name} is {limit}; the decoder has places for {spec.positions - 1:,}, and one to"
                " begin with"
            )
        source = self.tokenizer.lay(ids[:room]).ids
        return _Prompt([self._start()], limit, source)

    @property
    def _least(self) -> int:
        """Tokens that a text has at least."""
        return self.settings.min_new_tokens or 1

    def _start(self) -> int:
        """Find the token that every text of an encoder-decoder begins with."""
        told = self._told("decoder_start_token_id")
        start = told[0] if told else self.tokenizer.cls
        if start is None:
            raise UserError(
                "config.json has no decoder_start_token_id, and the vocabulary no token that begins"
                " a text; add the first"
            )
        return start

    def _told(self, name: str) -> tuple[int, ...]:
        """Read a token, or several, out of what was saved with the model."""
        return token_ids(self.pretrained.settings, name, self.pretrained.spec.pieces)

    @property
    def _ends(self) -> tuple[int, ...]:
        """Tokens that ended texts in training."""
        told = self._told("eos_token_id")
        return told or (() if self.tokenizer.sep is None else (self.tokenizer.sep,))

    def _stop(self) -> tuple[int, ...]:
        """Find the tokens that end a text."""
        if self.settings.stop is None:
            return self._ends
        known = {
            piece: number
            for number, piece in enumerate(self.tokenizer.tokens(range(self.tokenizer.vocab_size)))
        }
        for piece in self.settings.stop:
            if piece not in known:
                raise UserError(f"stop {piece!r} is no entry of the vocabulary; name one that is")
        return tuple(known[piece] for piece in self.settings.stop)


def writer(
    pretrained: Pretrained,
    tokenizer: Tokenizer,
    settings: Generation,
    truncate: bool,
    products: torch.dtype,
) -> Writer:
    """Let a model write. Raises UserError for one that does not."""
    if pretrained.network.head.following is None or not pretrained.spec.causal:
        raise UserError(
            f"the model does not write text, its head is {pretrained.head!r}; take a decoder such"
            " as GPT-2, or an encoder-decoder"
        )
    return Writer(
        pretrained=pretrained,
        tokenizer=tokenizer,
        settings=settings,
        truncate=truncate,
        products=products,
    )
