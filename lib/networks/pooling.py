"""Which features of timm's networks: another pool than the network's own, or the pooled output of an earlier block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from timm.layers import SelectAdaptivePool2d
from torch import nn

from lib.errors import NetworkError

TOKEN_AND_MEAN = "token+avg"  # what the linear heads of DINOv2's and DINOv3's authors take
OF_TOKENS = ("token", "avg", "max", "avgmax", "map")
OF_PLANES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {  # of (n, c, h, w)
    "avg": lambda planes: planes.mean((2, 3)),
    "max": lambda planes: planes.amax((2, 3)),
    "avgmax": lambda planes: (planes.mean((2, 3)) + planes.amax((2, 3))) / 2,
    "catavgmax": lambda planes: torch.cat([planes.mean((2, 3)), planes.amax((2, 3))], 1),
}


def pooled_features(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return F of timm's model: everything up to and including the global pool, (n, d) for images (n, 3, h, w)."""
    timms: Any = model
    pooled: torch.Tensor = timms.forward_head(timms.forward_features(images), pre_logits=True)
    return pooled.flatten(1)


def token_and_mean(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return the class token beside the mean of the patch tokens, (n, 2 d), for images (n, 3, h, w)."""
    timms: Any = model
    tokens: torch.Tensor = timms.forward_features(images)
    return torch.cat([tokens[:, 0], tokens[:, timms.num_prefix_tokens :].mean(1)], 1)


def choose_pool(name: str, model: nn.Module, pool: str) -> None:
    """Make timm's model pool as its global_pool argument would say, without other changes of its layers.

    timm itself would put another norm in place of the one that the weights are of. Raises NetworkError if the model
    does not have this pool.
    """
    timms: Any = model
    owners: list[Any] = [model, getattr(model, "head", None)]
    adaptive = [
        (owner, layer)
        for owner in owners
        if isinstance(layer := getattr(owner, "global_pool", None), SelectAdaptivePool2d)
    ]
    if isinstance(getattr(model, "global_pool", None), str):
        prefix = getattr(model, "num_prefix_tokens", 0)
        allowed = [*(OF_TOKENS if hasattr(model, "pool") else ("token", "avg"))]
        if not prefix:
            allowed.remove("token")
        if getattr(model, "attn_pool", None) is None and "map" in allowed:
            allowed.remove("map")
        _check(name, pool, [*allowed, *([TOKEN_AND_MEAN] if prefix else [])])
        if pool != "map" and getattr(model, "attn_pool", None) is not None:
            timms.attn_pool = None
        timms.global_pool = pool
    elif adaptive:
        _check(name, pool, list(OF_PLANES))
        for owner, layer in adaptive:
            owner.global_pool = _like(layer, pool)
    else:
        raise NetworkError(f"network {name!r}: {type(model).__name__} has no pool that can be chosen, leave pool out")


def _like(layer: SelectAdaptivePool2d, pool: str) -> SelectAdaptivePool2d:
    """Return another pool that takes and gives what `layer` does: planes or places first, flat or not."""
    dims = getattr(layer.pool, "dim", None)  # of timm's fast pools: the axes of places
    flat = isinstance(layer.flatten, nn.Flatten) or bool(getattr(layer.pool, "flatten", False))
    last = dims is not None and tuple(dims) == (1, 2)
    return SelectAdaptivePool2d(pool_type=pool, flatten=flat, input_fmt="NHWC" if last else "NCHW")


def _check(name: str, pool: str, allowed: list[str]) -> None:
    if pool not in allowed:
        raise NetworkError(f"network {name!r}: it has no pool {pool!r}; allowed are {', '.join(allowed)}")


def block_features(name: str, model: nn.Module, layer: int, pool: str | None) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the function that gives the pooled output of a block of timm's model: (n, d) for images (n, 3, h, w).

    `layer` counts as timm's forward_intermediates does: blocks of transformers, stages of convolutional networks.
    `pool` None is the mean over places. Raises NetworkError if the model has no such block or no such pool.
    """
    timms: Any = model
    if not hasattr(model, "forward_intermediates"):
        raise NetworkError(
            f"network {name!r}: {type(model).__name__} does not give its blocks' output, leave layer out"
        )
    prefix = getattr(model, "num_prefix_tokens", 0)
    _check(name, pool or "avg", [*OF_PLANES, *(["token", TOKEN_AND_MEAN] if prefix else [])])
    takes_tokens = pool in ("token", TOKEN_AND_MEAN)

    def compute(images: torch.Tensor) -> torch.Tensor:
        more = {"return_prefix_tokens": True} if takes_tokens else {}
        (found,) = timms.forward_intermediates(
            images, indices=[layer], stop_early=True, output_fmt="NCHW", intermediates_only=True, **more
        )
        if not takes_tokens:
            return OF_PLANES[pool or "avg"](found)
        planes, tokens = found
        return tokens[:, 0] if pool == "token" else torch.cat([tokens[:, 0], planes.mean((2, 3))], 1)

    return compute
