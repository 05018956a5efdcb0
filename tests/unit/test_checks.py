"""Checks before images are extracted: class names that fit the networks, splits that do not share images."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.extraction.checks import check_classes, check_same_classes, check_training_rows
from lib.errors import ExperimentError
from lib.experiment.settings import FitSettings, Split
from lib.images.geometry import Geometry
from lib.networks.descriptions import Description


def network(classes: int) -> Description:
    return Description("", Geometry((3, 64, 64), 1.0, "center", "bilinear"), {}, classes, b"")


def trees(root: Path, train: list[str], val: list[str]) -> dict[str, Split]:
    for split, folders in (("train", train), ("val", val)):
        for folder in folders:
            (root / split / folder).mkdir(parents=True)
            (root / split / folder / f"{split}.jpg").write_bytes(b"x")
    return {f"images.{split}": Split(location=str(root / split)) for split in ("train", "val")}


def test_a_header_line_in_a_class_file_is_noticed() -> None:
    with pytest.raises(ExperimentError, match=r"names\.txt has 3 class names, but network 'a' has 2.*line is 'wnid'"):
        check_classes({}, "names.txt", ["wnid", "n1", "n2"], {"a": network(2)})
    check_classes({}, "names.txt", ["n1", "n2"], {"a": network(2)})


def test_a_trees_folders_are_the_networks_classes(tmp_path: Path) -> None:
    splits = trees(tmp_path, ["n1", "n2"], ["n1", "n2"])
    check_classes(splits, None, None, {"a": network(2)})
    (tmp_path / "val" / "n0").mkdir()
    with pytest.raises(
        ExperimentError,
        match=r"images\.val: 3 class folders, but network 'a' has 2 classes\. These folders are empty: \['n0'",
    ):
        check_classes(splits, None, None, {"a": network(2)})


def test_both_trees_have_the_same_folders(tmp_path: Path) -> None:
    splits = trees(tmp_path, ["n1", "n2"], ["n1", "n3"])
    with pytest.raises(ExperimentError, match=r"images\.train and images\.val have other class folders.*'n2', 'n3'"):
        check_classes(splits, None, None, {"a": network(2)})


def test_networks_of_other_classes_are_refused() -> None:
    """Also where all labels lie below the smaller number, as in a listing without class names."""
    check_same_classes({"a": network(10), "b": network(10)})
    with pytest.raises(ExperimentError, match=r"same classes.*'a' has 10, 'b' has 12\. A background class"):
        check_same_classes({"a": network(10), "b": network(12)})


def test_too_few_training_images_for_cross_validation_are_refused() -> None:
    check_training_rows(19, FitSettings())
    check_training_rows(3, FitSettings(families=["affine", "classifiers"]))
    with pytest.raises(ExperimentError, match=r"images\.train: 18 images, .*least_squares.* need 19 or more"):
        check_training_rows(18, FitSettings())
