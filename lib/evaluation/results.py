"""The types of results.json and of the tables beside it: what each key holds, and in which unit.

Shares lie in 0..1, losses and their intervals are in points of accuracy (percent). People have scripts that read these
keys, so none is ever renamed.
"""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

from lib.maps.settling import CurveShape


class Counted(TypedDict):
    """How many of the labelled evaluation images a composition gets right."""

    correct: int
    total: int
    accuracy: float  # correct / total


class ControlResults(Counted):
    """The target's classifier under a control, by a least_squares map."""

    loss: float  # points: its own accuracy less this one
    validation_error: float


class Variance(TypedDict):
    """What a number would vary by, in its unit squared, if each of these were drawn again. Null where not known."""

    evaluation: float  # evaluation images
    training: float | None  # training images, seen on least_squares maps of the pair
    seeds: float | None  # Adam's random numbers, from maps with other seeds
    total: float  # of those that are known


class NetworkResults(Counted):
    """A network on its own features, C_A(F_A).

    A network without a classifier has no correct, total, accuracy, classes and takes. `gives` and `takes` are null if
    there is no direction that has a loss.
    """

    feature_size: int  # d_A
    classifier: NotRequired[str]  # "own", "none", "probe" (fitted with labels), or its file
    features: NotRequired[dict[str, Any]]  # pool and layer, where they are not the network's own
    classes: int  # that labels can name: the background is none
    gives: float | None  # mean loss, in points, of the classifiers fed from it
    takes: float | None  # mean loss, in points, of its own classifier fed from the others
    participation_ratio: NotRequired[float]  # in how many directions its evaluation features vary, 1 to d_A
    from_itself: NotRequired[ControlResults]  # fed with its own features through a map fitted to them: the ceiling


class Pair(TypedDict):
    """A direction: features of `source`, classifier of `target`."""

    source: str
    target: str


class ClassCounts(TypedDict):
    """One class under one mapping, as classes/<target>.parquet has it."""

    label: int
    name: str | None
    total: int  # images of this class
    own: int  # right with the target's own features
    mapped: int  # right with mapped features
    p_value: float  # McNemar's exact test
    q_value: float  # the same, corrected for all classes by Benjamini and Hochberg
    shrunken_loss: float  # points; drawn towards the loss of all images as far as chance explains differences


class BriefMapping(Pair, Counted):
    """One map, in short."""

    loss: float
    validation_error: float  # mean E on the evaluation images
    classifier: NotRequired[str]  # the target's, where it is not its own: "probe" or its file


class FeatureResults(TypedDict):
    """How well M_{S->T} F_S meets F_T, whatever is done with it."""

    fit_error: float | None  # E of the last training batch; null for closed forms
    validation_error: float  # mean E on the evaluation images
    length_ratio: float | None  # mean of |M F_S| / |F_T|, over images both of whose vectors have a direction
    undirected: int  # images with a vector of zeros, the target's or the mapped one
    cosine: float | None  # mean cosine of mapped and own features, over the same images as length_ratio
    r2: float | None
    skill: float | None


class MappedResults(BriefMapping, FeatureResults):
    """What C_T loses when F_T is replaced by M_{S->T} F_S, with one map."""

    family: str
    accuracy_ci95: list[float]  # two ends, shares: the exact interval
    chance: float  # accuracy of the same answers dealt to the images at random
    p_chance: float  # how often chance gets as many right, or more
    p_chance_holm: NotRequired[float | None]  # corrected for all directions of its family, as are the others
    loss_ci95: list[float]  # two ends, points
    loss_ci90: list[float]
    p_value: float  # McNemar's exact test
    p_holm: NotRequired[float | None]
    p_equivalent: float  # of a loss as large as the margin, or larger
    p_equivalent_holm: NotRequired[float | None]
    fixed: int  # images that mapping turns from wrong to right
    broken: int  # images that mapping turns from right to wrong
    regions: dict[str, int]  # Fig. 5's eight counts; a source without classifier is never right


class MapIdentity(Pair):
    """Which map a row of maps.parquet is about."""

    variant: str
    family: str
    seed: int | None
    rank: int | None
    share: float
    rows: int | None


class FeatureMapResults(MapIdentity, FeatureResults):
    """A row of maps.parquet, of a pair whose target has no classifier: its other columns are null."""


class MapResults(MapIdentity, MappedResults):
    """A row of maps.parquet."""


class AgreementResults(TypedDict):
    """How often C_T answers the same with mapped features as with its own."""

    agreement: float  # share of images given the same class
    agreement_by_chance: float
    consistency: float  # share of images that both get right or both get wrong
    consistency_by_chance: float
    kappa: float | None  # error consistency
    kappa_ci95: NotRequired[list[float] | None]  # over evaluation images


class Retrieval(TypedDict):
    """How mapped vectors rank their own image. Shares lie in 0..1."""

    recall_at_1: float  # share of images that rank first; chance gives 1 / rows
    recall_at_10: float
    mean_rank: float  # from 1; chance gives (rows + 1) / 2
    neighbours_at_1: float  # share of queries whose nearest other image is that of the target's own query
    neighbours_at_10: float  # share of the own queries' 10 nearest others that are among the mapped ones'
    rows: int  # images that are ranked


class FeatureFit(Retrieval):
    """How mapped vectors meet the target's own, image by image, on a sample of the evaluation images."""

    within_class_r2: float | None  # about the classes' means: 0 if no more than the label is carried over


class FeatureMappingResults(Pair, FeatureResults):
    """The main map of a pair whose target has no classifier."""

    family: str
    feature_fit: NotRequired[FeatureFit]
    fit_curve: NotRequired[CurveShape]  # of a map fitted by Adam: whether E settled
    twins: NotRequired[bool]  # true of two trainings of one architecture


