"""The sections of an experiment file, as pydantic checks them. The text under a field says what it means."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A table of the experiment file. Unknown keys are refused, and nothing changes after it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Split(Section):
    """Where the labelled images of one split are. In the file, a plain string stands for `location` alone."""

    location: str
    format: Literal["auto", "tree", "listing", "webdataset", "parquet"] = "auto"
    base: str | None = None  # of a listing: what its paths are relative to, if not its own folder
    image_column: str = "image"  # of Parquet with the images' bytes
    label_column: str = "label"

    @model_validator(mode="before")
    @classmethod
    def from_string(cls, value: Any) -> Any:
        """Take a plain string for the location."""
        return {"location": value} if isinstance(value, str) else value


class Images(Section):
    """The images of both splits, and what is accepted of them."""

    train: Split
    val: Split
    classes: str | None = None  # file of all class names (wnids), one a line; line k is class k when sorted
    max_rejected: Fraction = 0.001  # share of a split's images that may be unreadable
    max_pixels: Positive = 100_000_000  # images with more are rejected before they are decoded

    def split(self, name: str) -> Split:
        """Return the section of the split called `name`."""
        return self.train if name == "train" else self.val


class Preprocessing(Section):
    """What replaces the network's own settings in timm's data config. None keeps the network's own."""

    transform: Literal["timm", "fast", "slim"] = "timm"
    jpeg: Literal["pillow", "fastdct"] = "pillow"  # "fastdct" decodes JPEGs as TensorFlow does by default
    input_size: Positive | None = None  # pixels, height and width
    crop_pct: Annotated[float, Field(gt=0, le=1)] | None = None
    crop_mode: Literal["center", "squash", "border"] | None = None
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None

    @model_validator(mode="after")
    def check_transform(self) -> Preprocessing:
        """Refuse settings that TF-Slim's preprocessing does not have."""
        if self.transform == "slim" and (self.crop_mode or self.interpolation):
            raise ValueError('transform = "slim" has its own: leave out crop_mode and interpolation')
        return self


class NetworkSettings(Section):
    """One pretrained network, by timm's name. lib.networks.network.Network is the loaded one."""

    model: str
    weights: str = "timm"  # "timm", "random", "package:MODULE", or the path or URI of a .safetensors or .pth file
    options: dict[str, Any] = {}  # keyword arguments for timm.create_model
    class_offset: Annotated[int, Field(ge=0)] = 0  # 1 for a network whose class 0 is "background"
    preprocessing: Preprocessing = Preprocessing()


class ExtractSettings(Section):
    """How features are extracted."""

    batch_size: Positive = 64  # images that travel together; on a CPU each thread computes up to 16 at once
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    tf32: bool = False  # TensorFloat-32 matrix products on GPUs
    compile: bool = False  # the networks, by torch.compile: half a minute or more for each before the first image
    dtype: Literal["float32", "float16"] = "float32"  # of the numbers in the feature tables
    decode_cpus: Annotated[float, Field(gt=0)] = 0.5  # of each decoding task
    network_cpus: Annotated[float, Field(gt=0)] = 1  # of each actor with the networks
    threads: Positive = 2  # that compute, in an actor without a GPU: each some of the images
    min_actors: Positive = 1  # with the networks, from the beginning; more come as images wait for them
    max_actors: Positive | None = None  # None: one a GPU, or of CPUs half, of all that the cluster may grow to
    rows_per_file: Positive = 1024  # at the most: what a killed run may have to do again, in each writing task


Family = Literal["affine", "least_squares", "orthogonal", "classifiers"]


