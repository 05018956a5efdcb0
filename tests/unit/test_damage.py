"""At rest: what is not as it was written is found and named, in each file that a stage reads."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from test_tables import product

from lib.errors import DamagedFile, ManifestMismatch, TableError, UserError
from lib.evaluation.belonging import check_predictions, check_weights
from lib.evaluation.prediction_tables import PREDICTIONS, read_predicted
from lib.experiment.layout import Layout
from lib.features.chunks import read_chunk, split_into_chunks
from lib.features.reading import read_features
from lib.features.tables import FeatureTables, describe_parts
from lib.maps.affine import AffineMap
from lib.maps.curves import read_curve, write_curve
from lib.networks.classifiers import Classifier, load_classifier
from lib.report.findings import read_results
from lib.storage.columns import vector_column
from lib.storage.files import write_bytes, write_json
from lib.storage.manifests import Artifact, begin_all, read_manifest, read_records
from lib.storage.parquet import write_table
from lib.storage.parts import check_part, list_parts
from lib.storage.records import FileRecord

ROWS, SIZE = 24, 6


def write_features(folder: Path, weights: str = "w") -> None:
    """A finished feature table of network a, in two files, as the extraction writes one."""
    vectors = np.random.default_rng(0).random((ROWS, SIZE), np.float32)
    ids = [f"i{k:02d}" for k in range(ROWS)]
    table = pa.table({"image_id": ids, "label": pa.array(range(ROWS), pa.int32()), "a": vector_column(vectors)})
    for part in range(2):
        write_table(str(folder / f"part-{part}.parquet"), table.slice(part * ROWS // 2, ROWS // 2))
    made_from = {"networks": {"a": {"weights": weights}}}
    described = describe_parts(str(folder), list_parts(str(folder)), {"a": SIZE})
    Artifact(str(folder / "manifest.json"), (str(folder),), made_from).finish(ROWS, **described)


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def by_features(folder: Path) -> list[object]:
    found = read_features(FeatureTables.open(str(folder)), ["a"])
    return [found.image_id.tolist(), found.label.to_pylist(), found.vectors["a"].tolist()]


def by_chunks(folder: Path) -> list[object]:
    chunks = split_into_chunks(FeatureTables.open(str(folder)), ["a"])
    rows = pa.concat_tables([read_chunk(chunk) for chunk in chunks])
    return [rows[name].to_pylist() for name in ("image_id", "label", "a")]


@pytest.mark.parametrize("read", [by_features, by_chunks])
def test_a_flipped_bit_in_a_feature_table_is_found_or_changes_nothing(
    tmp_path: Path, read: Callable[[Path], list[object]]
) -> None:
    write_features(tmp_path / "a")
    right, file = read(tmp_path), tmp_path / "a" / "part-1.parquet"
    data = file.read_bytes()
    said: list[str] = []
    bits = np.random.default_rng(1).permutation(8 * len(data))[:150].tolist()
    for bit in bits:
        file.write_bytes(flipped(data, bit))
        try:
            assert read(tmp_path) == right, f"bit {bit} of {8 * len(data)} changes rows in silence"
        except DamagedFile as error:
            said.append(str(error))
        with pytest.raises(DamagedFile):
            check_part(str(tmp_path / "a"), FeatureTables.open(str(tmp_path)).table("a").parts()[1])
    assert len(said) > 0.9 * len(bits)
    assert all(str(file) in line and "--repair" in line for line in said)


@pytest.mark.parametrize("damage", ["removed", "cut", "emptied"])
def test_a_part_that_is_not_there_as_it_was_is_named(tmp_path: Path, damage: str) -> None:
    write_features(tmp_path / "a")
    file = tmp_path / "a" / "part-0.parquet"
    if damage == "removed":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[: 0 if damage == "emptied" else -9])
    with pytest.raises(DamagedFile, match=r"part-0\.parquet is damaged: it (is missing|has)"):
        FeatureTables.open(str(tmp_path))


def test_a_file_that_the_manifest_does_not_list_is_not_read(tmp_path: Path) -> None:
    write_features(tmp_path / "a")
    right = by_features(tmp_path)
    shutil.copy(tmp_path / "a" / "part-0.parquet", tmp_path / "a" / "part-2.parquet")
    assert by_features(tmp_path) == by_chunks(tmp_path) == right


def test_features_of_an_earlier_version_are_read_without_digests(tmp_path: Path) -> None:
    write_features(tmp_path / "a")
    right, file = by_features(tmp_path), tmp_path / "a" / "manifest.json"
    assert FeatureTables.open(str(tmp_path)).table("a").has_digests
    manifest = json.loads(file.read_text())
    write_json(str(file), {"rows": manifest["rows"], "made_from": manifest["made_from"]})
    assert not FeatureTables.open(str(tmp_path)).table("a").has_digests
    assert by_features(tmp_path) == by_chunks(tmp_path) == right
    (tmp_path / "a" / "part-0.parquet").unlink()
    with pytest.raises(DamagedFile, match="12 rows, its manifest says 24"):
        by_features(tmp_path)


def test_a_remade_table_that_is_another_has_another_digest(tmp_path: Path) -> None:
    write_features(tmp_path / "a")
    first = FeatureTables.open(str(tmp_path)).digest("a")
    write_features(tmp_path / "a")
    assert FeatureTables.open(str(tmp_path)).digest("a") == first
    table = pa.table({"image_id": ["x"], "label": pa.array([0], pa.int32()), "a": vector_column(np.ones((1, SIZE)))})
    write_table(str(tmp_path / "a" / "part-1.parquet"), table)
    described = describe_parts("", list_parts(str(tmp_path / "a")), {"a": SIZE})
    Artifact(str(tmp_path / "a" / "manifest.json"), (), {"networks": {"a": {"weights": "w"}}}).finish(13, **described)
    assert FeatureTables.open(str(tmp_path)).digest("a") != first


def written(folder: Path) -> dict[str, Callable[[], object]]:
    """Files with a manifest each, and what reads them."""
    files = Layout(str(folder))
    numbers = torch.arange(12.0).reshape(3, 4)
    classifier = Classifier(numbers, torch.ones(3)).to_bytes()
    write_bytes(files.classifier("a"), classifier)
    Artifact(files.classifier_manifest("a"), (), {}).finish(
        3, records={files.classifier("a"): FileRecord.of(classifier)}
    )
    records = {files.map("m"): AffineMap(numbers, torch.ones(3)).save(files.map("m"))}
    records[files.curve("m")] = write_curve(files.curve("m"), np.ones(4, np.float32))
    Artifact(files.map_manifest("m"), (), {}).finish(4, records=records)
    predicted = pa.table({"image_id": ["x", "y"], "label": [0, 1], "predicted": [1, 1]}, schema=PREDICTIONS)
    folder_ = files.predictions("a", "a")
    record = FileRecord.of(write_table(f"{folder_}/part-0.parquet", predicted))
    Artifact(f"{folder_}/manifest.json", (), {}).finish(2, records={f"{folder_}/part-0.parquet": record})
    results = FileRecord.of(write_json(files.results, {"mappings": [{"accuracy": 0.5}]}))
    Artifact(files.results_manifest, (), {}).finish(1, records={files.results: results})
    recorded = read_records(files.map_manifest("m"))
    return {
        files.classifier("a"): lambda: load_classifier(files, "a"),
        files.map("m"): lambda: AffineMap.load(files.map("m"), recorded[files.map("m")]),
        files.curve("m"): lambda: read_curve(files.curve("m"), recorded[files.curve("m")]),
        f"{folder_}/part-0.parquet": lambda: read_predicted(folder_, PREDICTIONS),
        files.results: lambda: read_results(files),
    }


def test_a_flipped_bit_in_any_other_file_is_found(tmp_path: Path) -> None:
    for file, read in written(tmp_path).items():
        read()
        data = Path(file).read_bytes()
        for bit in np.random.default_rng(2).permutation(8 * len(data))[:100].tolist():
            Path(file).write_bytes(flipped(data, bit))
            with pytest.raises(DamagedFile, match="its bytes are not those that were written") as error:
                read()
            assert file in str(error.value)
        Path(file).unlink()
        with pytest.raises(DamagedFile, match="it is missing"):
            read()


def test_a_flipped_bit_in_a_manifest_is_found(tmp_path: Path) -> None:
    product(tmp_path, seed=1).finish(3, fit_error=0.1 + 0.2)
    file = tmp_path / "manifest.json"
    data = file.read_bytes()
    right = read_manifest(str(file))
    assert right is not None
    for bit in range(0, 8 * len(data), 3):
        file.write_bytes(flipped(data, bit))
        found = read_manifest(str(file))
        assert found is None or found == right or "digest" not in json.loads(file.read_text())


def test_what_cannot_be_parsed_is_named_without_a_record_too(tmp_path: Path) -> None:
    """As of an earlier version: what is cut is no traceback of a library."""
    files = written(tmp_path)
    for file in files:
        Path(file).write_bytes(Path(file).read_bytes()[:-7])
    m, curve = Layout(str(tmp_path)).map("m"), Layout(str(tmp_path)).curve("m")
    for read in (lambda: AffineMap.load(m), lambda: read_curve(curve)):
        with pytest.raises(DamagedFile, match=r"maps/m\."):
            read()


def test_damage_in_finished_work_is_found_and_made_anew(tmp_path: Path) -> None:
    uri = str(tmp_path / "maps" / "m.safetensors")
    artifact = Artifact(str(tmp_path / "maps" / "m.manifest.json"), (uri,), {"seed": 1})
    artifact.finish(1, records={uri: AffineMap.identity(3).save(uri)})

    def look(artifacts: list[Artifact]) -> list[list[DamagedFile]]:
        return [artifact.damage() for artifact in artifacts]

    assert not begin_all({"m": artifact}, search=look)
    Path(uri).write_bytes(flipped(Path(uri).read_bytes(), 900))
    assert not begin_all({"m": artifact}), "nobody looked"
    assert begin_all({"m": artifact}, search=look)
    assert not Path(uri).exists()


def test_records_of_files_in_other_folders_lead_back_to_them(tmp_path: Path) -> None:
    for folder in (str(tmp_path), "s3://bucket/runs/x"):
        manifest = f"{folder}/predictions/p/manifest.json"
        record = FileRecord(1, "d")
        records = {f"{folder}/maps/m.safetensors": record, f"{folder}/predictions/p/part.parquet": record}
        from lib.storage.records import as_json, records_in

        there = as_json(manifest.rpartition("/")[0], records)
        assert records_in(manifest.rpartition("/")[0], {"files": there}) == records


def test_nothing_is_changed_before_all_is_compared(tmp_path: Path) -> None:
    """The second differs, so that the first is not even begun."""
    product(tmp_path / "b", seed=1).finish(1)
    with pytest.raises(ManifestMismatch):
        begin_all({"a": product(tmp_path / "a", seed=2), "b": product(tmp_path / "b", seed=2)})
    assert not (tmp_path / "a").exists()


def test_what_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    files = Layout(str(tmp_path))
    write_features(tmp_path / "features" / "train" / "a")
    write_features(tmp_path / "features" / "val" / "a")
    tables = [FeatureTables.open(files.features(split)) for split in ("train", "val")]
    check_weights(files, ["a"], tables)  # an earlier version's classifier has no manifest
    Artifact(files.classifier_manifest("a"), (), {"weights": "w"}).finish(3)
    check_weights(files, ["a"], tables)
    with pytest.raises(TableError, match="no finished feature table"):
        check_weights(files, ["a", "b"], tables)
    Artifact(files.classifier_manifest("a"), (), {"weights": "other"}).finish(3)
    with pytest.raises(ManifestMismatch, match=r"network 'a'.*features/train.*weights w, .*a\.safetensors with other"):
        check_weights(files, ["a"], tables)
    digest = tables[1].digest("a")
    check_predictions(tables[1], [(("a", "a"), {"made_from": {"source": digest, "target": digest}})])
    for made_from in ({"source": digest, "target": "x"}, {"val": ["x", digest]}):
        with pytest.raises(ManifestMismatch, match=r"other features of 'a'.*jobs\.predict"):
            check_predictions(tables[1], [(("a", "a"), {"made_from": made_from})])


def test_the_error_survives_the_way_back_from_a_worker() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(DamagedFile("x.parquet", "it is cut")))
    assert isinstance(error, UserError)
    assert str(error).startswith("x.parquet is damaged: it is cut. ")
