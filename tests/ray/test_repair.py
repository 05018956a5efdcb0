"""Damaged files in a finished run: each stage names what it cannot use, and --repair makes just that anew."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from runs import path_of, run_of

from jobs.cluster.commands import exit_code
from jobs.cluster.runs import Run, Stage
from lib.errors import DamagedFile
from lib.storage.files import read_json

pytestmark = pytest.mark.slow

SETTINGS = ('fit.families=["least_squares"]', "fit.ranks=[4]", "fit.learning_curve=false")


def stages() -> dict[str, Stage]:
    from jobs.evaluate import evaluate
    from jobs.extract import extract
    from jobs.fit import fit
    from jobs.predict import predict
    from jobs.report import report

    return {"extract": extract, "fit": fit, "predict": predict, "evaluate": evaluate, "report": report}


@pytest.fixture(scope="module")
def finished(experiment: Path, tmp_path_factory: pytest.TempPathFactory, local_ray: None) -> Path:
    """A root with a finished run."""
    root = tmp_path_factory.mktemp("finished")
    for stage in stages().values():
        stage(run_of(experiment, root, *SETTINGS))
    return root


@pytest.fixture
def root(finished: Path, tmp_path: Path) -> Iterator[Path]:
    """The same root, since manifests know where things lie; afterwards it is as it was."""
    kept = shutil.copytree(finished, tmp_path / "kept")
    yield finished
    shutil.rmtree(finished)
    shutil.copytree(kept, finished)


def repairing(run: Run) -> Run:
    return Run(run.written, run.root, repair=True, begun=run.begun)


def contents(folder: Path) -> dict[str, bytes]:
    """All files but manifests and tallies, which say how often images were computed."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("manifest.json", "computed.json")
    }


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 16
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("pattern", "maker", "reader", "damage"),
    [
        ("features/train/a+b/*-00000003.parquet", "extract", "fit", flip),
        ("features/val/a+b/*-00000006.parquet", "extract", "predict", Path.unlink),
        ("classifiers/a.safetensors", "extract", "predict", flip),
        ("maps/a-to-b.least_squares.safetensors", "fit", "predict", flip),
        ("predictions/a-to-b/part-000000.parquet", "predict", "evaluate", flip),
        ("results.json", "evaluate", "report", flip),
        ("maps.parquet", "evaluate", "report", Path.unlink),
    ],
)
def test_damage_is_named_and_repaired_and_the_rest_is_kept(
    experiment: Path, root: Path, pattern: str, maker: str, reader: str, damage: Callable[[Path], None]
) -> None:
    run, folder = run_of(experiment, root, *SETTINGS), root / "tiny"
    before = contents(folder)
    (file,) = folder.glob(pattern)
    damage(file)
    made = {"fit": "maps", "predict": "predictions", "evaluate": "results.manifest.json", "report": "report.*"}
    aside = folder / "aside"
    aside.mkdir()
    for path in folder.glob(made[reader]):  # so that there is something to make from it
        shutil.move(path, aside / path.name)
    with pytest.raises(Exception) as error:  # noqa: PT011 - Ray wraps it
        stages()[reader](run)
    assert file.name in str(error.value)
    assert "is damaged: " in str(error.value)
    assert "--repair" in str(error.value)
    for path in aside.iterdir():
        left = folder / path.name
        shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
        shutil.move(path, left)
    aside.rmdir()
    for path in folder.rglob("*started.json"):
        path.unlink()

    for name, stage in stages().items():
        assert stage(repairing(run)) == (1 if name == maker else 0), name
    assert contents(folder) == before
    assert [stage(run) for stage in stages().values()] == [0] * 5


def test_a_damaged_part_alone_is_made_anew(experiment: Path, root: Path) -> None:
    run = run_of(experiment, root, *SETTINGS)
    folder = Path(path_of(run, "features", "train", "a+b"))
    first, second, *_ = sorted(folder.glob("*.parquet"))
    flip(first)
    times = second.stat().st_mtime_ns
    assert stages()["extract"](repairing(run)) == 1
    assert second.stat().st_mtime_ns == times
    assert read_json(str(folder / "manifest.json"))["recomputed"] <= 16


def test_the_command_ends_with_one_line_about_a_damaged_part(
    experiment: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also out of a task, whose traceback nobody needs."""
    run = run_of(experiment, root, *SETTINGS, "fit.ranks=[2]")
    (file,) = (root / "tiny").glob("features/train/a+b/*-00000001.parquet")
    right = file.read_bytes()
    flip(file)
    assert exit_code(lambda: stages()["fit"](run)) == 1
    file.write_bytes(right)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"error: {file} is damaged: ")
    assert "same command again" not in last


def test_a_refused_run_changes_nothing(experiment: Path, root: Path) -> None:
    """Other weights under the same name and root: the classifiers, too, stay those of the first run."""
    folder = root / "tiny"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    other = run_of(experiment, root, *SETTINGS, "networks.a.class_offset=1", "networks.b.class_offset=1",
                   "networks.a.options={num_classes=13}", "networks.b.options={num_classes=13}")  # fmt: skip
    assert exit_code(lambda: stages()["extract"](other)) == 1
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_classifier_of_other_weights_is_not_used(experiment: Path, root: Path, tmp_path: Path) -> None:
    from lib.storage.manifests import Artifact

    copy = Path(shutil.copytree(root, tmp_path / "root"))
    run = run_of(experiment, copy, *SETTINGS)
    Artifact(run.files.classifier_manifest("a"), (), {"weights": "others"}).finish(12)
    for name in ("fit", "predict", "evaluate"):
        with pytest.raises(Exception, match=r"network 'a'.*weights.*jobs\.extract") as error:
            stages()[name](run)
        assert not isinstance(error.value, DamagedFile)
