"""The sections of an experiment file, as pydantic checks them. The text under a field says what it means."""

from __future__ import annotations

import itertools
import re
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from lib.experiment.images import Images
from lib.experiment.layout import NAME, NAME_RULE, TO
from lib.experiment.network_settings import NetworkSettings
from lib.experiment.sections import Positive, Section
from lib.experiment.splits import Split as Split
from lib.experiment.titles import Title, shown_titles
from lib.experiment.twins import check_twins, twin

Family = Literal["affine", "least_squares", "orthogonal", "classifiers"]
FILE_WORDS = (*get_args(Family), "curve", "curves", "manifest", "started")  # behind a pair's name in its files' names


class ExtractSettings(Section):
    """How features are extracted."""

    batch_size: Positive = 64
    """Images that travel together. On a CPU each thread computes up to 16 images at once."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """The precision in which the networks compute. On a CPU batch norms are taken into the convolutions before them,
    which rounds otherwise: by up to 1e-5 of the largest feature."""
    tf32: bool = False
    """TensorFloat-32 matrix products on GPUs."""
    compile: bool = False
    """Compile the networks by torch.compile: half a minute or more for each before the first image."""
    dtype: Literal["float32", "float16"] = "float32"
    """The type of the numbers in the feature tables."""
    decode_cpus: Annotated[float, Field(gt=0)] = 0.5
    """CPUs of each decoding task."""
    network_cpus: Annotated[float, Field(gt=0)] = 1
    """CPUs of each actor with the networks."""
    threads: Positive = 2
    """Threads that compute in an actor without a GPU; each computes some of the images."""
    min_actors: Positive = 1
    """Actors with the networks at the beginning. More come as images wait for them."""
    max_actors: Positive | None = None
    """Actors with the networks at most. None: one a GPU, else half the CPUs that the cluster may grow to."""
    rows_per_file: Positive = 1024
    """Rows in a file at most: what a killed run may have to do again, in each task that writes."""


class FitSettings(Section):
    """How maps are fitted: the paper's hyperparameters ("Fitting" in its section 3) unless set otherwise.

    What the paper leaves open is so here: E is summed over the features and averaged over the batch (a mean over
    2,048 features would make late slopes smaller than Adam's epsilon); M' starts at Glorot-uniform random weights and b
    at 0; the rows of a batch are drawn with replacement; epsilon is added to the root of the second moment, as torch's
    Adam does.
    """

    families: list[Family] = ["affine", "least_squares", "orthogonal", "classifiers"]
    """Kinds of map. The first is the one that Table 1 and the figures show; "affine" is the paper's, fitted by Adam."""
    seeds: Positive = 1
    """How many times each map is fitted by Adam, with the seeds seed, seed + 1, ..."""
    ranks: list[Positive] = [1, 4, 16, 64, 256]
    """Ranks of least-squares maps. Ranks below the features' sizes are fitted."""
    learning_curve: bool = True
    """Fit least-squares maps of 1/16, 1/8, 1/4 and 1/2 of the training rows, too."""
    subsets: Annotated[int, Field(ge=1, le=1000, strict=True)] = 10
    """Draws of training rows for each of these shares. Their spread, that of halves in pairs, says how much the loss
    depends on the training images."""
    controls: bool = True
    """Fit floor and ceiling, too: each network's map to itself, and maps from features that hold labels alone."""
    keep: bool = False
    """Keep the maps of `ranks` and `learning_curve`. Otherwise only their predictions are kept."""
    iterations: Positive = 100_000
    """Steps of Adam."""
    batch_size: Positive = 2048
    """Rows of each step, drawn at random."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.1
    """Adam's learning rate at the start."""
    decay: Annotated[float, Field(ge=0, lt=1)] = 1e-5
    """The learning rate is multiplied by 1 - decay after every iteration."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Adam's decay of the first moment."""
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Adam's decay of the second moment."""
    epsilon: Annotated[float, Field(gt=0)] = 1e-8
    """Adam's epsilon."""
    tf32: bool = False
    """TensorFloat-32 matrix products on GPUs."""
    compile: bool = False
    """Compile what stands between the matrix products by torch.compile, which needs a C++ compiler."""
    checkpoint_every: Positive = 5_000
    """Iterations between two checkpoints."""
    rows: Literal["auto", "resident", "streamed"] = "auto"
    """Whether all rows lie in each worker's memory. "auto": if they fit there."""
    pool_rows: Positive = 262_144
    """Streamed rows in each worker's memory, from which batches are drawn."""
    workers: Positive = 1
    """Workers that share each batch of a fit."""
    cpus: Positive = 1
    """CPUs of each worker, and torch's threads there."""
    max_failures: Annotated[int, Field(ge=0)] = 3
    """Workers that may die before a fit is given up."""

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


class ProbeSettings(Section):
    """How the classifiers of networks with classifier = "probe" are fitted to the training images' labels."""

    kind: Literal["ridge", "logistic"] = "ridge"
    """ "ridge": to one-hot targets, from sums over any number of images. "logistic": multinomial, by L-BFGS on all
    training rows at once, which must fit into one worker's memory. Cross-validation chooses either's penalty."""
    iterations: Positive = 200
    """Iterations of L-BFGS, at most."""


class EvaluateSettings(Section):
    """What is measured beside the loss."""

    margin: Annotated[float, Field(gt=0)] = 1.0
    """Points of accuracy: two networks whose loss is shown to be smaller are called equivalent."""
    neighbours: Positive = 10
    """k of the mutual nearest-neighbour overlap."""
    neighbour_rows: Positive = 10_000
    """Evaluation images on which the overlap, and how mapped features meet the target's own, are computed, at most."""
    permutations: Annotated[int, Field(ge=19, le=100_000, strict=True)] = 100
    """Random orders of the images under which likeness of the features is measured, for what chance gives."""
    examples: Annotated[int, Field(ge=0)] = 8
    """Images shown of those that each mapping fixed, and of those that it broke."""


class TrackSettings(Section):
    """Trackers that are told a run's numbers and curves. None switches a tracker off."""

    tensorboard: str | None = None
    """A folder, on the machine of the driver, for TensorBoard's event files. "{root}" is the results folder."""
    mlflow: str | None = None
    """MLflow's tracking URI, such as http://127.0.0.1:5000."""


class DemoSettings(Section):
    """Pictures to draw and networks to train before the experiment starts, so that nothing has to be downloaded."""

    train_pictures: Positive = 6000
    """Pictures in the training split."""
    val_pictures: Positive = 2000
    """Pictures in the evaluation split."""
    picture_size: Annotated[int, Field(ge=32)] = 48
    """Height and width, pixels."""
    epochs: Positive = 6
    """Passes of training over the pictures."""
    twins: bool = False
    """Train each network twice, the second time from other random numbers, as NAME_twin."""


class Published(Section):
    """Values printed elsewhere, shown beside the measured ones. Percent and points, as printed."""

    source: str
    """Where they are printed."""
    features: str
    """The network that gives the features."""
    classifier: str
    """The network that gives the classifier."""
    correct: int | None = None
    """Images that are right. None: not printed."""
    accuracy: float | None = None
    """Accuracy in percent. None: not printed."""
    loss: float | None = None
    """Loss in points. None: not printed."""


class Experiment(Section):
    """A whole experiment file."""

    name: str
    """The name of the results folder: the file's name unless set."""
    title: Title | None = None
    """What the page calls the experiment. None: its name."""
    seed: int = 0
    """From which all random numbers come."""
    limit: Positive | None = None
    """Only the first N images of each split. None takes all."""
    images: Images
    networks: dict[str, NetworkSettings]
    """Each network by its name in this experiment."""
    extract: ExtractSettings = ExtractSettings()
    fit: FitSettings = FitSettings()
    probe: ProbeSettings = ProbeSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    track: TrackSettings = TrackSettings()
    demo: DemoSettings | None = None
    published: list[Published] = []

    @model_validator(mode="before")
    @classmethod
    def add_twins(cls, values: Any) -> Any:
        """Give each network of the demo a twin if the demo has twins. Where they are there already, nothing changes."""
        if not isinstance(values, dict) or not isinstance(values.get("demo"), dict) or not values["demo"].get("twins"):
            return values
        networks = {name: dict(network) for name, network in values.get("networks", {}).items()}
        for name, network in list(networks.items()):
            if network.get("twin_of") is None:
                networks.setdefault(f"{name}_twin", twin(name, network))
        return values | {"networks": networks}

    @model_validator(mode="after")
    def check_networks(self) -> Experiment:
        """Refuse fewer than two networks, names that cannot be file names, and published values of unknown networks."""
        if len(self.networks) < 2:
            raise ValueError(f"networks: two or more are compared, this experiment names {len(self.networks)}")
        taken = {"image_id", "label", "reason", "split", "row"} & set(self.networks)
        if taken:
            raise ValueError(f"networks: {sorted(taken)} are names of the tables' other columns: choose others")
        for name in [self.name, *self.networks]:
            if not re.fullmatch(NAME, name) or TO in name:
                raise ValueError(f"name {name!r}: {NAME_RULE}")
        for name in self.networks:
            for other in self.networks:
                if other.startswith(f"{name}.") and other[len(name) + 1 :].split(".")[0] in FILE_WORDS:
                    raise ValueError(
                        f"networks: files of {name!r} would have the names of those of {other!r}: rename one"
                    )
        check_twins(self.networks)
        shown_titles({name: network.title for name, network in self.networks.items()})
        for row in self.published:
            unknown = {row.features, row.classifier} - set(self.networks)
            if unknown:
                raise ValueError(f"published: {sorted(unknown)} not among the networks {list(self.networks)}")
        return self

    @model_validator(mode="after")
    def check_classifiers(self) -> Experiment:
        """Refuse a main map that is made from classifiers where a network has none."""
        without = [name for name, network in self.networks.items() if not network.classifies]
        if without and self.fit.families[0] == "classifiers":
            raise ValueError(
                f"fit.families: {without} have no classifier, so that the first family must be one that is fitted to "
                "features"
            )
        return self

    @model_validator(mode="after")
    def check_given_features(self) -> Experiment:
        """Refuse features that were computed elsewhere, if they are none of a further evaluation set's images."""
        for network, name in itertools.product(self.networks, self.images.eval):
            files = self.networks[network].features
            shared = files is None or files.train == files.val or self.images.same_as_val(name)
            if files is not None and not shared and name not in files.eval:
                raise ValueError(f"networks.{network}.features.eval.{name}: name the vectors of images.eval.{name}")
        return self

    def located(self, folder: str) -> Experiment:
        """Return the experiment with "{root}" in its locations replaced by `folder`, which is `<root>/<experiment>`."""
        values = self.model_dump(exclude_unset=True)  # what is not set in the file is not set here either
        for section in ("images", "networks", "track"):
            if section in values:
                values[section] = replaced(values[section], "{root}", folder)
        return Experiment.model_validate(values)

    def pairs(self) -> list[tuple[str, str]]:
        """Return all ordered pairs (source A, target B) with A != B; each has one map M_{A->B}."""
        return [(a, b) for a in self.networks for b in self.networks if a != b]

    def twins(self) -> list[tuple[str, str]]:
        """Return the ordered pairs of networks that are two trainings of one architecture."""
        origin = {name: network.twin_of or name for name, network in self.networks.items()}
        return [(a, b) for a, b in self.pairs() if origin[a] == origin[b]]


def replaced(value: Any, old: str, new: str) -> Any:
    """Return a section's values with `new` in place of `old` in each text."""
    if isinstance(value, dict):
        return {key: replaced(below, old, new) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [replaced(below, old, new) for below in value]
    return value.replace(old, new) if isinstance(value, str) else value
