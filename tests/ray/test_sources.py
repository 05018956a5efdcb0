"""Networks whose classifier is their own, none, a probe or a file, through all stages beside each other."""

import json
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
import torch
from runs import path_of, run_of

from jobs.cluster.runs import Run
from lib.errors import ManifestMismatch
from lib.evaluation.result_tables import MAPS
from lib.experiment.variants import PARTS, assign_parts, part_edges
from lib.features.reading import read_features
from lib.features.tables import FeatureTables
from lib.maps.probes import label_moments, ridge_probe
from lib.networks.classifiers import Classifier
from lib.storage.files import read_json
from lib.storage.parquet import read_table

pytestmark = pytest.mark.slow

SAME = 'model="test_resnet", weights="random", options={num_classes=12}'


@pytest.fixture(scope="module")
def run(experiment: Path, tmp_path_factory: pytest.TempPathFactory, local_ray: None) -> Run:
    """All stages of a, b, and of a again without a classifier, with a probe, and with its own head in a file."""
    from jobs.pipeline import pipeline

    root = tmp_path_factory.mktemp("sources")
    head = root / "head.safetensors"
    from lib.experiment.loading import load_experiment
    from lib.networks.network import Network

    own = Network("a", load_experiment(str(experiment)).networks["a"]).classifier
    assert own is not None
    head.write_bytes(own.to_bytes())
    made = run_of(
        experiment,
        root,
        f'networks.bare={{{SAME}, classifier="none"}}',
        f'networks.probed={{{SAME}, classifier="probe"}}',
        f'networks.filed={{{SAME}, classifier="{head}"}}',
        f"networks.early={{{SAME}, layer=1}}",
        "fit.learning_curve=false",
        "fit.ranks=[4]",
    )
    assert pipeline(made) > 0
    return made


@pytest.fixture(scope="module")
def results(run: Run) -> dict:
    return read_json(path_of(run, "results.json"))


def test_a_source_gives_the_same_whatever_its_classifier_is(results: dict) -> None:
    found = {(row["source"], row["target"]): row for row in results["mappings"]}
    corrected = {"source", "p_holm", "p_equivalent_holm", "p_chance_holm", "loss_ci95_all", "outcome", "feature_fit"}
    for source in ("bare", "probed", "filed"):
        other, own = found[source, "b"], found["a", "b"]
        differing = {key for key in own if own[key] != other[key]} - corrected
        assert differing <= ({"regions", "regions_sd"} if source != "filed" else set())
        assert own["feature_fit"] == other["feature_fit"]


def test_a_head_from_a_file_gives_the_same_as_the_networks_own(results: dict) -> None:
    networks = results["networks"]
    assert networks["filed"] | {"gives": 0, "takes": 0, "classifier": "own"} == networks["a"] | {"gives": 0, "takes": 0}
    found = {(row["source"], row["target"]): row for row in results["mappings"]}
    for key in ("correct", "loss", "loss_ci95", "validation_error", "regions"):
        assert found["b", "filed"][key] == found["b", "a"][key]


def test_without_a_classifier_a_target_takes_part_in_what_needs_none(run: Run, results: dict) -> None:
    assert "accuracy" not in results["networks"]["bare"]
    assert results["networks"]["early"]["features"] == {"layer": 1}
    assert not [row for row in results["mappings"] if row["target"] in ("bare", "early")]
    found = {(row["source"], row["target"]): row for row in results["feature_mappings"]}
    assert len(found) == 2 * 5
    own = next(row for row in results["mappings"] if (row["source"], row["target"]) == ("b", "a"))
    for key, value in found["b", "bare"].items():
        assert key == "target" or value == own[key]
    assert len(results["measures"]) == 6 * 5 / 2
    maps = read_table(path_of(run, "maps.parquet"), MAPS)
    bare = maps.filter(pc.equal(maps["target"], "bare")).to_pylist()
    assert {row["variant"] for row in bare} == {"affine", "least_squares", "orthogonal", "least_squares.rank4"}
    assert all(row["accuracy"] is None and row["validation_error"] > 0 for row in bare)


def test_a_probe_is_fitted_with_labels_and_says_so(run: Run, results: dict) -> None:
    features = read_features(FeatureTables.open(path_of(run, "features", "train")), ["probed"])
    C = Classifier.load(path_of(run, "classifiers", "probed.safetensors"))
    ids, F = features.image_id.tolist(), torch.from_numpy(features.vectors["probed"])
    label, part = torch.tensor(features.label.to_numpy()), torch.from_numpy(assign_parts(ids, part_edges(ids)))
    expected, _ = ridge_probe([label_moments(F[part == k], label[part == k], 12) for k in range(len(PARTS))])
    torch.testing.assert_close(C(F), expected(F), rtol=1e-3, atol=1e-4)
    assert json.loads(Path(path_of(run, "classifiers", "probed.manifest.json")).read_text())["kind"] == "ridge"
    assert results["networks"]["probed"]["classifier"] == "probe"
    page = Path(path_of(run, "report.html")).read_text()
    assert "b → probed (probe)" in page
    assert "linear, fitted with the training images" in page


def test_what_is_finished_is_skipped_and_another_probe_makes_what_follows_anew(run: Run) -> None:
    from jobs.fit import fit
    from jobs.predict import predict
    from jobs.probe import probe

    assert probe(run) == 0
    assert fit(run) == 0
    changed = Run(run.written.model_copy(update={"probe": run.written.probe.model_copy(update={"kind": "logistic"})}),
                  run.root, begun=run.begun)  # fmt: skip
    assert probe(changed) == 1
    with pytest.raises(ManifestMismatch, match="classifier was"):
        fit(changed)
    assert predict(Run(changed.written, run.root, overwrite=True)) > 0
    described = read_json(path_of(run, "classifiers", "probed.manifest.json"))
    assert described["kind"] == "logistic"
    assert np.isfinite(described["penalty"])
