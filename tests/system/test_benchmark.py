"""The benchmark's command does what its rows say; how fast is not for tests to say."""

import json
import subprocess
import sys
import time
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from project import PROJECT

from jobs.benchmark import PARTS, WITH_IMAGES, benchmark, main, some_images, time_part
from jobs.benchmarks.bare_fit import time_bare_fit
from jobs.benchmarks.bare_start import SIDES, time_bare_start
from jobs.benchmarks.extraction import (
    HEAVY,
    Extraction,
    Photographs,
    Sizes,
    bare_loop,
    extract,
    follow,
    networks_of,
    start,
    steady,
    two_networks,
)
from lib.benchmarks.decoding import GEOMETRY, draw_photographs, pillows
from lib.benchmarks.tables import half_zero, write_made_up
from lib.errors import RunError
from lib.experiment.network_settings import NetworkSettings
from lib.experiment.settings import ExtractSettings
from lib.features.extraction import ExtractFeatures, in_full_batches
from lib.features.reading import read_features
from lib.features.tables import FeatureTables
from lib.images.batches import DecodeImages
from lib.images.decoding import decode


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jobs.benchmark", *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)


@pytest.mark.slow
def test_the_command_prints_a_table_and_writes_all_repeats(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    done = run("decode", "tables", "--limit", "2", "--repeats", "2", "--json", str(file))
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(file.read_text())
    assert found["images"] == "drawn"
    assert found["versions"]["torch"]
    rows = {row["part"]: row for row in found["rows"]}
    assert "0.00% of the numbers" in rows["decode + resize, timm"]["note"], "bit-equal"
    for row in found["rows"]:
        assert f"| {row['part']} |" in done.stdout
        rates = row["project"] + row["reference"]
        assert all(rate > 0 for rate in rates)
        assert row["ratio"] == pytest.approx(np.median(np.divide(row["project"], row["reference"])))
    sizes = [rows[f"feature table, {dtype}"] for dtype in ("float32", "float16")]
    assert [row["ratio"] > 1 for row in sizes] == [True, True], "no larger than the raw numbers: the same everywhere"


def test_every_part_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    timed = {
        "decode": "lib.benchmarks.decoding.time_decoding",
        "extract": "jobs.benchmarks.extraction.time_extraction",
        "tables": "lib.benchmarks.tables.time_tables",
        "fit": "lib.benchmarks.fitting.time_fits",
        "networks": "lib.benchmarks.networks.time_networks",
        "maps": "lib.benchmarks.closed_forms.time_closed_forms",
        "measures": "lib.benchmarks.measures.time_measures",
    }
    assert {*timed, "peers"} == set(PARTS)
    monkeypatch.setattr("jobs.benchmarks.peers.time_peers", lambda *given: [given])
    assert benchmark(["peers"], [], 2, [200], True) == [([200], 2, True)]
    for part, function in timed.items():
        module, _, name = function.rpartition(".")
        images = [[b"image"]] if part in WITH_IMAGES else []
        signature(getattr(import_module(module), name)).bind(*images, 1)
        monkeypatch.setattr(function, lambda *given, part=part: [part, *given])
        assert time_part(part, [b"image"], 1) == [part, *images, 1]


def test_the_bare_program_has_the_extractions_networks() -> None:
    assert SIDES.keys() == set(HEAVY.values())


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_the_bare_program_says_when_its_first_batch_is_done(
    photographs: Photographs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.init", lambda: None)  # it runs in the session's Ray
    time_bare_start(photographs.written(20), str(tmp_path / "done"))
    assert (tmp_path / "done").is_file()


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_the_bare_fit_takes_seconds_until_its_workers_have_torch() -> None:
    assert 1 < time_bare_fit() < 200


def test_unknown_parts_and_missing_images_are_refused(tmp_path: Path) -> None:
    assert run("speed").returncode == 2
    with pytest.raises(SystemExit):
        main(["decode", "--repeats", "0"])
    assert main(["decode", "--images", str(tmp_path / "none.csv")]) != 0


def test_given_images_are_the_ones_that_are_timed(tmp_path: Path) -> None:
    for name, grey in (("a", 10), ("b", 20)):
        Image.new("RGB", (30, 20), (grey, grey, grey)).save(tmp_path / f"{name}.png")
    (tmp_path / "list.csv").write_text("path,label\na.png,0\nb.png,0\n")
    found = some_images(str(tmp_path / "list.csv"), 5)
    assert found == [(tmp_path / f"{name}.png").read_bytes() for name in "ab"]
    assert len(some_images(str(tmp_path / "list.csv"), 1)) == 1


def test_drawn_images_are_of_a_photographs_size_and_pillow_alone_makes_the_same_pixels() -> None:
    images = draw_photographs(3)
    assert len(set(images)) == 3
    for data in images:
        image = decode(data, 10**6)
        assert image.size == (500, 375)
        np.testing.assert_array_equal(pillows(data), GEOMETRY.pixels(image))


def test_the_reference_reads_what_the_project_reads(tmp_path: Path) -> None:
    vectors = half_zero(2500, 6, "float16")
    assert 0.4 < np.mean(vectors == 0) < 0.6
    write_made_up(str(tmp_path), vectors)
    assert len(list(tmp_path.rglob("*.parquet"))) == 3
    found = read_features(FeatureTables.open(str(tmp_path)), ["made"], "float16")
    assert found.label.tolist() == list(range(2500))
    np.testing.assert_array_equal(found.vectors["made"], vectors)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Photographs:
    return Photographs(tmp_path_factory.mktemp("photographs"), draw_photographs(3), 130)


def test_photographs_are_repeated_under_names_of_their_own(photographs: Photographs) -> None:
    listing = photographs.listed(40)
    assert len(set(listing["image_id"].to_pylist())) == 40
    data = [Path(path).read_bytes() for path in listing["path"].to_pylist()]
    assert data == [data[k % 3] for k in range(40)]


def test_the_bare_loop_computes_what_the_extraction_computes(
    photographs: Photographs, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks = networks_of({"a": "test_resnet", "b": "test_efficientnet"})
    listing = photographs.listed(20)
    monkeypatch.setattr("jobs.benchmarks.extraction.compute_on_cpu", lambda threads: None)  # it would last
    seen: list[np.ndarray] = []
    whole = in_full_batches

    def noted(*given: Any) -> list[np.ndarray]:
        seen.append(np.concatenate([*whole(*given)]))
        return seen[-1:]

    monkeypatch.setattr("jobs.benchmarks.extraction.in_full_batches", noted)
    assert bare_loop(listing, networks, 8) > 0
    geometries = list(dict.fromkeys(network.geometry for network in networks.values()))
    settings = {name: NetworkSettings(model=f"test_{model}", weights="random")
                for name, model in (("a", "resnet"), ("b", "efficientnet"))}  # fmt: skip
    extract = ExtractFeatures(settings, ExtractSettings(batch_size=8, threads=1), "cpu")
    table = extract(DecodeImages(geometries, 10**6)(listing))
    for k, name in enumerate(networks):
        expected = np.stack(table[name].to_pylist())
        np.testing.assert_allclose(np.concatenate(seen[k::2]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_pass_with_two_networks_is_timed_beside_two(
    photographs: Photographs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.benchmarks.extraction.LIGHT", {"one": "test_resnet", "two": "test_efficientnet"})
    row = two_networks(photographs, 1, 130)
    assert row.goal == pytest.approx(4 / 3)
    assert 0 < row.project[0] < float("inf")
    assert 0 < row.reference[0] < float("inf")


SAYS = """
import pathlib, time
time.sleep(0.2); print("Started a local Ray instance")
time.sleep(0.2); print("[extract] train: 3 images to do")
folder = pathlib.Path({folder!r}) / "features/train/a"
folder.mkdir(parents=True)
time.sleep(0.2); (folder / "computed.json").write_text("")
time.sleep(0.2); (folder / "1.parquet").write_text("")
time.sleep(0.4)
"""


def test_a_runs_steps_are_told_from_what_it_says_and_writes(tmp_path: Path) -> None:
    begin = time.monotonic()
    found = follow([sys.executable, "-c", SAYS.format(folder=str(tmp_path))], tmp_path)
    whole = time.monotonic() - begin
    steps = np.diff([0, found.ray, found.listed, found.first, found.last, whole])
    assert (steps > [0.19, 0.1, 0.1, 0.1, 0.3]).all(), steps
    row = start([found, found])
    assert row.ratio == pytest.approx(12 / found.first)
    with pytest.raises(RunError, match="exit code 3"):
        follow([sys.executable, "-c", "raise SystemExit(3)"], tmp_path)


@pytest.mark.slow
def test_the_timed_command_extracts_the_images(photographs: Photographs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.benchmarks.extraction.HEAVY", {"one": "test_resnet", "two": "test_efficientnet"})
    found = extract(photographs, 10)
    assert 0 < found.ray < found.listed < found.first <= found.last


def test_steady_state_is_the_difference_of_two_runs(photographs: Photographs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts of 9 and 11 s and 2 images/s: neither a start nor its noise shows in the rate."""
    monkeypatch.setattr("jobs.benchmarks.extraction.HEAVY", {"one": "test_resnet", "two": "test_efficientnet"})
    monkeypatch.setattr("jobs.benchmarks.extraction.compute_on_cpu", lambda threads: None)  # it would last
    firsts = {10: 9, 40: 11}
    monkeypatch.setattr(
        "jobs.benchmarks.extraction.extract",
        lambda _, number: Extraction(3, 5, firsts[number], firsts[number] + number / 2),
    )
    monkeypatch.setattr("jobs.benchmarks.extraction.least_start", lambda listing: 8.0)
    sizes = Sizes(short=10, long=40)
    whole, start, beside = steady(photographs, 2, sizes)
    assert whole.project == pytest.approx((2, 2))
    assert start.ratio == pytest.approx((12 / 9 + 12 / 11) / 2)
    assert beside.ratio == pytest.approx(8 / 10)
