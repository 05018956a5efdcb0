"""TF-Slim's Inception-v4 and ResNet-v2 on timm's own classes, registered with timm.

timm.create_model("slim_resnet_v2_152")

Source: tf-slim 1.1.0, nets/resnet_v2.py and nets/inception_v4.py. There are 1001 classes; class 0 is "background".
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import BatchNormAct2d, create_conv2d
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.inception_v4 import InceptionV4
from timm.models.resnetv2 import PreActBottleneck, ResNetV2
from torch import nn

CLASSES = 1001
LAYERS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3), 200: (3, 24, 36, 3)}
STRIDES = (2, 2, 2, 1)  # of the blocks' last units
CONVOLUTIONS: dict[str, Any] = {"conv_layer": create_conv2d, "norm_layer": BatchNormAct2d}


class SubsamplingUnit(PreActBottleneck):
    """A block's last unit, which has the stride. Its shortcut subsamples the input (a 1x1 max pool)."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__(channels, channels, stride=stride, **CONVOLUTIONS)
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (n, channels, ceil(h / stride), ceil(w / stride)) for (n, channels, h, w)."""
        residual = self.conv1(self.norm1(x))
        residual = self.conv3(self.norm3(self.conv2(self.norm2(residual))))
        return x[:, :, :: self.stride, :: self.stride] + residual


class SlimResNetV2(ResNetV2):
    """timm's ResNet-v2 with TF-Slim's strides and biases.

    timm puts a stage's stride into its first unit; TF-Slim puts it into the last unit of the stage before. timm's
    convolutions have no biases; TF-Slim's have biases where no batch norm follows: at the root, in the shortcuts and in
    conv3.
    """

    def __init__(self, num_classes: int = CLASSES, **options: Any) -> None:
        super().__init__(
            num_classes=num_classes, stem_type="same", preact=True, avg_down=False, **CONVOLUTIONS, **options
        )
        stem: Any = self.stem
        _add_bias(stem.conv)
        for stage, stride in zip(self.stages, STRIDES, strict=True):
            _as_slim_strides(stage, stride)
        for info, reduction in zip(self.feature_info[1:], (8, 16, 32, 32), strict=True):
            info["reduction"] = reduction


def _as_slim_strides(stage: Any, stride: int) -> None:
    """Move the stride from the first unit to the last, and add biases where TF-Slim has them."""
    first, last = stage.blocks[0], stage.blocks[-1]
    first.conv2.stride = first.downsample.conv.stride = (1, 1)
    _add_bias(first.downsample.conv)
    if stride > 1:
        stage.blocks[-1] = SubsamplingUnit(last.conv3.out_channels, stride)
    for unit in stage.blocks:
        _add_bias(unit.conv3)


def _add_bias(convolution: nn.Conv2d) -> None:
    convolution.bias = nn.Parameter(torch.zeros(convolution.out_channels))


def _config(**fields: Any) -> dict[str, Any]:
    """Return timm's pretrained_cfg, with the values of TF-Slim's evaluation preprocessing that timm has fields for."""
    return {
        "input_size": (3, 299, 299),
        "crop_pct": 0.875,
        "interpolation": "bilinear",
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "num_classes": CLASSES,
        "fixed_input_size": False,
        **fields,
    }


_RESNET = {"first_conv": "stem.conv", "classifier": "head.fc"}
default_cfgs = generate_default_cfgs(
    {
        "slim_inception_v4": _config(first_conv="features.0.conv", classifier="last_linear"),
        "slim_resnet_v2_small": _config(**_RESNET, num_classes=17),
        **{f"slim_resnet_v2_{depth}": _config(**_RESNET) for depth in LAYERS},
    }
)


def _resnet(name: str, pretrained: bool, **options: Any) -> nn.Module:
    model: nn.Module = build_model_with_cfg(SlimResNetV2, name, pretrained, **options)
    return model


@register_model
def slim_inception_v4(pretrained: bool = False, **options: Any) -> nn.Module:
    """Inception-v4, d = 1536. timm's own Inception-v4 computes what TF-Slim's does."""
    options.setdefault("num_classes", CLASSES)
    model: nn.Module = build_model_with_cfg(InceptionV4, "slim_inception_v4", pretrained, **options)
    return model


@register_model
def slim_resnet_v2_50(pretrained: bool = False, **options: Any) -> nn.Module:
    """ResNet-v2 50, d = 2048."""
    return _resnet("slim_resnet_v2_50", pretrained, layers=LAYERS[50], **options)


@register_model
def slim_resnet_v2_101(pretrained: bool = False, **options: Any) -> nn.Module:
    """ResNet-v2 101, d = 2048."""
    return _resnet("slim_resnet_v2_101", pretrained, layers=LAYERS[101], **options)


@register_model
def slim_resnet_v2_152(pretrained: bool = False, **options: Any) -> nn.Module:
    """The paper's ResNet, d = 2048."""
    return _resnet("slim_resnet_v2_152", pretrained, layers=LAYERS[152], **options)


@register_model
def slim_resnet_v2_200(pretrained: bool = False, **options: Any) -> nn.Module:
    """ResNet-v2 200, d = 2048."""
    return _resnet("slim_resnet_v2_200", pretrained, layers=LAYERS[200], **options)


@register_model
def slim_resnet_v2_small(pretrained: bool = False, **options: Any) -> nn.Module:
    """A narrow ResNet-v2 of 9 units, d = 128, 17 classes, small enough for tests."""
    layout: dict[str, Any] = {"layers": (2, 3, 2, 2), "channels": (32, 64, 96, 128)}
    return _resnet("slim_resnet_v2_small", pretrained, **layout, **{"num_classes": 17, **options})
