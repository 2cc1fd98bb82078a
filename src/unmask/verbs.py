"""The commands as data: each verb's options, shared by the command line and the Python API.

No module imported here may import torch: `unmask VERB --help` answers at once.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar, get_args, get_type_hints

P = ParamSpec("P")
Options = TypeVar("Options")
Result = TypeVar("Result")


FLAG = {"flag": True}
"""Of a field that stands by its place in Python, and by its name on the command line."""


def verb(
    options: Callable[P, Options],
) -> Callable[[Callable[[Options], Result]], Callable[P, Result]]:
    """Let a function of one options object be called with the options themselves.

    `pretrain(PretrainOptions(["store"], out=Path("run")))` is then written
    `pretrain("store", out="run")`: a path may be a text, and a list of one thing that thing alone.
    """
    hints = get_type_hints(options)

    def decorate(function: Callable[[Options], Result]) -> Callable[P, Result]:
        """Wrap the function of a verb."""

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> Result:
            """Make the options of what is given; help shows the function's own text instead."""
            positional: Any = (
                _fit(value, hint) for value, hint in zip(args, hints.values(), strict=False)
            )
            named: Any = {
                name: _fit(value, hints.get(name, object)) for name, value in kwargs.items()
            }
            return function(options(*positional, **named))

        call.__signature__ = inspect.signature(options)  # type: ignore[attr-defined]
        return call

    return decorate


def _fit(value: Any, hint: Any) -> Any:
    """Turn texts and paths into each other, as an option is declared."""
    if hint == list[str]:
        several = [value] if isinstance(value, str | Path) else value
        return [str(item) if isinstance(item, Path) else item for item in several]
    if isinstance(value, str) and Path in (hint, *get_args(hint)):
        return Path(value)
    if isinstance(value, Path) and str in (hint, *get_args(hint)):
        return str(value)
    return value


@dataclass(frozen=True, slots=True)
class TokenizerOptions:
    """Train a tokenizer on text."""

    texts: list[str]
    """Files, folders, globs or URLs: .txt, .jsonl, .parquet, each also as .gz, .xz, .zst."""
    out: Path = field(kw_only=True)
    """Folder to write the tokenizer to."""
    kind: Literal["wordpiece", "byte-bpe", "unigram", "moses-bpe"] = field(
        default="wordpiece", kw_only=True
    )
    """The algorithm: wordpiece as BERT and DistilBERT have it, byte-bpe as RoBERTa and GPT-2,
    unigram as ALBERT, XLNet, CamemBERT and XLM-R, moses-bpe as XLM and FlauBERT."""
    vocab_size: int = field(default=30_000, kw_only=True)
    """Entries of the vocabulary, special tokens included."""
    cased: bool = field(default=False, kw_only=True)
    """Keep case and accents, as byte-bpe always does."""
    language: str = field(default="en", kw_only=True)
    """Of the text, for moses-bpe, as two letters; several with commas between, the first one's
    rules for all. French alone is cut as FlauBERT does."""
    errors: Literal["strict", "replace"] = field(default="strict", kw_only=True)
    """What to do with bytes that are not UTF-8: stop and say where, or replace them."""
    json: bool = field(default=False, kw_only=True)
    """End standard output with one JSON object."""


@dataclass(frozen=True, slots=True)
class PrepareOptions:
    """Tokenise text into a token store."""

    texts: list[str]
    """Files, folders, globs or URLs: .txt, .jsonl, .parquet, each also as .gz, .xz, .zst."""
    tokenizer: Path = field(kw_only=True)
    """Folder of the tokenizer."""
    out: Path = field(kw_only=True)
    """Folder to write the store to."""
    workers: int | None = field(default=None, kw_only=True)
    """Processes that tokenise; one per core when absent."""
    sentences: Literal["punkt", "unicode", "lines"] = field(default="punkt", kw_only=True)
    """How text is split: by nupunkt, by Unicode's rules (Chinese, Hindi, ...), or one a line."""
    language: str | None = field(default=None, kw_only=True)
    """Of the text, where the tokenizer tells several apart. Of translations those of the files, as
    en,de: each file has a line for each line of the other."""
    errors: Literal["strict", "replace"] = field(default="strict", kw_only=True)
    """What to do with bytes that are not UTF-8: stop and say where, or replace them."""
    json: bool = field(default=False, kw_only=True)
    """End standard output with one JSON object."""


