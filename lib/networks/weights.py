"""Load a network's weights from timm, a file, or an installed package, without running pickles."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import safetensors.torch
import timm.data
import torch
from torch import nn

import lib.demo.networks
import lib.slim.networks  # noqa: F401 - both register their networks with timm
from lib.errors import NetworkError
from lib.experiment.network_settings import NetworkSettings
from lib.networks.weight_files import cached, package_file

log = logging.getLogger(__name__)
PREFIXES = ("_orig_mod.", "module.", "model.")  # of torch.compile, DataParallel and Lightning


def check_known(name: str, settings: NetworkSettings) -> None:
    """Raise NetworkError, which names models like it, if timm has no such model."""
    if not timm.is_model(settings.model.split(".")[0]) and "/" not in settings.model:
        near = ", ".join(timm.list_models(f"*{settings.model.split('_')[0]}*")[:8]) or "see timm.list_models()"
        raise NetworkError(f"network {name!r}: timm has no model {settings.model!r}; near it: {near}")


def load_model(name: str, settings: NetworkSettings) -> nn.Module:
    """Return timm's model with the weights that the experiment names. Raises NetworkError."""
    check_known(name, settings)
    pretrained = settings.weights == "pretrained"
    try:
        with torch.random.fork_rng(devices=[]):  # leaves the caller's random numbers as they are
            torch.default_generator.manual_seed(0)  # random weights are the same in every process
            model: nn.Module = timm.create_model(settings.model, pretrained=pretrained, **settings.options)
    except Exception as error:
        hint = "; give weights = a file, a package: or random where the hub cannot be reached" if pretrained else ""
        raise NetworkError(f"network {name!r}: timm can't create {settings.model!r}: {error}{hint}") from error
    if settings.weights not in ("pretrained", "random"):
        load_weights(name, model, settings.weights)
    return model


def load_weights(name: str, model: nn.Module, weights: str) -> None:
    """Load weights from a .safetensors or .pth file, or from an installed weights package. Pickles are never run."""
    by_order = weights.startswith("package:")
    path = package_file(name, weights.removeprefix("package:")) if by_order else cached(weights)
    state = read_state(name, weights, path)
    if by_order:
        state = in_order(name, state, model.state_dict())
    wanted = model.state_dict()
    state = without_prefixes(name, state, wanted)
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        wrong = state_differences(state, wanted) or str(error)
        raise NetworkError(f"network {name!r}: {weights} doesn't fit the model: {wrong}") from error


def read_state(name: str, weights: str, path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors by name of a .safetensors or .pth file at `path`, which messages call `weights`.

    Pickles are never run. Raises NetworkError if there is no such file, or it holds anything else.
    """
    if not path.is_file():
        raise NetworkError(
            f"network {name!r}: there is no file {weights} with its weights; put it there, or name another"
        )
    try:
        state: Any = (
            safetensors.torch.load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
        if isinstance(state, dict):
            state = state.get("state_dict", state)
    except pickle.UnpicklingError:  # torch's own message advises to load it all the same
        raise NetworkError(
            f"network {name!r}: {weights} isn't loaded: it is damaged, or a pickle of more than tensors that could "
            "run any code. Save its state_dict as .safetensors where you trust it"
        ) from None
    except Exception as error:
        raise NetworkError(
            f"network {name!r}: {weights} isn't a .safetensors or .pth file of weights: {error}"
        ) from error
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(tensor, torch.Tensor) for key, tensor in state.items()
    ):
        raise NetworkError(f"network {name!r}: {weights} holds more than tensors by name. Save the model's state_dict")
    return state


def without_prefixes(
    name: str, state: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return the tensors without prefixes that all their names have, and that the model's names do not have."""
    for _ in PREFIXES:
        for prefix in PREFIXES:
            theirs, ours = (all(key.startswith(prefix) for key in keys) for keys in (state, wanted))
            if state and theirs and not ours:
                log.warning("network %r: the prefix %r is taken off the names of its weights", name, prefix)
                state = {key.removeprefix(prefix): tensor for key, tensor in state.items()}
    return state


def state_differences(state: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> str:
    """Say what differs between a file's tensors and the model's, with a few names of each kind; "" if nothing does."""
    missing = [key for key in wanted if key not in state]
    unknown = [key for key in state if key not in wanted]
    shapes = [
        f"{key} {tuple(state[key].shape)}, not {tuple(wanted[key].shape)}"
        for key in wanted
        if key in state and state[key].shape != wanted[key].shape
    ]
    kinds = (("lacks", missing), ("has unknown", unknown), ("has other shapes:", shapes))
    few = 3
    return "; ".join(
        f"it {what} {', '.join(names[:few])}" + (f" and {len(names) - few} more" if len(names) > few else "")
        for what, names in kinds
        if names
    )


def in_order(name: str, state: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return another implementation's tensors under timm's names, matched in order, by kind (weight, bias, ...) and
    shape.

    Raises NetworkError if they do not match.
    """
    if len(state) != len(wanted):
        raise NetworkError(f"network {name!r}: {len(state)} tensors in the package, {len(wanted)} in timm's model")
    renamed = {}
    for (theirs, tensor), (ours, expected) in zip(state.items(), wanted.items(), strict=True):
        if tensor.shape != expected.shape or theirs.rsplit(".")[-1] != ours.rsplit(".")[-1]:
            raise NetworkError(
                f"network {name!r}: {theirs} {tuple(tensor.shape)} stands where {ours} {tuple(expected.shape)} should"
            )
        renamed[ours] = tensor
    return renamed
