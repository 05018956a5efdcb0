"""Classes and labels of further evaluation sets: folders that are numbers, subsets, several right labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from project import EXPERIMENTS
from pydantic import ValidationError

from lib.errors import ListingError
from lib.evaluation.chance import chance_level
from lib.evaluation.labelling import NO_CLASS, Labelling
from lib.evaluation.predictions import best_class, best_classes
from lib.experiment.evaluation_sets import EvaluationSet
from lib.experiment.loading import load_experiment
from lib.experiment.settings import Experiment, Images, Split
from lib.images.labels import tree_classes
from lib.images.listing import find_sources, list_images
from lib.images.right_labels import RightLabels
from lib.images.set_classes import folder_labels, known_classes, read_subset
from lib.networks.classifiers import Classifier

WNIDS = [f"n{number:08d}" for number in (11, 2, 300, 40, 5, 6, 7, 8, 9, 10, 1, 120)]


def tree(folder: Path, names: list[str]) -> Path:
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / f"{name}.jpg").write_bytes(b"x")
    return folder


def labels(folder: Path, known: list[str] | None = None, **fields: str) -> dict[str, int]:
    table = list_images(EvaluationSet(location=str(folder), **fields), known)
    folders = [name.split("/")[0] for name in table["image_id"].to_pylist()]
    return dict(zip(folders, table["label"].to_pylist(), strict=True))


def test_folders_that_are_numbers_are_counted_as_numbers(tmp_path: Path) -> None:
    """ImageNet-V2's layout: as text, 10 would come before 2."""
    numbers = tree(tmp_path / "v2", [str(k) for k in range(12)])
    found = labels(numbers, sorted(WNIDS))
    assert found == {str(k): k for k in range(12)}
    assert labels(numbers) == found, "also where no class names are known"
    assert find_sources(EvaluationSet(location=str(numbers)), sorted(WNIDS)).numbered == 12
    assert find_sources(EvaluationSet(location=str(tree(tmp_path / "wnids", WNIDS)))).numbered == 0
    with pytest.raises(
        ListingError, match=r"numbers 0 to 11, but there are 13 classes.*\[images\.eval\.NAME\] classes"
    ):
        labels(numbers, [*WNIDS, "n99999999"])
    (numbers / "3" / "3.jpg").unlink()
    (numbers / "3").rmdir()
    with pytest.raises(ListingError, match="they are not 0 to 10: the largest is 11"):
        labels(numbers, sorted(WNIDS))


def test_numbers_count_the_sets_own_classes_if_it_names_as_many(tmp_path: Path) -> None:
    numbers, classes = tree(tmp_path / "r", ["0", "1", "2"]), sorted(WNIDS)
    (tmp_path / "subset.txt").write_text("\n".join([classes[7], classes[2], classes[11]]))
    assert labels(numbers, classes, classes=str(tmp_path / "subset.txt")) == {"0": 7, "1": 2, "2": 11}


def test_wnids_are_looked_for_among_all_classes(tmp_path: Path) -> None:
    classes = sorted(WNIDS)
    part = tree(tmp_path / "a", classes[3:6])
    assert labels(part, classes) == {classes[k]: k for k in (3, 4, 5)}
    assert list(folder_labels(EvaluationSet(location=str(part)), classes).values()) == [3, 4, 5]
    tree(tmp_path / "a", ["n77777777"])
    with pytest.raises(ListingError, match=r"folder 'n77777777' is not among the 12 class names\. If its images"):
        labels(part, classes)


def test_words_need_class_names(tmp_path: Path) -> None:
    """A set's own folders, such as those of a fine-tuning tree, tell no order that networks share."""
    words = tree(tmp_path / "words", ["cat", "dog"])
    with pytest.raises(ListingError, match=r"'cat' is neither a WordNet id nor a number.*Give images\.classes"):
        labels(words)
    assert labels(words, ["dog", "cat"]) == {"cat": 1, "dog": 0}
    assert tree_classes(Split(location=str(words))) == ["cat", "dog"], "train and val are what networks are asked by"


def test_a_tree_whose_names_have_another_order_by_their_numbers_is_refused(tmp_path: Path) -> None:
    counted = tree(tmp_path / "counted", ["class1", "class2", "class10"])
    with pytest.raises(ListingError, match=r"'class10' comes before 'class2' as text, but not by its number.*classes"):
        tree_classes(Split(location=str(counted)))
    assert labels(counted, ["class1", "class2", "class10"]) == {"class1": 0, "class2": 1, "class10": 2}
    padded = tree(tmp_path / "padded", ["class01", "class02", "class10", "class-a", "n00000001"])
    assert tree_classes(Split(location=str(padded)))[0] == "class-a"


