"""The sections of an experiment file about one network."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from lib.experiment.sections import Deviation, Finite, Section
from lib.experiment.titles import Title

LIBRARIES = ("torchvision", "hf-hub", "transformers", "open_clip")  # before the colon of a model, where it is no timm's
FILES = (".safetensors", ".pth", ".pt", ".bin")  # of weights


class Preprocessing(Section):
    """What replaces the network's own settings in timm's data config. None keeps the network's own."""

    transform: Literal["timm", "fast", "slim"] = "timm"
    """ "slim" is TF-Slim's evaluation preprocessing. "fast" is timm's except for rounding, and decodes
    JPEGs smaller that are six times as large as needed (lib.images.resizing)."""
    jpeg: Literal["pillow", "fastdct", "nvjpeg"] = "pillow"
    """The JPEG decoder. "fastdct" decodes as TensorFlow does by default. "nvjpeg" decodes and resizes on the GPU that
    computes the network, by torchvision, with other numbers by some grey levels; Pillow decodes what it cannot read."""
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
        """Refuse settings that TF-Slim's preprocessing, or decoding on a GPU, does not have."""
        if self.transform == "slim" and (self.crop_mode or self.interpolation):
            raise ValueError('transform = "slim" has its own: leave out crop_mode and interpolation')
        if self.transform != "timm" and self.jpeg == "nvjpeg":
            raise ValueError(f'jpeg = "nvjpeg" resizes by itself: leave out transform = "{self.transform}"')
        return self


class FeatureFiles(Section):
    """Features that were computed elsewhere: files of vectors by id (lib.storage.vector_files).

    In the file, a plain string stands for one location that has the vectors of both splits.
    """

    train: str
    """A file, a folder, or a pattern such as s3://bucket/train-*.parquet: Parquet, .npy or .safetensors."""
    val: str
    """The same for the evaluation images."""
    eval: dict[str, str] = {}
    """The same for further evaluation sets, by name. One that is not named is looked for where both splits are."""
    key: str = "image_id"
    """The column of ids, in Parquet."""
    vector: str | None = None
    """The column or tensor with the vectors. None: the only one that there is."""

    @model_validator(mode="before")
    @classmethod
    def from_string(cls, value: Any) -> Any:
        """Take a plain string, or `location`, for both splits."""
        if isinstance(value, str):
            return {"train": value, "val": value}
        if isinstance(value, dict) and "location" in value:
            rest = {key: item for key, item in value.items() if key != "location"}
            return {"train": value["location"], "val": value["location"], **rest}
        return value

    def location(self, split: str) -> str:
        """Return where a split's vectors are."""
        return self.train if split == "train" else self.eval.get(split, self.val)


def feature_fingerprint(weights: str, chosen: dict[str, Any]) -> str:
    """Return what tells a network's features from others: its weights' fingerprint, and pool and layer if chosen."""
    return "/".join([weights, *(f"{key}={value}" for key, value in sorted(chosen.items()))])


class NetworkSettings(Section):
    """One pretrained network, or features of one. lib.networks.network.Network is the loaded one."""

    features: FeatureFiles | None = None
    """Features that were computed elsewhere, in place of a model: of any modality and of any source."""
    model: str = ""
    """timm's name of the model; or "torchvision:NAME", "hf-hub:REPOSITORY" (timm's there), "transformers:REPOSITORY",
    "open_clip:NAME"."""
    title: Title | None = None
    """What Table 1, figures, verdict and page call it. None: its name in the experiment."""
    weights: str = "pretrained"
    """ "pretrained" (the library's own; "timm" means the same), "random", "package:MODULE", the path or URI of a
    .safetensors or .pth file, or the name that torchvision or open_clip give to some weights."""
    options: dict[str, Any] = {}
    """Keyword arguments for the function of timm, torchvision or open_clip that creates the model."""
    classifier: str = "own"
    """Where C comes from: "own"; "none": the network gives features only; "probe": fitted with the training images'
    labels (see [probe]); or the path or URI of a .safetensors or .pth file with its weight and bias."""
    twin_of: str | None = None
    """Another network of the experiment, of the same architecture, of which this one is a second training. How well a
    twin's mapped features do shows what training anew alone costs."""
    class_offset: Annotated[int, Field(ge=0)] = 0
    """1 for a network whose class 0 is "background", else 0."""
    pool: str | None = None
    """How features are pooled: "avg", "max", "avgmax", "token", ... as timm's global_pool; "token+avg" is the class
    token beside the mean of the patch tokens. None is the network's own pool."""
    layer: int | None = None
    """The block whose pooled output the features are, as timm's forward_intermediates counts. None is the last layer's
    input. Blocks go into no classifier of the network's own."""
    preprocessing: Preprocessing = Preprocessing()
    """What replaces the network's own preprocessing."""

    @field_validator("weights")
    @classmethod
    def name_weights(cls, weights: str) -> str:
        """Take "timm", as earlier versions called the library's own weights."""
        return "pretrained" if weights == "timm" else weights

    @model_validator(mode="before")
    @classmethod
    def without_own_classifier(cls, values: Any) -> Any:
        """Take "none" for the classifier of an earlier block, or of features alone, unless another is named."""
        if isinstance(values, dict) and (values.get("layer") is not None or values.get("features") is not None):
            return {"classifier": "none", **values}
        return values

    @model_validator(mode="after")
    def check_classifier(self) -> NetworkSettings:
        """Refuse a background class in a probe, which has the labels' classes alone."""
        if self.class_offset and self.classifier in ("none", "probe"):
            raise ValueError(f'class_offset: classifier = "{self.classifier}" has no background class, leave it out')
        if self.features is not None and self.classifier == "own":
            raise ValueError('features: they come without a classifier: set classifier = "none", "probe" or a file')
        if self.layer is not None and self.classifier == "own":
            raise ValueError('layer: an earlier block goes into no classifier of the network: set classifier = "none"')
        if self.classifier not in ("own", "none", "probe") and not self.classifier.endswith(FILES):
            raise ValueError(
                f'classifier: "own", "none", "probe", or a file ({", ".join(FILES)}), not {self.classifier!r}'
            )
        return self

    @model_validator(mode="after")
    def check_origin(self) -> NetworkSettings:
        """Refuse a model beside features, and neither."""
        if (self.features is None) == (not self.model):
            raise ValueError("model: name a model, or features that were computed elsewhere, and not both")
        changed = self.model_fields_set & {"pool", "layer", "options", "preprocessing", "weights"}
        given = [name for name in sorted(changed) if getattr(self, name) != type(self).model_fields[name].default]
        if self.features is not None and given:
            raise ValueError(f"{given[0]}: features that were computed elsewhere have none, leave it out")
        return self

    @property
    def classifies(self) -> bool:
        """Whether the network has a classifier."""
        return self.classifier != "none"

    @property
    def classifier_file(self) -> str | None:
        """The file that the classifier is read from, None if it is no file's."""
        return None if self.classifier in ("own", "none", "probe") else self.classifier

    @property
    def chosen_features(self) -> dict[str, Any]:
        """Which of the network's features these are, where that is not the network's own choice."""
        return {key: value for key, value in (("pool", self.pool), ("layer", self.layer)) if value is not None}
