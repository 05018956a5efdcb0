"""The sections of an experiment file about one network."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from lib.experiment.sections import Deviation, Finite, Section
from lib.experiment.titles import Title


class Preprocessing(Section):
    """What replaces the network's own settings in timm's data config. None keeps the network's own."""

    transform: Literal["timm", "fast", "slim"] = "timm"
    """ "slim" is TF-Slim's evaluation preprocessing. "fast" is timm's except for rounding (lib.images.resizing)."""
    jpeg: Literal["pillow", "fastdct"] = "pillow"
    """The JPEG decoder. "fastdct" decodes as TensorFlow does by default."""
    input_size: Annotated[int, Field(ge=1, le=8192, strict=True)] | None = None
    """Height and width, pixels."""
    crop_pct: Annotated[float, Field(gt=0, le=1)] | None = None
    """The share of the resized image's shorter side that the crop keeps."""
    crop_mode: Literal["center", "squash", "border"] | None = None
    """How the image is brought to the input's shape, in timm's terms."""
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None = None
    """How the image is resized."""
    mean: tuple[Finite, Finite, Finite] | None = None
    """The mean of each channel, 0..1, which normalisation subtracts."""
    std: tuple[Deviation, Deviation, Deviation] | None = None
    """The standard deviation of each channel, 0..1, by which normalisation divides."""

    @model_validator(mode="after")
    def check_transform(self) -> Preprocessing:
        """Refuse settings that TF-Slim's preprocessing does not have."""
        if self.transform == "slim" and (self.crop_mode or self.interpolation):
            raise ValueError('transform = "slim" has its own: leave out crop_mode and interpolation')
        return self


class NetworkSettings(Section):
    """One pretrained network, by timm's name. lib.networks.network.Network is the loaded one."""

    model: str
    """timm's name of the model."""
    title: Title | None = None
    """What Table 1, figures, verdict and page call it. None: its name in the experiment."""
    weights: str = "timm"
    """ "timm", "random", "package:MODULE", or the path or URI of a .safetensors or .pth file."""
    options: dict[str, Any] = {}
    """Keyword arguments for timm.create_model."""
    twin_of: str | None = None
    """Another network of the experiment, of the same architecture, of which this one is a second training. How well a
    twin's mapped features do shows what training anew alone costs."""
    class_offset: Annotated[int, Field(ge=0)] = 0
    """1 for a network whose class 0 is "background", else 0."""
    preprocessing: Preprocessing = Preprocessing()
    """What replaces the network's own preprocessing."""
