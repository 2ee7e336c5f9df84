"""A round's outcome by the simulation's truth: figures for people to read, kept from the gate.

The names all begin with `simulation/`, which the gate refuses to look at.
"""

from pathlib import Path

from roundhouse import jsonl
from roundhouse.simulate import truth


def figures(workspace: Path, seed: int) -> dict[str, float]:
    """True win rates, qualities before and after PPO, and the truth's ceiling on label agreement.

    Args:
        workspace: a round's clone, with the answers of its evaluation stage.
        seed: of the bootstrap.
    """
    rows = list(jsonl.read(workspace / "out" / "evaluate" / "answers.jsonl"))
    if not rows:
        return {}
    prompts = [row["prompt"][-1]["content"] for row in rows]
    said = {
        name: [row["answers"][name] for row in rows]
        for name in rows[0]["answers"]
        if all(name in row["answers"] for row in rows)
    }
    found: dict[str, float] = {}
    for name, answers in said.items():
        quality = truth.quality(prompts, answers)
        for aspect, value in quality._asdict().items():
            found[f"simulation/{aspect}/{name}"] = value
    for name in said.keys() - {"challenger"}:
        rate = truth.win_rate(prompts, said["challenger"], said[name], seed)
        found[f"simulation/win_rate/{name}"] = rate.value
        found[f"simulation/win_rate/{name}_low"] = rate.low
        found[f"simulation/win_rate/{name}_high"] = rate.high
    labels = (
        row
        for path in sorted((workspace / "data" / "feedback").glob("*.jsonl"))
        for row in jsonl.read(path)
    )
    found["simulation/label_accuracy"] = truth.label_accuracy(labels)
    return found
