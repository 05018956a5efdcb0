"""Further evaluation sets: the same pictures give the same numbers in whatever folders; each costs its own alone."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs import path_of, run_of

from jobs.cluster.runs import Run
from jobs.planning.dry_run import Plan
from jobs.validate import validate
from lib.errors import ExperimentError, ListingError
from lib.features.reading import read_features
from lib.features.tables import FeatureTables
from lib.maps.affine import AffineMap
from lib.networks.classifiers import load_classifier
from lib.report.findings import Findings
from lib.report.report import write_report
from lib.storage.files import read_json

pytestmark = pytest.mark.slow

CLOSED = 'families = ["least_squares", "classifiers"]\nlearning_curve = false\ncontrols = false\nranks = []\n'
IDENTITY = ("correct", "total", "accuracy", "loss", "loss_ci95", "fixed", "broken", "p_holm", "regions", "outcome")


@pytest.fixture(scope="module")
def closed(experiment: Path) -> Path:
    """The tiny experiment without fits by Adam, beside its pictures, and these in other folders."""
    path = experiment.parent / "closed.toml"
    path.write_text(experiment.read_text() + CLOSED)
    classes = sorted(folder.name for folder in (experiment.parent / "val").iterdir())
    (experiment.parent / "classes.txt").write_text("\n".join(classes))
    for place, name in enumerate(classes):
        shutil.copytree(experiment.parent / "val" / name, experiment.parent / "numbers" / str(place))
        if place in (1, 4, 10):
            shutil.copytree(experiment.parent / "val" / name, experiment.parent / "part" / name)
    return path


def stages(run: Run) -> dict[str, int]:
    """What each stage made."""
    from jobs.evaluate import evaluate
    from jobs.extract import extract
    from jobs.fit import fit
    from jobs.predict import predict

    return {stage.__name__: stage(run) for stage in (extract, fit, predict, evaluate)}


def results_of(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(path_of(run, "results.json")).read_text())
    return found


@pytest.fixture(scope="module")
def finished(closed: Path, tmp_path_factory: pytest.TempPathFactory, local_ray: None) -> Path:
    """A root with the finished experiment, without further sets."""
    root = tmp_path_factory.mktemp("finished")
    stages(run_of(closed, root))
    return root


def sets(folder: Path) -> list[str]:
    """The very images of val, the same pictures in folders 0 to 11, three of the classes, and val with right labels."""
    names = sorted(path.relative_to(folder / "val").as_posix() for path in (folder / "val").rglob("*.JPEG"))
    classes = (folder / "classes.txt").read_text().split()
    labels = {name: [classes.index(name.split("/")[0])] for name in names}
    labels[names[0]] = []
    for name in names[1:20]:
        labels[name] = [*labels[name], 7, 3]
    (folder / "real.json").write_text(json.dumps(labels))
    val = folder / "val"
    return [
        f"images.eval.same={val}",
        f"images.eval.numbers={folder / 'numbers'}",
        f"images.eval.part={folder / 'part'}",
        f"images.eval.open={folder / 'part'}",
        "images.eval.open.restricted=false",
        f"images.eval.clean={val}",
        "images.eval.clean.classes=" + str(subset_file(folder, classes)),
        f"images.eval.real={val}",
        f"images.eval.real.labels={folder / 'real.json'}",
    ]


def subset_file(folder: Path, classes: list[str]) -> Path:
    path = folder / "subset.txt"
    path.write_text("\n".join(classes[place] for place in (10, 1, 4)))
    return path


def test_sets_that_cannot_be_judged_are_refused_before_work(closed: Path, finished: Path, tmp_path: Path) -> None:
    from jobs.extract import extract

    folder = closed.parent

    def refused(kind: type[Exception], match: str, *overrides: str) -> None:
        with pytest.raises(kind, match=match):
            extract(run_of(closed, finished, *overrides))

    (tmp_path / "few" / "0").mkdir(parents=True)
    shutil.copytree(folder / "numbers" / "5", tmp_path / "few" / "1")
    refused(ListingError, "numbers 0 to 1, but there are 12 classes", f"images.eval.few={tmp_path / 'few'}")
    shutil.copytree(folder / "numbers" / "5", tmp_path / "words" / "cat")
    refused(ListingError, "folder 'cat' is not among the 12 class names", f"images.eval.words={tmp_path / 'words'}")
    refused(ExperimentError, "images of shared are in train, too", f"images.eval.shared={folder / 'train'}")
    (tmp_path / "real.json").write_text("[[0], [1]]")
    real = f"images.eval.real.labels={tmp_path / 'real.json'}"
    refused(ListingError, "no labels for 48 of 48 images", f"images.eval.real={folder / 'val'}", real)
    (tmp_path / "subset.txt").write_text("12\n")
    subset = f"images.eval.real.classes={tmp_path / 'subset.txt'}"
    refused(ListingError, "no labels of the 12 classes", f"images.eval.real={folder / 'val'}", subset)
    assert not list(Path(path_of(run_of(closed, finished), "features")).glob("few*"))
    assert read_json(path_of(run_of(closed, finished), "results.json"))["networks"]


def test_sets_are_judged_with_the_maps_that_are_there(
    closed: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = finished
    before = results_of(run_of(closed, root))
    wanted = sets(closed.parent)
    planned = dict(Plan(run_of(closed, root, *wanted)).lines())
    assert planned["fit"] == "all maps are finished"
    assert planned["predict"] == "24 tables"
    assert planned["evaluate"] == "the maps on same, numbers, part, open, clean, real"

    run = run_of(closed, root, *wanted)
    assert stages(run) == {"extract": 6, "fit": 0, "predict": 24, "evaluate": 7}
    said = capsys.readouterr().out
    assert "numbers: its 12 class folders are numbers, and are counted as such" in said
    assert "part: answers are the best among its 3 classes" in said
    assert "real: 1 of 48 images have no right label, and will not be counted" in said
    results = results_of(run)
    assert {key: value for key, value in results.items() if key not in ("eval", "images", "settings")} == {
        key: value for key, value in before.items() if key not in ("images", "settings")
    }, "what was found on val is not touched"
    for name in ("same", "numbers"):
        one = results["eval"][name]
        for network, own in one["networks"].items():
            assert own["correct"] == results["networks"][network]["correct"], name
        for mapping, on_val in zip(one["mappings"], results["mappings"], strict=True):
            for key in IDENTITY:
                assert mapping[key] == on_val[key], (name, key)
            assert mapping["validation_error"] == pytest.approx(on_val["validation_error"], abs=1e-12)
            assert mapping["shift"]["difference"] == 0
        assert one["shared_with_val"] == 48
    assert results["eval"]["same"]["mappings"][0]["shift"]["difference_ci95"] == [0, 0], "the same images, paired"
    low, high = results["eval"]["numbers"]["mappings"][0]["shift"]["difference_ci95"]
    assert low == -high < 0, "other files, taken as independent"

    judged_by_hand(run, results)
    validated(run, results)
    assert stages(run_of(closed, root, *wanted)) == {"extract": 0, "fit": 0, "predict": 0, "evaluate": 0}
    Path(path_of(run, "eval", "part.parquet")).write_bytes(b"lost")
    repairing = Run(run.written, str(root), repair=True, begun=run.begun)
    assert stages(repairing)["evaluate"] == 1, "the set alone, whose results come out as they were"
    records = write_report(Findings.read(run.files), run.files)
    page = Path(path_of(run, "report.html")).read_text()
    assert "Other evaluation sets" in page
    assert path_of(run, "table1.md") in records

    fewer = [value for value in wanted if not value.startswith(("images.eval.real", "images.eval.open"))]
    assert stages(run_of(closed, root, *fewer))["evaluate"] == 1, "results.json alone"
    assert list(results_of(run)["eval"]) == ["same", "numbers", "part", "clean"]


def validated(run: Run, results: dict[str, Any]) -> None:
    """What jobs.validate counts of one network on a set is what results.json says."""
    network = run.experiment.networks["a"]
    for name, left_out in (("clean", "outside"), ("real", "unlabelled")):
        counts, one = validate("a", network, run.experiment.images, split=name), results["eval"][name]
        assert counts["top1"] == one["networks"]["a"]["correct"]
        assert counts["total"] == one["networks"]["a"]["total"]
        assert counts[left_out] == one[left_out] > 0
        assert counts["top1"] < counts["topk"]
    assert counts["topk"] < counts["total"]


def judged_by_hand(run: Run, results: dict[str, Any]) -> None:
    """Accuracies on the sets from the features, in plain numpy."""
    features = read_features(FeatureTables.open(path_of(run, "features", "val")), ["a", "b"])
    label = np.asarray(features.label)
    real = json.loads(Path(run.experiment.images.eval["real"].labels or "").read_text())
    right = [real[name] for name in features.image_id.tolist()]
    inside = np.isin(label, (1, 4, 10))
    for source, target in (("a", "b"), ("b", "a"), ("a", "a")):
        classifier = load_classifier(run.files, target)
        vectors = features.vectors[source].astype(np.float64)
        if source != target:
            map_ = AffineMap.load(path_of(run, "maps", f"{source}-to-{target}.least_squares.safetensors"))
            vectors = vectors @ map_.weight.double().numpy().T + map_.bias.double().numpy()
        scores = vectors @ classifier.weight.double().numpy().T + classifier.bias.double().numpy()
        best = scores.argmax(1)
        chosen = np.array([1, 4, 10])[scores[:, [1, 4, 10]].argmax(1)]
        by_hand = {
            "part": (chosen == label)[inside],
            "clean": (chosen == label)[inside],
            "open": (best == label)[inside],
            "real": np.array([answer in labels for answer, labels in zip(best, right, strict=True) if labels]),
        }
        for name, expected in by_hand.items():
            one = results["eval"][name]
            found = one["networks"][source]
            if source != target:
                found = next(row for row in one["mappings"] if row["source"] == source)
            assert (found["correct"], found["total"]) == (expected.sum(), len(expected)), (name, source, target)
    assert results["eval"]["clean"]["outside"] == 48 - inside.sum()
    assert results["eval"]["real"]["unlabelled"] == 1
    assert results["eval"]["part"]["classes"] == 3