def test_names_come_from_the_file_from_val_or_from_train(tmp_path: Path) -> None:
    listing = tmp_path / "list.csv"
    listing.write_text("path,label\n")
    split = str(tree(tmp_path / "tree", ["cat", "dog"]))
    (tmp_path / "names.txt").write_text("ant\nbee\n")

    def known(**fields: str) -> list[str] | None:
        return known_classes(Images.model_validate({"train": str(listing), "val": str(listing), **fields}))

    assert known() is None
    assert known(train=split) == ["cat", "dog"]
    assert known(val=split) == ["cat", "dog"]
    assert known(val=split, classes=str(tmp_path / "names.txt")) == ["ant", "bee"]


def test_a_subset_is_read_by_names_or_labels(tmp_path: Path) -> None:
    file = tmp_path / "subset.txt"
    file.write_text("dog\n0\n")
    assert read_subset(str(file), ["ant", "cat", "dog"]) == [2, 0]
    for text, match in (("dog\n2\n", "stand there twice"), ("5\n", "no labels of the 3"), ("bee\n", "none of the 3")):
        file.write_text(text)
        with pytest.raises(ListingError, match=match):
            read_subset(str(file), ["ant", "cat", "dog"])


def test_timms_own_files_are_named_without_their_place() -> None:
    """What timm's validate.py takes for ImageNet-A and for ReaL."""
    classes = known_classes(load_experiment("shift", [], EXPERIMENTS).images.model_copy())
    assert classes is not None
    assert (len(classes), classes[0], classes[-1]) == (1000, "n01440764", "n15075141")
    subset = read_subset("timm:imagenet_a_indices.txt", classes)
    assert (len(subset), [classes[label] for label in subset[:2]]) == (200, ["n01498041", "n01531178"])
    assert sorted(read_subset("timm:imagenet_a_synsets.txt", classes)) == sorted(subset)
    real = RightLabels.read("timm:imagenet_real_labels.json", classes)
    images = pa.array([f"ILSVRC2012_val_{k:08d}.JPEG" for k in range(1, 50_001)])
    found = Labelling.of(pa.table({"image_id": images, "label": pa.nulls(50_000, pa.int32())}), None, real)
    assert found.unlabelled == 3163, "ReaL has no label for so many"
    with pytest.raises(ListingError, match=r"timm carries no file 'imagenet_x\.txt', but .*imagenet_a_indices\.txt"):
        read_subset("timm:imagenet_x.txt", classes)


def test_several_labels_come_in_each_format(tmp_path: Path) -> None:
    """One id, one file's name, and one name without its ending."""
    wanted = [[3, 1], [], [2]]
    ids = pa.array(["n1/a.jpg", "x/b.jpg", "x/y/c.d.jpg"])
    names = ["n1/a.jpg", "b.jpg", "c.d"]
    (tmp_path / "a.json").write_text(json.dumps(dict(zip(names, wanted, strict=True))))
    (tmp_path / "a.csv").write_text("path,label\nn1/a.jpg,3 1\nb.jpg,\nc.d,2\n")
    table = pa.table({"path": names, "label": pa.array(wanted, pa.list_(pa.int16()))})
    pq.write_table(table, tmp_path / "a.parquet")
    for file in ("a.json", "a.csv", "a.parquet"):
        assert RightLabels.read(str(tmp_path / file)).of(ids).to_pylist() == wanted, file
    (tmp_path / "real.json").write_text(json.dumps([["b", "d"], [], ["c"]]))
    real = RightLabels.read(str(tmp_path / "real.json"), ["a", "b", "c", "d"])
    found = real.of(pa.array([f"v/ILSVRC2012_val_0000000{k}.JPEG" for k in (3, 1, 2)]))
    assert found.to_pylist() == [[2], [1, 3], []], "ReaL's list, in the order of the images' numbers"
    with pytest.raises(ListingError, match=r"no labels for 2 of 3 images, such as \['n2', 'n3'\]"):
        RightLabels.read(str(tmp_path / "a.json")).of(pa.array(["a/b.jpg", "n2", "n3"]))


@pytest.mark.parametrize(
    ("file", "text", "match"),
    [
        ("a.json", "7", "expected a JSON list of lists"),
        ("a.json", "{", "expected a JSON list of lists"),
        ("a.json", '{"a": ["cat"]}', r"image 'a': label 'cat' is no whole number"),
        ("a.json", '{"a": [0, -1]}', "below 0"),
        ("a.csv", "path,label\na,1\na,2\n", "twice"),
        ("a.csv", "file,label\na,1\n", "columns path and label"),
    ],
)
def test_files_that_hold_no_labels_are_refused(tmp_path: Path, file: str, text: str, match: str) -> None:
    (tmp_path / file).write_text(text)
    with pytest.raises(ListingError, match=match):
        RightLabels.read(str(tmp_path / file))


