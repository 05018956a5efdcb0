"""The last Linear layer of any model, taken off: what is left computes F."""

from __future__ import annotations

from torch import nn

from lib.networks.backbones import Compute


def last_linear(model: nn.Module) -> str | None:
    """Return the name of the last Linear layer in the order in which the model holds its layers; None without any."""
    names = [name for name, layer in model.named_modules() if isinstance(layer, nn.Linear)]
    return names[-1] if names else None


def take_off(model: nn.Module, name: str, compute: Compute) -> tuple[nn.Module, Compute]:
    """Put an identity in the place of the layer called `name`. Return the layer, and the function of the whole model.

    `compute` is the model's function, which gives F from now on. The function returned gives the model's own output; it
    puts the layer back meanwhile, so only one thread may call it.
    """
    path, _, last = name.rpartition(".")
    parent, layer = model.get_submodule(path), model.get_submodule(name)
    setattr(parent, last, nn.Identity())

    def whole(images):  # type: ignore[no-untyped-def] # Compute says
        setattr(parent, last, layer.to(images.device))
        try:
            return compute(images)
        finally:
            setattr(parent, last, nn.Identity())

    return layer, whole
