"""Batch norms taken into the convolutions before them: a network of fewer passes over memory, and the same features up
to rounding.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from timm.layers import BatchNormAct2d, Conv2dSame
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from lib.networks.network import Network

# Those that compute with their weights as they are: others, such as timm's StdConv2d, change them in each pass.
CONVOLUTIONS = (nn.Conv2d, Conv2dSame)
NORMS = (nn.BatchNorm2d, BatchNormAct2d)
ROUNDING = 1e-4  # of the largest feature, as Network.check_split allows; 8e-6 were seen
Pair = tuple[nn.Conv2d, nn.BatchNorm2d]


@torch.no_grad()
def fuse_batch_norms(network: Network) -> int:
    """Take the network's batch norms into the convolutions before them, in place, and return how many were taken.

    With fixed statistics a batch norm multiplies each channel by a number and adds one, as the convolution's weights
    and biases can. Which convolution comes directly before which norm is seen while random images pass. If their
    features are others afterwards, since something else takes a convolution's output as well, all is put back, and 0
    returned. The network's fingerprint is no longer that of its weights. Source: torch.nn.utils.fusion.
    """
    if not any(type(module) in NORMS for module in network.model.modules()):
        return 0
    images = network.random_images()
    watch = Watch()
    handles = [handle for module in network.model.modules() for handle in watch.hooks(module)]
    before = network.features(images)
    for handle in handles:
        handle.remove()
    pairs = watch.once()
    undo = [Undo.before(network.model, pair) for pair in pairs]
    for pair in pairs:
        fuse(network.model, *pair)
    after = network.features(images)
    if torch.allclose(after, before, rtol=ROUNDING, atol=ROUNDING * float(before.abs().max())):
        return len(pairs)
    for fused in undo:
        fused.put_back()
    return 0


class Watch:
    """Sees which convolution's output goes directly into which batch norm."""

    def __init__(self) -> None:
        self.last: tuple[nn.Module, torch.Tensor] | None = None
        self.calls: Counter[nn.Module] = Counter()
        self.pairs: list[Pair] = []

    def hooks(self, module: nn.Module) -> list[torch.utils.hooks.RemovableHandle]:
        """Look at each call of a module, if it is a convolution or a batch norm. Return what ends that."""
        if type(module) in CONVOLUTIONS:
            return [module.register_forward_hook(self.after_convolution)]
        return [module.register_forward_pre_hook(self.before_norm)] if type(module) in NORMS else []

    def after_convolution(self, module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        """Note what a convolution gives."""
        self.calls[module] += 1
        self.last = module, output

    def before_norm(self, module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        """Note whether a batch norm takes what the last convolution gave."""
        self.calls[module] += 1
        if self.last is not None and inputs[0] is self.last[1]:
            self.pairs.append((self.last[0], module))  # type: ignore[arg-type] # their types were looked at

    def once(self) -> list[Pair]:
        """Return the pairs whose parts were called once, the norms by their fixed statistics."""
        return [
            (convolution, norm)
            for convolution, norm in self.pairs
            if self.calls[convolution] == self.calls[norm] == 1 and norm.running_mean is not None and not norm.training
        ]


def fuse(model: nn.Module, convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Take one batch norm into a convolution. What timm's norms do besides, an activation, stays in its place."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    convolution.weight, convolution.bias = fuse_conv_bn_weights(
        convolution.weight, convolution.bias, mean, variance, norm.eps, norm.weight, norm.bias
    )
    rest = nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity()
    for parent, name in places(model, norm):
        setattr(parent, name, rest)


def places(model: nn.Module, child: nn.Module) -> list[tuple[nn.Module, str]]:
    """Return where a module stands in a model: its parents, and its name in each."""
    return [(parent, name) for parent in model.modules() for name, found in parent.named_children() if found is child]


@dataclass(frozen=True)
class Undo:
    """A convolution and a batch norm as they were."""

    convolution: nn.Conv2d
    weight: torch.Tensor
    bias: torch.Tensor | None
    norm: nn.BatchNorm2d
    places: list[tuple[nn.Module, str]]

    @classmethod
    def before(cls, model: nn.Module, pair: Pair) -> Undo:
        """Return a pair of a model as it is now."""
        convolution, norm = pair
        return cls(convolution, convolution.weight, convolution.bias, norm, places(model, norm))

    def put_back(self) -> None:
        """Make the pair what it was."""
        self.convolution.weight, self.convolution.bias = self.weight, self.bias
        for parent, name in self.places:
            setattr(parent, name, self.norm)
