"""What people write to fit a map: scikit-learn's Ridge, or Adam over torch's DataLoader.

python -m lib.benchmarks.peer_fits ridge FOLDER
python -m lib.benchmarks.peer_fits adam FOLDER 1000 256
"""

from __future__ import annotations

import sys
from itertools import islice, permutations
from pathlib import Path

import numpy as np

RATE = 1e-3


def fit_ridge(X: np.ndarray, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return weight (d_B, d_A) and bias (d_B,) of the least-squares map with a penalty, by scikit-learn."""
    from sklearn.linear_model import Ridge

    fitted = Ridge(alpha=1.0).fit(X, Y)
    return fitted.coef_, fitted.intercept_


def fit_adam(X: np.ndarray, Y: np.ndarray, iterations: int, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Return weight and bias of the map whose directions fit best, after so many batches of Adam."""
    import torch
    from torch.nn import functional
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    layer = torch.nn.Linear(X.shape[1], Y.shape[1])
    adam = torch.optim.Adam(layer.parameters(), lr=RATE)
    rows = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    loader = DataLoader(rows, batch_size=min(batch, len(X)), shuffle=True, drop_last=True)

    def batches():  # type: ignore[no-untyped-def] # of whatever the loader yields
        while True:
            yield from loader

    for x, y in islice(batches(), iterations):
        loss = (functional.normalize(layer(x)) - functional.normalize(y)).square().sum(1).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    return layer.weight.detach().numpy(), layer.bias.detach().numpy()


def fit_all(way: str, folder: Path, *numbers: int) -> None:
    """Fit both directions between the features of a folder, train-NAME.npy, and write the maps beside them."""
    features = {file.stem.removeprefix("train-"): np.load(file) for file in sorted(folder.glob("train-*.npy"))}
    for source, target in permutations(features, 2):
        X, Y = features[source], features[target]
        weight, bias = fit_ridge(X, Y) if way == "ridge" else fit_adam(X, Y, *numbers)
        np.savez(folder / f"{way}.{source}-to-{target}.npz", weight=weight, bias=bias)


if __name__ == "__main__":
    fit_all(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:]))
