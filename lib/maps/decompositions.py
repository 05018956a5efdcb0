"""Decompositions of matrices: by SciPy where one thread of a CPU computes, else by PyTorch.

Of 2,048 x 2,048 numbers SciPy's OpenBLAS takes two thirds of the time of PyTorch's MKL on an AMD EPYC, in one thread.
Its number of threads is fixed when it is loaded, so it does nothing where PyTorch has several.
"""

from __future__ import annotations

import torch
from scipy import linalg


def eigh(S: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the eigenvalues (d,) of a symmetric matrix (d, d), the smallest first, and its eigenvectors (d, d)."""
    if not _suits_scipy(S):
        values, vectors = torch.linalg.eigh(S)
        return values, vectors
    w, V = linalg.eigh(S.numpy(), driver="evd")
    return torch.from_numpy(w), torch.from_numpy(V)


def svd(A: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return P (n, k), sigma (k,), the largest first, and Q^T (k, d) of A (n, d) = P diag(sigma) Q^T, k = min(n, d)."""
    if not _suits_scipy(A):
        P, sigma, Qt = torch.linalg.svd(A, full_matrices=False)
        return P, sigma, Qt
    U, s, Vt = linalg.svd(A.numpy(), full_matrices=False)
    return torch.from_numpy(U), torch.from_numpy(s), torch.from_numpy(Vt)


def _suits_scipy(matrix: torch.Tensor) -> bool:
    """Return whether SciPy decomposes it: not if it is empty, which SciPy 1.11 refuses."""
    return matrix.device.type == "cpu" and torch.get_num_threads() == 1 and matrix.numel() > 0
