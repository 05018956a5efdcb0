"""TF-Slim's variables under timm's names: what a checkpoint becomes in a model of lib/slim/networks.py.

Sources: the scopes in tf-slim 1.1.0's nets/resnet_v2.py and nets/inception_v4.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import timm
import torch
from timm.models.inception_v4 import InceptionV4
from torch import nn

import lib.slim.networks  # noqa: F401 - registers the networks with timm
from lib.errors import CheckpointError
from lib.slim.checkpoints import Variables

NORMS = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
LAYER = {"weight": "weights", "bias": "biases"}
# Inception-v4: module of timm's -> scope of TF-Slim's, for each kind of block; block numbers are filled in below.
STEM = {
    "features.0": "Conv2d_1a_3x3",
    "features.1": "Conv2d_2a_3x3",
    "features.2": "Conv2d_2b_3x3",
    "features.3.conv": "Mixed_3a/Branch_1/Conv2d_0a_3x3",
    "features.5.conv": "Mixed_5a/Branch_0/Conv2d_1a_3x3",
}
SEVENS = ("0a_1x1", "0b_1x7", "0c_7x1", "1a_3x3")
BRANCHES: dict[str, dict[str, tuple[str, ...]]] = {  # timm's branch -> TF-Slim's convolutions in it, in order
    "Mixed_4a": {"branch0": ("0a_1x1", "1a_3x3"), "branch1": SEVENS},
    "A": {"branch0": ("0a_1x1",), "branch1": ("0a_1x1", "0b_3x3"), "branch2": ("0a_1x1", "0b_3x3", "0c_3x3")},
    "Mixed_6a": {"branch0": ("1a_3x3",), "branch1": ("0a_1x1", "0b_3x3", "1a_3x3")},
    "B": {
        "branch0": ("0a_1x1",),
        "branch1": ("0a_1x1", "0b_1x7", "0c_7x1"),
        "branch2": ("0a_1x1", "0b_7x1", "0c_1x7", "0d_7x1", "0e_1x7"),
    },
    "Mixed_7a": {"branch0": ("0a_1x1", "1a_3x3"), "branch1": SEVENS},
    "C": {"branch0": ("0a_1x1",)},
}
C_BRANCHES = {
    "branch1_0": "Branch_1/Conv2d_0a_1x1",
    "branch1_1a": "Branch_1/Conv2d_0b_1x3",
    "branch1_1b": "Branch_1/Conv2d_0c_3x1",
    "branch2_0": "Branch_2/Conv2d_0a_1x1",
    "branch2_1": "Branch_2/Conv2d_0b_3x1",
    "branch2_2": "Branch_2/Conv2d_0c_1x3",
    "branch2_3a": "Branch_2/Conv2d_0d_1x3",
    "branch2_3b": "Branch_2/Conv2d_0e_3x1",
}
# In the order of timm's features 4, 6, 7, ...: (scope, kind)
BLOCKS = {
    4: ("Mixed_4a", "Mixed_4a"),
    **{6 + place: (f"Mixed_5{letter}", "A") for place, letter in enumerate("bcde")},
    10: ("Mixed_6a", "Mixed_6a"),
    **{11 + place: (f"Mixed_6{letter}", "B") for place, letter in enumerate("bcdefgh")},
    18: ("Mixed_7a", "Mixed_7a"),
    **{19 + place: (f"Mixed_7{letter}", "C") for place, letter in enumerate("bcd")},
}


def variable_names(model: nn.Module) -> dict[str, str]:
    """Return for each key of the state dict the name of TF-Slim's variable, without the network's scope
    ("resnet_v2_152/").

    Inception-v4's batch norm has no `gamma`; its weight is 1 and has no variable.
    """
    inception = isinstance(model, InceptionV4)
    scopes = dict(_inception_scopes()) if inception else {}
    names = {}
    for key in model.state_dict():
        module, _, kind = key.rpartition(".")
        if kind == "num_batches_tracked" or (inception and module.endswith(".bn") and kind == "weight"):
            continue
        if not inception:
            names[key] = _resnet_name(module, kind)
        elif module == "last_linear":
            names[key] = f"Logits/Logits/{LAYER[kind]}"
        else:
            convolution, _, layer = module.rpartition(".")
            names[key] = f"{scopes[convolution]}/" + (LAYER[kind] if layer == "conv" else f"BatchNorm/{NORMS[kind]}")
    return names


def _inception_scopes() -> Iterator[tuple[str, str]]:
    """Yield each convolution of timm's Inception-v4 with TF-Slim's scope of it."""
    yield from STEM.items()
    for place, (scope, kind) in BLOCKS.items():
        for branch, convolutions in BRANCHES[kind].items():
            for number, convolution in enumerate(convolutions):
                index = f".{number}" if len(convolutions) > 1 else ""
                yield f"features.{place}.{branch}{index}", f"{scope}/Branch_{branch[-1]}/Conv2d_{convolution}"
        if kind in "ABC":
            yield f"features.{place}.branch3.1", f"{scope}/Branch_3/Conv2d_0b_1x1"
        if kind == "C":
            for branch, convolution in C_BRANCHES.items():
                yield f"features.{place}.{branch}", f"{scope}/{convolution}"


RESNET_MODULES = {  # of a unit
    "norm1": "preact",
    "downsample.conv": "shortcut",
    "conv1": "conv1",
    "norm2": "conv1/BatchNorm",
    "conv2": "conv2",
    "norm3": "conv2/BatchNorm",
    "conv3": "conv3",
}


def _resnet_name(module: str, kind: str) -> str:
    if module == "norm":
        return f"postnorm/{NORMS[kind]}"
    if module in ("stem.conv", "head.fc"):
        return f"{'conv1' if module == 'stem.conv' else 'logits'}/{LAYER[kind]}"
    _, stage, _, unit, part = module.split(".", 4)
    names = NORMS if part.startswith("norm") else LAYER
    return f"block{int(stage) + 1}/unit_{int(unit) + 1}/bottleneck_v2/{RESNET_MODULES[part]}/{names[kind]}"


def slim_networks() -> list[str]:
    """Return timm's names of all networks that a TF-Slim checkpoint can be for."""
    return sorted(timm.list_models("slim_*"))