class FitSettings(Section):
    """How maps are fitted: the paper's hyperparameters ("Fitting" in its section 3) unless set otherwise.

    The first family is the one that Table 1 and the figures show; "affine" is the paper's, fitted by Adam.
    """

    families: list[Family] = ["affine", "least_squares", "orthogonal", "classifiers"]
    seeds: Positive = 1  # fits by Adam of each map: seed, seed + 1, ...
    ranks: list[Positive] = [1, 4, 16, 64, 256]  # of least-squares maps; those below the features' sizes are fitted
    learning_curve: bool = True  # least-squares maps of 1/16, 1/8, 1/4 and 1/2 of the training rows
    iterations: Positive = 100_000
    batch_size: Positive = 2048
    learning_rate: Annotated[float, Field(gt=0)] = 0.1
    decay: Annotated[float, Field(ge=0, lt=1)] = 1e-5  # the learning rate is multiplied by 1 - decay every iteration
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    epsilon: Annotated[float, Field(gt=0)] = 1e-8
    tf32: bool = False
    compile: bool = False  # what stands between the matrix products, by torch.compile: needs a C++ compiler
    checkpoint_every: Positive = 5_000  # iterations
    rows: Literal["auto", "resident", "streamed"] = "auto"  # in each worker's memory; "auto": if they have room there
    pool_rows: Positive = 262_144  # of streamed ones, in each worker's memory; a batch is drawn from so many
    workers: Positive = 1  # that share each batch of a fit
    cpus: Positive = 1  # of each worker, and torch's threads there
    max_failures: Annotated[int, Field(ge=0)] = 3  # workers that may die before the fit is given up

    @model_validator(mode="after")
    def check_families(self) -> FitSettings:
        """Refuse combinations that cannot be fitted."""
        if not self.families or len(set(self.families)) < len(self.families):
            raise ValueError(f"families: one or more, each once, not {self.families}")
        if self.workers > self.batch_size:
            raise ValueError(f"workers: at most batch_size, {self.batch_size}, not {self.workers}")
        if self.batch_size > self.workers * self.pool_rows:
            raise ValueError(
                f"pool_rows: at least a worker's share of batch_size = {self.batch_size}, not {self.pool_rows}"
            )
        if self.seeds > 1 and "affine" not in self.families:
            raise ValueError('seeds: only maps of the family "affine" are fitted with random numbers')
        return self


class EvaluateSettings(Section):
    """What is measured beside the loss."""

    neighbours: Positive = 10  # k of the mutual nearest-neighbour overlap
    neighbour_rows: Positive = 10_000  # evaluation images it is computed on, at the most
    examples: Annotated[int, Field(ge=0)] = 8  # fixed and broken images shown of each mapping, of each kind


class DemoSettings(Section):
    """Pictures to draw and networks to train before the experiment starts, so that nothing has to be downloaded."""

    train_pictures: Positive = 6000
    val_pictures: Positive = 2000
    picture_size: Annotated[int, Field(ge=32)] = 64  # pixels
    epochs: Positive = 6


class Published(Section):
    """Values printed elsewhere, shown beside the measured ones. Percent and points, as printed."""

    source: str
    features: str  # network that gives the features
    classifier: str  # network that gives the classifier
    correct: int | None = None
    accuracy: float | None = None
    loss: float | None = None


class Experiment(Section):
    """A whole experiment file."""

    name: str
    seed: int = 0
    limit: Positive | None = None  # the first N images of each split
    images: Images
    networks: dict[str, NetworkSettings]
    extract: ExtractSettings = ExtractSettings()
    fit: FitSettings = FitSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    demo: DemoSettings | None = None
    published: list[Published] = []

    @model_validator(mode="after")
    def check_networks(self) -> Experiment:
        """Refuse fewer than two networks, names that cannot be file names, and published values of unknown networks."""
        if len(self.networks) < 2:
            raise ValueError(f"networks: two or more are compared, this experiment names {len(self.networks)}")
        for name in [self.name, *self.networks]:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name) or "-to-" in name:
                raise ValueError(f"name {name!r}: letters, digits, '_', '.' and '-' are allowed, '-to-' is not")
        for row in self.published:
            unknown = {row.features, row.classifier} - set(self.networks)
            if unknown:
                raise ValueError(f"published: {sorted(unknown)} not among the networks {list(self.networks)}")
        return self

    def located(self, folder: str) -> Experiment:
        """Return the experiment with "{root}" in its locations replaced by `folder`, which is `<root>/<experiment>`."""
        values = self.model_dump()
        images, networks = values["images"], values["networks"]
        for table, key in [
            *((images[split], key) for split in ("train", "val") for key in ("location", "base")),
            (images, "classes"),
            *((network, "weights") for network in networks.values()),
        ]:
            table[key] = table[key] and table[key].replace("{root}", folder)
        return Experiment.model_validate(values)

    def pairs(self) -> list[tuple[str, str]]:
        """Return all ordered pairs (source A, target B) with A != B; each has one map M_{A->B}."""
        return [(a, b) for a in self.networks for b in self.networks if a != b]