@dataclass(frozen=True, slots=True)
class PretrainOptions:
    """Pre-train a model on token stores."""

    stores: list[str]
    """Token stores, each with an optional weight: STORE or STORE=WEIGHT."""
    out: Path = field(kw_only=True)
    """Folder of the run. Started again with the same folder, a run goes on where it was."""
    recipe: str = field(default="bert-mini", kw_only=True)
    """bert, roberta, albert, xlnet, xlm, flaubert or gpt2, with -tiny, -mini, -small, -medium,
    -base or -large; of BERT the paper's form with -faithful added."""
    model: str | None = field(default=None, kw_only=True)
    """Checkpoint to go on from: a folder or a hub id. Random weights when absent."""
    heldout: str | None = field(default=None, kw_only=True)
    """Held-out text: a token store, or a fraction of the documents (0.005 when absent)."""
    steps: int | None = field(default=None, kw_only=True)
    """Optimizer steps of the whole run; the recipe's when absent."""
    budget: str | None = field(default=None, kw_only=True)
    """Time for the whole run, as 90s, 10m or 2h: measured speed fixes the number of steps."""
    config: Path | None = field(default=None, kw_only=True)
    """TOML file whose settings replace the recipe's."""
    set: list[str] = field(default_factory=list, kw_only=True)
    """Single settings that replace the recipe's, as KEY=VALUE with dots: optimizer.rate=2e-3."""
    probe: list[str] = field(default_factory=list, kw_only=True)
    """Texts with [MASK] whose best fillings are shown at every evaluation."""
    seed: int = field(default=0, kw_only=True)
    """Of initialisation, order, masking and dropout."""
    json: bool = field(default=False, kw_only=True)
    """End standard output with one JSON object."""


@dataclass(frozen=True, slots=True)
class DistillOptions:
    """Distil a pre-trained model into one with half of its layers."""

    stores: list[str]
    """Token stores, each with an optional weight: STORE or STORE=WEIGHT."""
    teacher: str = field(kw_only=True)
    """What is learned from: a folder or a hub id, of a model that fills masks."""
    out: Path = field(kw_only=True)
    """Folder of the run. Started again with the same folder, a run goes on where it was."""
    heldout: str | None = field(default=None, kw_only=True)
    """Held-out text: a token store, or a fraction of the documents (0.005 when absent)."""
    steps: int | None = field(default=None, kw_only=True)
    """Optimizer steps of the whole run; 10,000 when absent."""
    budget: str | None = field(default=None, kw_only=True)
    """Time for the whole run, as 90s, 10m or 2h: measured speed fixes the number of steps."""
    config: Path | None = field(default=None, kw_only=True)
    """TOML file of settings."""
    set: list[str] = field(default_factory=list, kw_only=True)
    """Single settings, as KEY=VALUE with dots: layers=[0,5,11], distillation.temperature=3."""
    probe: list[str] = field(default_factory=list, kw_only=True)
    """Texts with [MASK] whose best fillings are shown at every evaluation."""
    seed: int = field(default=0, kw_only=True)
    """Of order, masking and dropout."""
    json: bool = field(default=False, kw_only=True)
    """End standard output with one JSON object."""


