"""Whether a model's chat template may be rendered: a program that its maker wrote.

transformers renders it in Jinja's sandbox. What reaches for the inside of an object, or for other
files, is refused before that, whether or not the sandbox would let it.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Characters of a template. The longest in use have some ten thousand.
MAX_LENGTH = 100_000
#: A tag of transformers' own, which plain Jinja does not know.
_GENERATION = re.compile(r"{%-?\s*(end)?generation\s*-?%}")


def templates(folder: Path, tokenizer: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Every template of a model folder: where it stands, and its text.

    Args:
        tokenizer: what tokenizer_config.json holds.
    """
    for text in texts(tokenizer.get("chat_template")):
        yield "tokenizer_config.json", text
    for path in sorted(folder.rglob("*.jinja")):
        if path.stat().st_size > MAX_LENGTH:
            yield path.name, "x" * (MAX_LENGTH + 1)
        else:
            yield path.name, path.read_text(encoding="utf-8", errors="replace")


def texts(given: Any) -> Iterator[str]:
    """The texts in a tokenizer's `chat_template`: one, a list of names with them, or a mapping."""
    waiting = [given]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, list | dict):
            waiting.extend(one.values() if isinstance(one, dict) else one)


def problem(text: str) -> str | None:
    """What is wrong with a template, as half a sentence; None where nothing is."""
    import jinja2  # noqa: PLC0415 - a tenth of a second, only where a model is loaded
    from jinja2 import nodes  # noqa: PLC0415 - the same

    if len(text) > MAX_LENGTH:
        return f"is longer than {MAX_LENGTH} characters"
    reader = jinja2.Environment(extensions=["jinja2.ext.loopcontrols"], autoescape=True)
    try:
        tree = reader.parse(_GENERATION.sub("", text))
    except (jinja2.TemplateError, RecursionError):
        return "cannot be read as a Jinja template"
    for kind in (nodes.Include, nodes.Extends, nodes.Import, nodes.FromImport):
        if tree.find(kind) is not None:
            return "reaches for other files"
    if any(one.attr.startswith("_") for one in tree.find_all(nodes.Getattr)):
        return "reaches for the inside of an object"
    if any(one.name == "attr" for one in tree.find_all(nodes.Filter)):
        return "reaches for the inside of an object"
    if any("__" in one.value for one in tree.find_all(nodes.Const) if isinstance(one.value, str)):
        return "reaches for the inside of an object"
    return None
