"""Runs tests against changed copies of the source: `python tests/mutants/run.py FOLDER < JSON`.

Reads a list of mutants, prints one line of JSON for each: its name and the exit code of pytest (1:
a test failed, as it should; 0: no test saw the fault). The heavy libraries are imported once, and
every mutant has a process that is forked from there and imports the project from its own copy.
"""

import importlib
import json
import os
import shutil
import sys
import traceback
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
#: What takes seconds to import, among it what torch and transformers import when they are used.
HEAVY = (
    *("numpy", "pandas", "pydantic", "pytest", "hypothesis", "torch", "torch._dynamo"),
    *("transformers", "safetensors.torch", "transformers.models.auto.modeling_auto"),
    *("transformers.models.auto.tokenization_auto", "transformers.models.gpt2.modeling_gpt2"),
    *("transformers.models.llama.modeling_llama", "transformers.generation.utils"),
)


def copy(folder: Path, mutant: dict[str, str]) -> Path:
    """A copy of the source with the fault in it."""
    source = Path(
        shutil.copytree(PROJECT / "src", folder / "src", ignore=shutil.ignore_patterns("*.pyc.*"))
    )
    file = source / "roundhouse" / mutant["file"]
    text = file.read_text(encoding="utf-8")
    found = text.count(mutant["old"])
    if found != 1:
        sys.exit(f"{mutant['name']}: {mutant['old']!r} stands {found} times in {mutant['file']}")
    file.write_text(text.replace(mutant["old"], mutant["new"]), encoding="utf-8")
    return source


def test(folder: Path, mutant: dict[str, str]) -> int:
    """The exit code of the mutant's test, in this process, against the copy."""
    source = copy(folder, mutant)
    os.environ["PYTHONPATH"] = str(source)
    sys.path[:0] = [str(source), str(PROJECT)]
    package: Any = importlib.import_module("roundhouse")
    assert Path(package.__file__).is_relative_to(folder), package.__file__
    path, _, name = mutant["test"].partition("::")
    arguments = [str(PROJECT / path), "-x", "-q", f"--rootdir={PROJECT}", "--assert=plain"]
    arguments += [
        "-p",
        "no:cacheprovider",
        f"--basetemp={folder / 'temp'}",
        f"-c{PROJECT / 'pyproject.toml'}",
    ]
    arguments += ["-k", name] if name else []
    import pytest  # noqa: PLC0415 - this program runs before the libraries are there

    return int(pytest.main(arguments))


def apart(folder: Path, mutant: dict[str, str]) -> int:
    """`test` in a forked process; what it says is kept in the folder."""
    folder.mkdir(parents=True)
    process = os.fork()
    if process == 0:
        log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 1)
        os.dup2(log, 2)
        code = 70
        try:
            code = test(folder, mutant)
        except BaseException:  # whatever it is, it goes into the log and not into the next mutant
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def main() -> None:
    """Every mutant, one after the other."""
    for name in HEAVY:
        importlib.import_module(name)
    for number, mutant in enumerate(json.load(sys.stdin)):
        code = apart(Path(sys.argv[1]) / str(number), mutant)
        sys.stdout.write(json.dumps({"name": mutant["name"], "code": code}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
