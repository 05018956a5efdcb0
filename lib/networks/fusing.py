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
    places = places_of_norms(network.model)
    fusions = [Fusion(*pair, pair[0].weight, pair[0].bias, places[pair[1]]) for pair in watch.once()]
    for fusion in fusions:
        fusion.fuse()
    after = network.features(images)
    if torch.allclose(after, before, rtol=ROUNDING, atol=ROUNDING * float(before.abs().max())):
        return len(fusions)
    for fusion in fusions:
        fusion.put_back()
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


Places = list[tuple[nn.Module, str]]  # a module's parents, and its name in each


def places_of_norms(model: nn.Module) -> dict[nn.Module, Places]:
    """Return where each batch norm stands in a model."""
    found: dict[nn.Module, Places] = {}
    for parent in model.modules():
        for name, child in parent.named_children():
            if type(child) in NORMS:
                found.setdefault(child, []).append((parent, name))
    return found


@dataclass(frozen=True)
class Fusion:
    """A convolution with its own weight and bias, and the batch norm behind it with its places in the model."""

    convolution: nn.Conv2d
    norm: nn.BatchNorm2d
    weight: torch.Tensor
    bias: torch.Tensor | None
    places: Places

    def fuse(self) -> None:
        """Take the norm into the convolution. What timm's norms do besides, an activation, stays in its place."""
        norm, mean, variance = self.norm, self.norm.running_mean, self.norm.running_var
        assert mean is not None
        assert variance is not None
        self.convolution.weight, self.convolution.bias = fuse_conv_bn_weights(
            self.weight, self.bias, mean, variance, norm.eps, norm.weight, norm.bias
        )
        self._put(nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity())

    def put_back(self) -> None:
        """Make both what they were."""
        self.convolution.weight, self.convolution.bias = self.weight, self.bias
        self._put(self.norm)

    def _put(self, module: nn.Module) -> None:
        for parent, name in self.places:
            setattr(parent, name, module)
