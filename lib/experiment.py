"""The experiment file: what is compared, on which images, with which settings; checked before any work starts.

experiment = load("lite", ["images.train=photos/train.csv", "fit.iterations=1000"])
"""

from __future__ import annotations

import re
import tomllib
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lib import storage
from lib.overrides import override

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]


class ExperimentError(ValueError):
    """The experiment can't be run as it is written; the message names the field and what it allows."""


class NetworkError(ValueError):
    """A network can't be loaded, or can't be split into F and C; the message names it."""


class Section(BaseModel):
    """A table of the experiment file: unknown keys are refused, nothing changes after it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Split(Section):
    """Where one split's labelled images are. In the file a plain string stands for `location` alone."""

    location: str
    format: Literal["auto", "tree", "listing", "webdataset", "parquet"] = "auto"
    base: str | None = None  # of a listing: what its paths are relative to, if not its own folder
    image_column: str = "image"  # of Parquet with the images' bytes
    label_column: str = "label"

    @model_validator(mode="before")
    @classmethod
    def from_string(cls, value: Any) -> Any:
        return {"location": value} if isinstance(value, str) else value


class Images(Section):
    train: Split
    val: Split
    classes: str | None = None  # file of all class names (wnids), one a line; line k is class k when sorted
    max_rejected: Fraction = 0.001  # share of a split's images that may be unreadable
    max_pixels: Positive = 100_000_000  # images with more are rejected before they are decoded

    def split(self, name: str) -> Split:
        return self.train if name == "train" else self.val


class Preprocessing(Section):
    """What replaces the network's own settings in timm's data config; None keeps them.

    `transform = "slim"` is TF-Slim's evaluation preprocessing, which has no crop_mode and no interpolation to choose;
    "fast" is timm's up to the rounding of its interpolation, a grey level or two here and there (lib.resizing).
    """

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
        if self.transform == "slim" and (self.crop_mode or self.interpolation):
            raise ValueError('transform = "slim" has its own: leave out crop_mode and interpolation')
        return self


class Network(Section):
    """One pretrained network, by timm's name."""

    model: str
    weights: str = "timm"  # "timm", "random", "package:MODULE", or the path or URI of a .safetensors or .pth file
    options: dict[str, Any] = {}  # keyword arguments for timm.create_model
    class_offset: Annotated[int, Field(ge=0)] = 0  # 1 for a network whose class 0 is "background"
    preprocessing: Preprocessing = Preprocessing()


class Extract(Section):
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


class Fit(Section):
    """The paper's hyperparameters ("Fitting" in the paper's section 3) unless set otherwise.

    The first family is the one that Table 1 and the figures are about; "affine" is the paper's, fitted by Adam.
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
    def check_families(self) -> Fit:
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


class Evaluate(Section):
    neighbours: Positive = 10  # k of the mutual nearest-neighbour overlap
    neighbour_rows: Positive = 10_000  # evaluation images it is computed on, at the most
    examples: Annotated[int, Field(ge=0)] = 8  # fixed and broken images shown of each mapping, of each kind


class Demo(Section):
    """Pictures to draw and networks to train before the experiment starts: no download, no file from elsewhere."""

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
    name: str
    seed: int = 0
    limit: Positive | None = None  # the first N images of each split
    images: Images
    networks: dict[str, Network]
    extract: Extract = Extract()
    fit: Fit = Fit()
    evaluate: Evaluate = Evaluate()
    demo: Demo | None = None
    published: list[Published] = []

    @model_validator(mode="after")
    def check_networks(self) -> Experiment:
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
        """The experiment with "{root}" in its locations replaced by `folder`, `<root>/<experiment>`."""
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
        """All ordered pairs (source A, target B) with A != B: one map M_{A->B} each."""
        return [(a, b) for a in self.networks for b in self.networks if a != b]


def load(experiment: str, overrides: list[str] | None = None, experiments: Path | None = None) -> Experiment:
    """Read `experiment` (a name in the folder `experiments`, or a TOML file), with `key.path=value` overrides applied.

    Raises ExperimentError: no such file, not TOML, an unknown key, a wrong type, an impossible value, credentials.
    """
    path = _find(experiment, experiments)
    try:
        values = tomllib.loads(storage.read_bytes(str(path)).decode())
    except storage.StorageError as error:
        raise ExperimentError(str(error)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ExperimentError(f"{path} is not TOML: {error}") from error
    values.setdefault("name", Path(str(path)).stem)
    validated: Experiment = _validated(Experiment, path, values, overrides)
    return validated


def _validated(
    kind: type[Section], what: str, values: dict[str, Any], overrides: list[str] | None, under: tuple[str, ...] = ()
) -> Any:
    """`values`, after `overrides` of fields of the table `under`, as a section. Raises ExperimentError."""
    try:
        for text in overrides or []:
            storage.check(text)
            override(reduce(getitem, under, values), text)
        storage.check_all(values)  # before pydantic, whose messages would repeat credentials
        return kind.model_validate(values)
    except ValidationError as error:
        raise ExperimentError(f"{what}:\n" + "\n".join(_readable(item) for item in error.errors())) from error
    except ValueError as error:
        raise ExperimentError(str(error)) from error


class _Networks(Section):
    networks: dict[str, Network]


def load_network(
    network: str, overrides: list[str] | None = None, experiments: Path | None = None, folder: str = ""
) -> tuple[str, Network]:
    """Name and settings of one network: EXPERIMENT:NAME, or timm's name of a model.

    `overrides` are `field=value` of its section; `folder` stands for "{root}" there. Raises ExperimentError.
    """
    values: dict[str, Any] = {"model": network}
    experiment, colon, name = network.rpartition(":")
    if colon:
        loaded = load(experiment, [], experiments).located(folder)
        if name not in loaded.networks:
            raise ExperimentError(f"{experiment} has no network {name!r}: it has {', '.join(loaded.networks)}")
        values = loaded.networks[name].model_dump()
    name = name or network
    validated: _Networks = _validated(_Networks, network, {"networks": {name: values}}, overrides, ("networks", name))
    return name, validated.networks[name]


def _find(experiment: str, folder: Path | None) -> str:
    if "://" in experiment or Path(experiment).is_file():
        return experiment
    named = [] if folder is None else sorted(folder.glob("*.toml"))
    for path in named:
        if path.stem == experiment:
            return str(path)
    names = ", ".join(path.stem for path in named) or "none"
    raise ExperimentError(f"no experiment {experiment!r}: give a TOML file, or one of these names: {names}")


def _readable(error: Any) -> str:
    """One line for one of pydantic's findings: the field, what is wrong, what was given."""
    field = ".".join(str(part) for part in error["loc"]) or "experiment"
    if error["type"] == "extra_forbidden":
        return f"  {field}: unknown key. {_allowed(error['loc'][:-1])}"
    given = "" if error["type"] in ("missing", "value_error") else f" (given: {error['input']!r})"
    return f"  {field}: {error['msg']}{given}"


def _allowed(location: tuple[Any, ...]) -> str:
    """The keys that the table at `location` allows."""
    tables: dict[str, type[Section]] = {
        "": Experiment, "images": Images, "images.train": Split, "images.val": Split, "extract": Extract, "fit": Fit,
        "evaluate": Evaluate, "demo": Demo, "networks": Network, "preprocessing": Preprocessing, "published": Published,
    }  # fmt: skip
    path = ".".join(str(part) for part in location)
    if path not in tables:
        path = "preprocessing" if path.endswith("preprocessing") else path.partition(".")[0]
    return "Allowed: " + ", ".join(tables[path].model_fields)