def test_images_without_a_right_label_or_of_other_classes_are_not_counted(tmp_path: Path) -> None:
    images = pa.table({"image_id": ["a", "b", "c", "d"], "label": pa.array([3, None, 0, 3], pa.int32())})
    plain = Labelling.of(images)
    assert plain.counted.tolist() == [True, False, True, True]
    assert (plain.label.tolist(), plain.right, plain.unlabelled, plain.outside) == ([3, 0, 3], None, 1, 0)
    part = Labelling.of(images, [3, 5])
    assert (part.label.tolist(), part.unlabelled, part.outside) == ([3, 3], 1, 1)
    (tmp_path / "real.json").write_text(json.dumps({"a": [1, 3, 5], "b": [5], "c": [], "d": [1, 2]}))
    real = Labelling.of(images, [3, 5], RightLabels.read(str(tmp_path / "real.json")))
    assert (real.counted.tolist(), real.unlabelled, real.outside) == ([True, True, False, False], 1, 1)
    assert real.right is not None
    assert real.right.tolist() == [[3, 5, NO_CLASS], [5, NO_CLASS, NO_CLASS]], "1 is no class of the set"
    assert real.label.tolist() == [3, 5]


def test_chance_gets_an_image_right_by_each_of_its_labels() -> None:
    labels = np.array([[3, 5], [5, NO_CLASS]])
    answers = np.array([5, 3])
    assert chance_level(labels, answers) == pytest.approx((1 + 0.5) / 2), "3 or 5 for the first, 5 for the second"


def test_answers_are_the_best_of_a_sets_classes() -> None:
    """As timm's validate.py: scores of others are left out before the best is looked for, the background's, too."""
    scores = torch.tensor([[9.0, 1, 2, 3, 8], [9, 5, 1, 7, 8]])
    classifier = Classifier(torch.eye(5), torch.zeros(5))
    assert best_class(classifier, scores).to_pylist() == [0, 0]
    assert best_class(classifier, scores, [1, 2, 3]).to_pylist() == [3, 3]
    assert best_classes(classifier, scores, 2, [1, 2, 3]).tolist() == [[3, 2], [3, 1]]
    background = Classifier(torch.eye(5), torch.zeros(5), offset=1)
    assert best_class(background, scores).to_pylist() == [-1, -1]
    assert best_class(background, scores, [0, 1, 2]).to_pylist() == [2, 2]
    assert best_class(classifier, scores, range(5)).to_pylist() == best_class(classifier, scores).to_pylist()


def test_sets_stand_in_the_file_or_on_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "e.toml"
    file.write_text(
        '[images]\ntrain = "t"\nval = "v"\n[images.eval]\nv2 = "imagenet-v2"\n'
        '[images.eval.a]\nlocation = "{root}/a"\nclasses = "{root}/a.txt"\n'
        '[networks.a]\nmodel = "x"\n[networks.b]\nmodel = "y"\n'
    )
    images = load_experiment(str(file), ["images.eval.real=v", "images.eval.real.labels=r.json"]).located("F").images
    assert images.splits == ("train", "val", "v2", "a", "real")
    assert images.judged == ("val", "v2", "a", "real")
    assert (images.split("a").location, images.eval["a"].classes) == ("F/a", "F/a.txt")
    assert images.field("a") == "images.eval.a"
    assert [images.same_as_val(name) for name in images.eval] == [False, False, True]
    with pytest.raises(Exception, match=r"images.eval.v2.lables: unknown key. Did you mean 'labels'\?"):
        load_experiment(str(file), ["images.eval.v2.lables=r.json"])


def test_given_features_name_the_vectors_of_a_set(tmp_path: Path) -> None:
    """Ids of another set may be those of val, whose vectors would be taken without a word."""
    images: dict[str, Any] = {
        "train": "t",
        "val": "v",
        "eval": {"v2": "w", "real": {"location": "v", "labels": "r.json"}},
    }

    def experiment(features: Any) -> Experiment:
        networks = {"a": {"features": features}, "b": {"model": "x"}}
        return Experiment.model_validate({"name": "e", "images": images, "networks": networks})

    with pytest.raises(ValidationError, match=r"networks\.a\.features\.eval\.v2: name the vectors of images\.eval\.v2"):
        experiment({"train": "t.npy", "val": "v.npy"})
    for features, place in (("all.npy", "all.npy"), ({"train": "t", "val": "v", "eval": {"v2": "{root}/w"}}, "F/w")):
        found = experiment(features).located("F").networks["a"].features
        assert found is not None
        assert found.location("v2") == place
        assert found.location("real") == found.location("val")


@pytest.mark.parametrize("name", ["val", "train", "a-to-b", "../a", "a b", ""])
def test_names_that_are_no_folders_of_their_own_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="train and val are taken"):
        Images.model_validate({"train": "t", "val": "v", "eval": {name: "x"}})