class MappingResults(MappedResults, AgreementResults):
    """The main map of a pair."""

    twins: NotRequired[bool]  # true of two trainings of one architecture
    feature_fit: NotRequired[FeatureFit]
    label_only: NotRequired[ControlResults]  # fed from features of the source's kind that hold the label alone
    loss_variance: NotRequired[Variance]  # squared points
    validation_error_variance: NotRequired[Variance]
    regions_sd: NotRequired[dict[str, float]]  # images: the square root of each region's total variance
    fit_curve: NotRequired[CurveShape]  # of a map fitted by Adam: whether E settled
    outcome: NotRequired[str]  # "equivalent", "different" or "undecided"
    validation_error_ci95: NotRequired[list[float]]  # of the mean E, over evaluation images
    loss_ci95_all: NotRequired[list[float]]  # two ends, points: all directions' intervals hold at once
    loss_sd: NotRequired[float]  # standard deviation over seeds, if there are several


class MeasureResults(TypedDict):
    """How alike two networks' features are, without a map."""

    a: str
    b: str
    cka: float | None
    cka_unbiased: NotRequired[float | None]  # near 0 for unrelated features, however few the images
    neighbours: float
    neighbours_by_chance: float
    neighbours_ci95: NotRequired[list[float]]  # over images whose neighbours are looked for
    k: int
    rows: int  # images that the neighbours were looked for among
    procrustes_angle: NotRequired[float | None]  # radians: 0 for a rotation, pi/2 if nothing is shared
    cka_calibrated: NotRequired[Calibrated | None]  # unbiased CKA on a sample of the images
    neighbours_calibrated: NotRequired[Calibrated | None]


class Calibrated(TypedDict):
    """A measure beside its values for permuted images."""

    value: float
    p: float  # share of the permutations, and the order as it is, that reach the value
    threshold: float  # what 5 % of them exceed
    calibrated: float  # max(0, (value - threshold) / (1 - threshold)): 0 as by chance, 1 as like as can be
    rows: int  # images that were permuted


class ImageCounts(TypedDict):
    """What became of a split's images. listed = extracted + rejected."""

    listed: int
    extracted: int
    rejected: int
    reasons: dict[str, int]  # rejected, by category


class PublishedValue(TypedDict):
    """A value printed elsewhere, in percent and points as printed."""

    source: str
    features: str
    classifier: str
    correct: int | None
    accuracy: float | None
    loss: float | None


class ShiftResults(TypedDict):
    """How a direction's loss on a set differs from its loss on val."""

    val_loss: float
    difference: float  # points: the loss on the set less that on val
    difference_ci95: list[float]  # two ends, over evaluation images
    difference_ci95_all: list[float]  # the same, for all directions at once
    independent: bool  # whether the interval takes the sets' images as independent samples; else they are paired
    p_value: float  # of no difference
    p_holm: NotRequired[float]


class SetMappingResults(MappedResults):
    """The main map of a pair on a further evaluation set; without r2 and skill."""

    outcome: NotRequired[str]
    loss_ci95_all: NotRequired[list[float]]
    paired_variance: NotRequired[float]  # squared points: of the difference from val's loss, on the same images
    shift: NotRequired[ShiftResults]


class SetNetworkResults(Counted):
    """A network on its own features, on a further evaluation set."""

    accuracy_ci95: list[float]


class Correlation(TypedDict):
    """How the losses of all directions on val and on a set go together."""

    pearson: float
    spearman: float
    p: float  # how often permuted networks give as large a Pearson's r
    directions: int


class SetResults(TypedDict):
    """What was found on a further evaluation set."""

    images: ImageCounts
    unlabelled: int  # images that are not counted, since no label is right for them
    outside: int  # images that are not counted, since they are of no class of the set
    classes: int | None  # of the set; null for all of the networks' classes
    restricted: bool  # whether answers are the best among the set's classes
    several_labels: bool  # whether an image may have several right labels
    shared_images: int  # that have the features of a training image
    shared_with_val: int  # that have the features of an image of val
    same_images: bool  # whether they are val's images, so that differences are paired
    networks: dict[str, SetNetworkResults]
    mappings: list[SetMappingResults]
    correlation: NotRequired[Correlation | None]  # null for two networks


class Results(TypedDict):
    """results.json."""

    experiment: str
    images: dict[str, ImageCounts]  # by split
    networks: dict[str, NetworkResults]
    mappings: list[MappingResults]  # the main map of each pair whose target has a classifier
    feature_mappings: NotRequired[list[FeatureMappingResults]]  # of the other pairs, if there are any
    order: list[str]  # networks, similar ones beside each other
    shared_images: NotRequired[int]  # evaluation images with the features of a training image
    measures: list[MeasureResults]
    published: list[PublishedValue]
    eval: NotRequired[dict[str, SetResults]]  # by further evaluation set
    settings: dict[str, Any]  # the experiment file, defaults included
    versions: dict[str, str]


class StageTiming(TypedDict):
    """One stage in timings.json: the last run in which it made anything."""

    seconds: float
    made: int  # tables, maps or reports
    ended: str  # date and time, UTC
    cpus: float  # of the cluster
    gpus: int


class Example(Pair):
    """An image that a mapping fixed or broke: a row of examples.parquet."""

    kind: str  # "fixed" or "broken"
    image_id: str
    label: int
    own: int  # class predicted with the target's own features
    mapped: int  # class predicted with mapped features
    label_name: str | None  # None if the class has no known name
    own_name: str | None
    mapped_name: str | None