@dataclass(frozen=True, slots=True)
class FinetuneOptions:
    """Fine-tune a pre-trained encoder for a task."""

    task: str
    """text-classification, regression, token-classification, question-answering, multiple-choice,
    translation, summarization or extractive-summarization."""
    model: Any = field(default=None, metadata=FLAG)
    """What to start from: a folder or a hub id; in Python also a Model. A BERT that is to write
    becomes encoder and decoder."""
    train: str = field(kw_only=True)
    """Labelled rows to learn from: TSV, CSV, JSONL, Parquet, SQuAD JSON or CoNLL columns; of
    translation also two texts, a.en,a.de, line by line."""
    eval: str = field(kw_only=True)
    """Labelled rows by which the best model is chosen."""
    out: Path | None = field(default=None, kw_only=True)
    """Folder of the run, temporary when absent. Started again with the same one, it goes on."""
    recipe: str | None = field(default=None, kw_only=True)
    """Instead of a model: transformer-tiny, -mini, -small, -medium, -base or -large, a new
    Transformer of random weights for tasks that write."""
    tokenizer: Path | None = field(default=None, kw_only=True)
    """Folder of the tokenizer of a new model."""
    epochs: int | None = field(default=None, kw_only=True)
    """Passes over the training data; 3 when absent, or as the recipe has it."""
    rate: float | None = field(default=None, kw_only=True)
    """Peak learning rate; when absent 2e-5, where texts are written 5e-5, or as the recipe has it.
    Small models and few rows want more, such as 1e-4."""
    batch: int | None = field(default=None, kw_only=True)
    """Sequences of a step; 32 when absent, or as the recipe has it."""
    length: int | None = field(default=None, kw_only=True)
    """Longest sequence in tokens; the task's own when absent."""
    long: Literal["truncate", "windows"] | None = field(default=None, kw_only=True)
    """Cut longer texts, or average over windows; answers and tags always come from windows."""
    text: str | None = field(default=None, kw_only=True)
    """Column of the text, or two with a comma between; found by its usual names when absent."""
    label: str | None = field(default=None, kw_only=True)
    """Column of the label; found by its usual names when absent."""
    language: str | None = field(default=None, kw_only=True)
    """Of the texts, as en, for a model that tells several apart."""
    config: Path | None = field(default=None, kw_only=True)
    """TOML file of settings."""
    set: list[str] = field(default_factory=list, kw_only=True)
    """Single settings, as KEY=VALUE with dots: layers.last=2, keeping.patience=3, balanced=true."""
    seeds: int = field(default=1, kw_only=True)
    """How many times to run, from `seed` on: reports mean and deviation."""
    seed: int = field(default=0, kw_only=True)
    """Of the new weights, the order and dropout."""
    json: bool = field(default=False, kw_only=True)
    """End standard output with one JSON object."""


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """Score a fine-tuned model on labelled rows, with the official figures of its task."""

    task: str
    """text-classification, regression, token-classification, question-answering, multiple-choice,
    translation, summarization, extractive-summarization, feature-extraction or fill-mask."""
    model: Any = field(metadata=FLAG)
    """A folder or a hub id; in Python also a Model."""
    data: str = field(metadata=FLAG)
    """Labelled rows: TSV, CSV, JSONL, Parquet, SQuAD JSON or CoNLL columns."""
    predictions: Path | None = field(default=None, kw_only=True)
    """File for what is predicted, in the official format of the task."""
    text: str | None = field(default=None, kw_only=True)
    """Column of the text, or two with a comma between; found by its usual names when absent."""
    label: str | None = field(default=None, kw_only=True)
    """Column of the label; found by its usual names when absent."""
    long: Literal["truncate", "windows"] | None = field(default=None, kw_only=True)
    """Cut longer texts, or average over windows; as the model was fine-tuned when absent."""
    set: list[str] = field(default_factory=list, kw_only=True)
    """Settings of how texts are read, as KEY=VALUE: null_threshold=1.5, stride=64; of tasks that
    write, of how they do: num_beams=1, max_new_tokens=60."""
    language: str | None = field(default=None, kw_only=True)
    """Of the texts, as en, for a model that tells several apart."""
    precision: Literal["auto", "float32", "bfloat16", "int8"] = field(default="auto", kw_only=True)
    """Of the products; auto is bfloat16 where the hardware has it, int8 is faster and rougher."""
    json: bool = field(default=False, kw_only=True)
    """End standard output with one JSON object."""


@dataclass(frozen=True, slots=True)
class FillOptions:
    """Fill the [MASK] of a text."""

    text: str
    """A text that holds [MASK] at least once."""
    model: str = field(kw_only=True)
    """A folder or a hub id."""
    top_k: int = field(default=5, kw_only=True)
    """How many fillings of each mask to give."""
    language: str | None = field(default=None, kw_only=True)
    """Of the texts, as en, for a model that tells several apart."""
    json: bool = field(default=False, kw_only=True)
    """End standard output with one JSON object."""


