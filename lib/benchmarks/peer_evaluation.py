"""What people write to judge maps: accuracy, its loss with an interval, McNemar's p, and E, by numpy and scipy.

python -m lib.benchmarks.peer_evaluation FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from scipy import stats


def unit(F: np.ndarray) -> np.ndarray:
    """Return rows (n, d) at unit length."""
    lengths = np.linalg.norm(F, axis=1, keepdims=True)
    return F / np.where(lengths > 0, lengths, 1)


def compare(own: np.ndarray, mapped: np.ndarray) -> dict[str, object]:
    """Return what a classifier loses, from which images (n,) it gets right with its own and with mapped features."""
    fixed, broken, n = int((~own & mapped).sum()), int((own & ~mapped).sum()), len(own)
    loss = (broken - fixed) / n
    half = stats.norm.ppf(0.975) * np.sqrt(((broken + fixed) / n - loss**2) / n)
    p = stats.binomtest(fixed, fixed + broken).pvalue if fixed + broken else 1.0
    return {"accuracy": float(mapped.mean()), "loss": loss, "interval": [loss - half, loss + half], "p": float(p)}


def evaluate(folder: Path) -> None:
    """Judge every map of a folder, WAY.A-to-B.npz, and write the numbers as evaluation.json."""
    features = {file.stem.removeprefix("val-"): np.load(file) for file in sorted(folder.glob("val-*.npy"))}
    label = np.load(folder / "label.npy")
    classifiers = {name: np.load(folder / f"classifier-{name}.npz") for name in features}

    def right(target: str, F: np.ndarray) -> np.ndarray:
        C = classifiers[target]
        return np.asarray((F @ C["weight"].T + C["bias"]).argmax(1) == label)

    found = {}
    for file in sorted(folder.glob("*-to-*.npz")):
        source, target = file.stem.partition(".")[2].split("-to-")
        map_ = np.load(file)
        mapped = features[source] @ map_["weight"].T + map_["bias"]
        error = float(np.square(unit(mapped) - unit(features[target])).sum(1).mean())
        found[file.stem] = {**compare(right(target, features[target]), right(target, mapped)), "error": error}
    (folder / "evaluation.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    evaluate(Path(sys.argv[1]))
