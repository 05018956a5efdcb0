"""E, the error that a fit minimises: the squared distance of two feature vectors scaled to unit length."""

from __future__ import annotations

import torch
from torch.nn import functional


def unit_distance(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return E of each pair of rows, (n,): || x/|x| - y/|y| ||^2, the paper's error, in [0, 4].

    At unit length it equals |x|^2 + |y|^2 - 2 x.y = 2 - 2 cos(x, y). The difference is squared instead, since 2 - 2 cos
    cancels to noise where x and y nearly agree.
    """
    return (functional.normalize(x, dim=1) - functional.normalize(y, dim=1)).square().sum(1)


def error_and_slope(predicted: torch.Tensor, unit: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the part of a batch's mean E that these rows make up, and its slope by `predicted`, (n, d).

    The batch has `size` rows, of which `predicted` (n, d) and `unit` (n, d) are n. With p = `predicted`, y/|y| =
    `unit`, u = p/|p| and D = u - y/|y|, E = |D|^2. Since du = (I - u u') dp / |p|, dE = 2 D'du, so the slope of E is 2
    (D - (D.u) u) / |p|. Autograd finds the same in more passes over memory.
    """
    length = torch.linalg.vector_norm(predicted, dim=1, keepdim=True).clamp_min(1e-12)  # as functional.normalize
    u = predicted / length
    D = u - unit
    along = torch.linalg.vecdot(D, u).unsqueeze(1)
    error = torch.linalg.vecdot(D, D).sum() / size
    return error, torch.addcmul(D, along, u, value=-1).mul_((2 / size) / length)