@dataclass(frozen=True, slots=True)
class GenerateOptions:
    """Write on behind a text, or of a source where the model is an encoder-decoder."""

    texts: list[str] = field(default_factory=list)
    """Texts to go on from, or to read; a decoder begins with nothing when there are none."""
    model: str = field(kw_only=True)
    """A folder or a hub id."""
    max_new_tokens: int | None = field(default=None, kw_only=True)
    """The most tokens to write; as many as the model has places for, 128 at most, when absent."""
    min_new_tokens: int | None = field(default=None, kw_only=True)
    """The fewest tokens to write."""
    language: str | None = field(default=None, kw_only=True)
    """Of the texts, as en, for a model that tells several apart."""
    stop: list[str] = field(default_factory=list, kw_only=True)
    """Piece of the vocabulary that ends a text; that of the training when absent."""
    num_beams: int = field(default=1, kw_only=True)
    """Texts that are kept at each step, the likeliest ones."""
    length_penalty: float | None = field(default=None, kw_only=True)
    """A beam's score is divided by its length to this power, 1 when absent."""
    early_stopping: Literal["true", "false", "never"] | None = field(default=None, kw_only=True)
    """Stop at as many finished beams as beams, when no better one is likely (also when absent), or
    only when none is possible."""
    num_return_sequences: int = field(default=1, kw_only=True)
    """How many texts to give for each."""
    do_sample: bool = field(default=False, kw_only=True)
    """Draw each token by its probability."""
    temperature: float | None = field(default=None, kw_only=True)
    """Below 1 likely tokens become likelier."""
    top_k: int | None = field(default=None, kw_only=True)
    """Draw from so many of the likeliest tokens."""
    top_p: float | None = field(default=None, kw_only=True)
    """Draw from the fewest likeliest tokens that have this probability together."""
    seed: int | None = field(default=None, kw_only=True)
    """Of sampling, 0 when absent."""
    repetition_penalty: float | None = field(default=None, kw_only=True)
    """Above 1 tokens that were there before become less likely."""
    no_repeat_ngram_size: int | None = field(default=None, kw_only=True)
    """No run of so many tokens comes twice."""
    only_new: bool = field(default=False, kw_only=True)
    """Leave out the text that was gone on from."""
    truncate: bool = field(default=False, kw_only=True)
    """Cut what is too long: the beginning of a prompt, the end of a source."""
    json: bool = field(default=False, kw_only=True)
    """End standard output with one JSON object."""


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """Predict for texts or for the rows of a file, with whatever the model was made for."""

    texts: list[str] = field(default_factory=list)
    """Texts given directly."""
    model: str = field(kw_only=True)
    """A folder or a hub id."""
    input: Path | None = field(default=None, kw_only=True)
    """File of rows: .txt (a text a line), .jsonl, .csv, .tsv, .parquet, or as the task has them."""
    output: Path | None = field(default=None, kw_only=True)
    """File for the rows with their results: .jsonl, .csv or .parquet; standard output, as JSON
    lines, when absent."""
    language: str | None = field(default=None, kw_only=True)
    """Of the texts, as en, for a model that tells several apart."""
    task: str | None = field(default=None, kw_only=True)
    """feature-extraction for vectors of any model, translation or summarization for one that writes
    of a source; what the model was made for when absent."""
    text: str | None = field(default=None, kw_only=True)
    """Column of the text, or two with a comma between; found by its usual names when absent."""
    top_k: int | None = field(default=None, kw_only=True)
    """How many results a row has: the best one when absent, of masks five."""
    long: Literal["truncate", "windows"] | None = field(default=None, kw_only=True)
    """Cut longer texts, or average over windows; as the model was fine-tuned when absent."""
    set: list[str] = field(default_factory=list, kw_only=True)
    """Settings of how texts are read, as KEY=VALUE: null_threshold=1.5, stride=64; of tasks that
    write, of how they do: num_beams=1, max_new_tokens=60."""
    pooling: Literal["mean", "cls", "max"] | None = field(default=None, kw_only=True)
    """How feature-extraction makes one vector of a text's; mean when absent."""
    normalize: bool = field(default=False, kw_only=True)
    """Give the vectors of feature-extraction length 1."""
    precision: Literal["auto", "float32", "bfloat16", "int8"] = field(
        default="float32", kw_only=True
    )
    """Of the products; auto is bfloat16 where the hardware has it, int8 is faster and rougher."""
    on_error: Literal["stop", "skip"] = field(default="stop", kw_only=True)
    """What to do with a row that cannot be predicted."""
    json: bool = field(default=False, kw_only=True)
    """End standard output with one JSON object."""


@dataclass(frozen=True, slots=True)
class InspectOptions:
    """See what the model sees, and what it is made of."""

    subject: str | None = None
    """A text to show as BERT sees it, or a token store to describe."""
    tokenizer: Path | None = field(default=None, kw_only=True)
    """Folder of the tokenizer to read a text with."""
    recipe: str | None = field(default=None, kw_only=True)
    """Recipe whose model is counted, parameter by parameter."""
    model: str | None = field(default=None, kw_only=True)
    """Checkpoint to describe: a folder or a hub id."""
    vocab_size: int = field(default=30_522, kw_only=True)
    """Vocabulary that a recipe's model is counted with."""
    seed: int = field(default=0, kw_only=True)
    """Of the masking and the pairs that are shown."""
    json: bool = field(default=False, kw_only=True)
    """End standard output with one JSON object."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """Do the main job on text that ships with Python, from tokenizer to a task's answers."""

    out: Path = field(kw_only=True)
    """Folder to write everything to."""
    budget: str = field(default="200s", kw_only=True)
    """Time for pre-training."""
    json: bool = field(default=False, kw_only=True)
    """End standard output with one JSON object."""
