"""The documents agree with the code: links, settings, commands, options, targets, examples."""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from roundhouse import feedback
from roundhouse.cli import parser

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("docs", "examples", "benchmarks", "infra")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(d for f in FOLDERS for d in (ROOT / f).rglob("*.md"))])
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))

#: `raters.json` is a file, though `raters` is a block of settings.
FILES = ("json", "jsonl", "py", "yaml", "md", "txt", "html")

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```\w*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`([^`\n]+)`")
_SETTING = re.compile(rf"(?<![\w./-])((?:{'|'.join(PARAMS)})(?:\.[a-z_]+)+)\b(?!\()")
_MACHINE = re.compile(r"(?<![\w.])(/work/|/home/|/root/|/Users/)|\.\./shared|shared/(data|models)")


def name(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=name)


@pytest.mark.parametrize(("document", "most"), [("README.md", 150), ("CONTRIBUTING.md", 80)])
def test_front_pages_stay_short(document: str, most: int) -> None:
    assert len((ROOT / document).read_text(encoding="utf-8").splitlines()) <= most


@every_document
def test_links_lead_somewhere(document: Path) -> None:
    for link in _LINK.findall(document.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@every_document
def test_settings_exist(document: Path) -> None:
    for setting in settings_in(document.read_text(encoding="utf-8")):
        assert known(setting), f"params.yaml has no {setting}"


@every_document
def test_commands_and_their_options_exist(document: Path) -> None:
    for call in calls(document.read_text(encoding="utf-8")):
        problem = refused(call)
        assert problem is None, f"{call}: {problem}"


@every_document
def test_make_targets_exist(document: Path) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    for code in code_in(document.read_text(encoding="utf-8")):
        for target in re.findall(r"(?:^|\s)make ([a-z]+)", code):
            assert target in targets, f"make {target}"


@every_document
def test_no_place_of_one_machine_is_named(document: Path) -> None:
    assert _MACHINE.search(document.read_text(encoding="utf-8")) is None


@pytest.mark.parametrize("document", [ROOT / "docs" / "raters.md"], ids=name)
def test_examples_in_python_run(document: Path) -> None:
    blocks = _PYTHON.findall(document.read_text(encoding="utf-8"))
    assert blocks
    for block in blocks:
        exec(compile(block, name(document), "exec"), {})


@every_document
def test_modules_that_commands_run_are_there_and_are_run_by_name(document: Path) -> None:
    """`python benchmarks/X.py` would not find its neighbours; only -m does."""
    for code in code_in(document.read_text(encoding="utf-8")):
        assert not re.search(r"python benchmarks/|benchmarks/\S+\.py -", code), code
        for module in re.findall(r"python -m (benchmarks[.\w]*)", code):
            assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module


def test_every_reason_code_is_explained() -> None:
    text = (ROOT / "docs" / "feedback.md").read_text(encoding="utf-8")
    table = text.partition("## Reason codes")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.M) == sorted(feedback.REASONS)


def test_every_command_is_in_a_document() -> None:
    texts = [document.read_text(encoding="utf-8") for document in DOCUMENTS]
    named = {call.split()[0] for text in texts for call in calls(text)}
    assert set(subcommands(parser())) - named == set()


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = _LINK.findall((folder / "README.md").read_text(encoding="utf-8"))
    assert sorted(listed) == sorted(path.name for path in folder.glob("0*.md"))


def test_the_tests_see_what_they_should() -> None:
    """What these tests read out of a document, from one that is all wrong."""
    text = "`ppo.stepz` in `raters.json`\n```sh\nroundhouse rounds --cron x # why\n```\n"
    assert [known(setting) for setting in settings_in(text)] == [False]
    assert refused(next(calls(text))) == "no option --cron"
    assert refused("raund 3") == "no command raund"
    assert refused("audit roundd 3") == "no command roundd"
    assert refused("audit round 3 --json") is None


def settings_in(text: str) -> list[str]:
    """Names that begin with a block of params.yaml."""
    found = _SETTING.findall(text)
    return [setting for setting in found if setting.rpartition(".")[2] not in FILES]


def known(setting: str) -> bool:
    block = PARAMS
    for key in setting.split("."):
        if not isinstance(block, dict) or key not in block:
            return False
        block = block[key]
    return True


def code_in(text: str) -> Iterator[str]:
    """Lines of code blocks, then inline code."""
    for block in _FENCE.findall(text):
        yield from block.replace("\\\n", " ").splitlines()
    yield from _INLINE.findall(_FENCE.sub("", text))


def calls(text: str) -> Iterator[str]:
    """What follows `roundhouse` where code calls it, comments left out."""
    for code in code_in(text):
        called = re.match(r"(?:\$ )?(?:\.venv/bin/)?roundhouse ([a-z].*)", code.strip())
        if called:
            yield called[1].partition(" #")[0]


def refused(call: str) -> str | None:
    """What the parser would not know of a call; values are not looked at."""
    command = parser()
    words = call.split()
    while choices := subcommands(command):
        word = words.pop(0) if words else ""
        # A table may name the kinds of a command: `audit round`, or the bare `audit`.
        if word not in choices:
            return f"no command {word}" if word else None
        command = choices[word]
    for word in words:
        option = word.partition("=")[0]
        if option.startswith("--") and option not in command.format_help():
            return f"no option {option}"
    return None


def subcommands(command: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found: dict[str, argparse.ArgumentParser] = {}
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= action.choices
    return found


def anchors(document: Path) -> set[str]:
    """Anchors of a document's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
