"""States of a training on disk: one that dies goes on from the last, and ends with the same bytes.

A state is one safetensors file: its tensors, and all else as JSON in the header. It is written
beside its place and renamed, so that a file with a state's name is whole. Nothing is pickled.
"""

import json
import os
import random
import sys
import time
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import numpy
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from roundhouse import failpoints
from roundhouse.errors import StageError
from roundhouse.learn import parallel, passes
from roundhouse.settings import CheckpointSettings
from roundhouse.storage import writing

_SUFFIX = ".safetensors"


class Training(Protocol):
    """What can be saved: everything that training changes, random draws apart."""

    step: int

    def state_dict(self) -> dict[str, Any]:
        """Its state: tensors, numbers, texts, None, in dicts and lists."""
        ...

    def load_state_dict(self, saved: Mapping[str, Any], /) -> None:
        """Takes back what `state_dict` gave, every tensor by value."""
        ...


class Checkpoints:
    """The newest states of one training, with those of the global random generators.

    Args:
        folder: theirs alone; None keeps nothing.
        settings: how often one is saved, and how many stay.
    """

    def __init__(self, folder: Path | None, settings: CheckpointSettings | None = None) -> None:
        self._folder, self._settings = folder, settings
        self._identity = ""
        self._saved_at = time.monotonic()

    def of(self, name: str) -> "Checkpoints":
        """Those of a part that trains for itself, in a folder within."""
        return Checkpoints(self._folder and self._folder / name, self._settings)

    def resume(self, state: Training, total: int, identity: str) -> None:
        """Brings a state that is about to begin to where the newest saved one stands.

        States of another training are deleted, and so is a file that cannot be read.

        Args:
            state: before its first step.
            total: steps there are.
            identity: what the training is made of (`identity`).

        Raises:
            StageError: of several processes not all could read it.
        """
        self._identity, self._saved_at = identity, time.monotonic()
        path = self._newest(state)
        # Processes that stand at different steps would wait for each other for ever.
        if parallel.highest(state.step) != -parallel.highest(-state.step):
            raise StageError(f"{self._folder}: not all processes can read {path}: resume again")
        if path:
            done = "all" if state.step == total else f"{state.step} of {total}"
            sys.stderr.write(f"{path}: {done} steps were done before\n")

    def _newest(self, state: Training) -> Path | None:
        """Loads the newest state that can be read; deletes the newer ones, and those of others."""
        for path in reversed(self._paths()):
            found = _read(path, self._identity)
            if found is not None:
                state.load_state_dict(found["state"])
                _set_random(found["random"])
                return path
            if parallel.first():
                path.unlink()
        return None

    def save(self, state: Training, total: int) -> None:
        """Saves the state where one is due, and always after the last step.

        Raises:
            StorageError: the disk is full or fails.
        """
        if self._folder is None or self._settings is None:
            return
        waited = time.monotonic() - self._saved_at
        due = waited >= self._settings.seconds or state.step == total
        # Processes save together: each holds a part of the state, and the first one's clock counts.
        if parallel.agreed(torch.tensor(due)):
            saved = state.state_dict()
            if parallel.first():
                self._write(state.step, saved)
            self._saved_at = time.monotonic()

    def _write(self, step: int, state: Mapping[str, Any]) -> None:
        assert self._folder is not None
        assert self._settings is not None
        tensors: dict[str, Tensor] = {}
        whole = {"state": state, "random": _random()}
        note = {"identity": self._identity, "tree": _pack(whole, "", tensors)}
        path = self._folder / f"step-{step:08d}{_SUFFIX}"
        part = path.with_suffix(".part")
        need = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        with writing(path, need):
            self._folder.mkdir(parents=True, exist_ok=True)
            save_file(tensors, part, metadata={"note": json.dumps(note, allow_nan=False)})
            failpoints.hit("checkpoint.write", of=self._folder.name)
            _sync(part)
            part.replace(path)
            _sync(self._folder)
        failpoints.hit("checkpoint.saved", of=self._folder.name)
        for old in self._paths()[: -self._settings.keep]:
            old.unlink()

    def _paths(self) -> list[Path]:
        """Whole states, oldest first."""
        return sorted(self._folder.glob(f"step-*{_SUFFIX}")) if self._folder else []


#: For use in a notebook.
NOWHERE = Checkpoints(None)


def identity(*parts: Any) -> str:
    """SHA-256 of what a training is made of: models (their weights) and anything that JSON holds.

    The version, device, threads, processes and precision that decide over bytes count too.
    """
    # All of them, so that each of several processes says the same.
    gpus = {torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())}
    threads = torch.get_num_threads()
    machine = torch.__version__, sorted(gpus), threads, parallel.processes(), passes.named()
    digest = sha256(repr(machine).encode())
    for part in parts:
        if isinstance(part, nn.Module):
            for name, weight in part.state_dict().items():
                digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
                flat = weight.detach().cpu().contiguous().flatten()
                digest.update(flat.view(torch.uint8).numpy())
        else:
            digest.update(json.dumps(part, sort_keys=True).encode())
    return digest.hexdigest()


def weights(model: nn.Module) -> dict[str, Tensor]:
    """The parameters that train, by name; tied ones once."""
    own = ((name, p.detach()) for name, p in model.named_parameters() if p.requires_grad)
    return {name: parallel.whole(p) for name, p in own}


def put_weights(model: nn.Module, saved: Mapping[str, Tensor]) -> None:
    """Overwrites the parameters that train."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(parallel.like(saved[name], parameter))


def _read(path: Path, identity: str) -> dict[str, Any] | None:
    """The saved state and random generators; None where it belongs to another training."""
    try:
        with safe_open(path, framework="pt") as file:
            note = json.loads(file.metadata()["note"])
            if note["identity"] != identity:
                return None
            found: dict[str, Any] = _unpack(note["tree"], file)
            return found
    except (SafetensorError, OSError, ValueError, KeyError, TypeError):
        return None


def _pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """A tree as JSON; its tensors go into `tensors`, each under its path in the tree."""
    if isinstance(value, Tensor):
        tensors[name] = value.detach().contiguous()
        return {"tensor": name}
    if isinstance(value, Mapping):
        # A list, since keys may be numbers.
        return {
            "map": [[key, _pack(part, f"{name}/{key}", tensors)] for key, part in value.items()]
        }
    if isinstance(value, list | tuple):
        return [_pack(part, f"{name}/{place}", tensors) for place, part in enumerate(value)]
    return value


def _unpack(value: Any, file: Any) -> Any:
    if isinstance(value, list):
        return [_unpack(part, file) for part in value]
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        # Not the file's own memory: where a tensor begins can decide over its sums' last bits.
        return file.get_tensor(value["tensor"]).clone()
    return {key: _unpack(part, file) for key, part in value["map"]}


def _random() -> dict[str, Any]:
    """The states of the global generators."""
    drawn: Any = numpy.random.get_state()
    kind, words, *rest = drawn
    found: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": [kind, words.tolist(), *rest],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        found["cuda"] = torch.cuda.get_rng_state_all()
    return found


def _set_random(saved: Mapping[str, Any]) -> None:
    version, words, gauss = saved["python"]
    random.setstate((version, tuple(words), gauss))
    numpy.random.set_state(tuple(saved["numpy"]))
    torch.set_rng_state(saved["torch"])
    if "cuda" in saved and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(saved["cuda"])


def _sync(path: Path) -> None:
    """Waits until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