def scope(network: str) -> str:
    """Return TF-Slim's scope around all variables of a network."""
    return "InceptionV4" if network == "slim_inception_v4" else network.removeprefix("slim_")


def left_out(network: str, name: str) -> bool:
    """Return whether the evaluated network does not use a variable: training's step, the mean colour, the auxiliary
    head.
    """
    inside = name.removeprefix(f"{scope(network)}/")
    return name == "global_step" or inside == "mean_rgb" or inside.startswith("AuxLogits/")


def slim_state_dict(uri: str, network: str, variables: Variables, background: bool = True) -> dict[str, torch.Tensor]:
    """Return a checkpoint's variables as the state dict of `timm.create_model(network)`.

    Without `background`, row 0 of the last layer is dropped, so that there are 1000 classes and label k is row k.
    Raises CheckpointError that names each variable of `uri` that is missing, unexpected or misshapen.
    """
    model: Any = timm.create_model(network)
    state = model.state_dict()
    names = {key: f"{scope(network)}/{name}" for key, name in variable_names(model).items()}
    wrong = [f"{name} is missing" for name in names.values() if name not in variables]
    known = set(names.values())
    wrong += [f"{name} is unexpected" for name in variables if name not in known and not left_out(network, name)]
    for key, name in names.items():
        if name not in variables:
            continue
        tensor = to_torch(variables[name])
        if tensor.shape != state[key].shape or not tensor.is_floating_point():
            expected = tuple(state[key].permute(TO_SLIM.get(state[key].ndim, (0,))).shape)
            wrong.append(f"{name} is {variables[name].dtype} {variables[name].shape}, must be float32 {expected}")
        state[key] = tensor
    if wrong:
        raise CheckpointError(f"{uri} isn't a checkpoint of {network}: {_few(wrong)}")
    if not background:
        head = model.pretrained_cfg["classifier"]
        state |= {key: state[key][1:].clone() for key in (f"{head}.weight", f"{head}.bias")}
    return state


def _few(wrong: list[str], shown: int = 6) -> str:
    rest = f"; and {len(wrong) - shown} more" if len(wrong) > shown else ""
    return "; ".join(wrong[:shown]) + rest


# Convolutions HWIO <-> OIHW, fully connected (in, out) <-> (out, in).
TO_TORCH = {4: (3, 2, 0, 1), 2: (1, 0)}
TO_SLIM = {4: (2, 3, 1, 0), 2: (1, 0)}


def to_torch(variable: np.ndarray) -> torch.Tensor:
    """Return a copy of a variable in torch's layout."""
    return torch.from_numpy(np.array(variable.transpose(TO_TORCH.get(variable.ndim)), order="C"))
