"""The verb `generate`: what a model writes behind a text, or of one."""

from dataclasses import dataclass
from typing import Any

from rich.console import Group
from rich.text import Text

from unmask import hardware
from unmask.errors import UserError
from unmask.predict.model import Generated, Model
from unmask.verbs import GenerateOptions, verb

EARLY = {"true": True, "false": False, "never": "never", None: None}
"""What the words of the command line mean."""


@dataclass(frozen=True, slots=True)
class Texts:
    """What was written."""

    results: list[Generated] | list[list[Generated]]
    """For each text one, or a list where several were asked for."""

    def to_json(self) -> dict[str, Any]:
        """Give what `--json` prints."""
        return {"results": self.results}

    def __rich__(self) -> Group:
        """Show a text after the other; several of one are numbered."""
        parts: list[Text] = []
        for found in self.results:
            if isinstance(found, dict):
                parts.append(Text(found["generated_text"]))
            else:
                numbered = enumerate(found, 1)
                parts += [Text(f"{number}. {one['generated_text']}") for number, one in numbered]
        return Group(*parts)


@verb(GenerateOptions)
def generate(options: GenerateOptions) -> Texts:
    """Write on behind texts, or of sources. Raises UserError for what is not possible."""
    model = Model.from_pretrained(options.model, options.language)
    model.network.to(hardware.device())
    if not options.texts and model.pretrained.spec.source is not None:
        raise UserError("no text; an encoder-decoder writes of one that it reads, so give some")
    results = model.generate(
        options.texts or [""],
        truncate=options.truncate,
        return_full_text=False if options.only_new else None,
        max_new_tokens=options.max_new_tokens,
        min_new_tokens=options.min_new_tokens,
        stop=tuple(options.stop) or None,
        num_beams=options.num_beams,
        length_penalty=options.length_penalty,
        early_stopping=EARLY[options.early_stopping],
        num_return_sequences=options.num_return_sequences,
        do_sample=options.do_sample,
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        seed=options.seed,
        repetition_penalty=options.repetition_penalty,
        no_repeat_ngram_size=options.no_repeat_ngram_size,
    )
    return Texts(results)
