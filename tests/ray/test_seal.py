"""A finished run is known by its seal, without Ray and torch, as long as nothing that it could depend on changed."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import pytest
from made_up import findings
from project import PROJECT
from runs import command, path_of

from jobs.cluster.runs import Run
from jobs.listing.splits import list_splits
from jobs.planning import finished
from jobs.planning.finished import inputs, is_finished, write_seal
from lib.experiment.loading import load_experiment
from lib.storage.files import write_json

NOTHING_HEAVY = """
import sys
from jobs.cluster.commands import main
from jobs.pipeline import answer, pipeline
try:
    main(pipeline, None, sys.argv[1:], reads_images=True, answer=answer)
finally:
    import ray
    print("heavy:", sorted({"torch", "timm", "matplotlib", "ray.train"} & set(sys.modules)), ray.is_initialized())
"""


@pytest.fixture(scope="module")
def listed(experiment: Path, tmp_path_factory: pytest.TempPathFactory, local_ray: None) -> Path:
    """An experiment whose pictures can be changed, with listings, results and weights in files."""
    folder = tmp_path_factory.mktemp("sealed")
    copytree(experiment.parent, folder / "given", dirs_exist_ok=True)
    text = experiment.read_text().replace(str(experiment.parent), str(folder / "given"))
    (folder / "given" / "a.safetensors").write_bytes(b"weights")
    (folder / "given" / "names.txt").write_text("\n".join(sorted(os.listdir(folder / "given" / "train"))))
    (folder / "given" / "tiny.toml").write_text(
        text.replace('weights = "random"', f'weights = "{folder}/given/a.safetensors"', 1)
    )
    run = made(folder)
    list_splits(run)
    write_json(run.files.results, findings({"a": 0.7, "b": 0.8}).results)
    return folder


@pytest.fixture
def run(listed: Path, tmp_path: Path) -> Run:
    """A sealed run, of a copy that has the original's times."""
    for name in ("given", "runs"):
        copytree(listed / name, tmp_path / name)
    sealed = again(tmp_path)
    list_splits(sealed)  # of the pictures in the copy
    write_seal(sealed, inputs(sealed))
    assert is_finished(again(tmp_path))
    return sealed


def again(folder: Path, *overrides: str) -> Run:
    """The same command once more."""
    file = folder / "given" / "tiny.toml"
    source = file.read_text()
    for part in [line.split('"')[1] for line in source.splitlines() if "/given/" in line]:
        source = source.replace(part, str(folder / "given" / part.split("/given/")[1]))
    file.write_text(source)
    return made(folder, *overrides)


def made(folder: Path, *overrides: str) -> Run:
    """As a command makes it, but that nothing describes the networks."""
    named = f'images.classes="{folder}/given/names.txt"'
    return Run(load_experiment(str(folder / "given" / "tiny.toml"), [named, *overrides]), str(folder / "runs"))


def rewrite(path: Path) -> None:
    """Write a file anew with the bytes that it has."""
    path.write_bytes(path.read_bytes())
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 10**9))


CHANGES: dict[str, Callable[[Path], object]] = {
    "a picture": lambda folder: rewrite(next((folder / "given" / "val").rglob("*.JPEG"))),
    "a picture more": lambda folder: (lambda one: one.with_name("new.JPEG").write_bytes(one.read_bytes()))(
        next((folder / "given" / "train").rglob("*.JPEG"))
    ),
    "weights": lambda folder: rewrite(folder / "given" / "a.safetensors"),
    "no weights": lambda folder: (folder / "given" / "a.safetensors").unlink(),
    "class names": lambda folder: rewrite(folder / "given" / "names.txt"),
    "results": lambda folder: rewrite(folder / "runs" / "tiny" / "results.json"),
    "a listing's part": lambda folder: (folder / "runs" / "tiny" / "images" / "val" / "part-000000.parquet").unlink(),
    "a file more": lambda folder: (folder / "runs" / "tiny" / "note.txt").write_text("mine"),
    "a damaged seal": lambda folder: (folder / "runs" / "tiny" / "finished.manifest.json").write_text("{}"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_breaks_the_seal(run: Run, tmp_path: Path, change: str) -> None:
    CHANGES[change](tmp_path)
    assert not is_finished(again(tmp_path))


@pytest.mark.parametrize("override", ["seed=5", "limit=40", "fit.iterations=7", 'images.val="nowhere"'])
def test_other_settings_break_the_seal(run: Run, tmp_path: Path, override: str) -> None:
    assert not is_finished(again(tmp_path, override))


def test_another_program_breaks_the_seal_and_repair_looks_for_itself(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_finished(dataclasses.replace(again(tmp_path), repair=True))
    monkeypatch.setattr(finished, "program_digest", lambda: "another")
    assert not is_finished(again(tmp_path))


def test_what_cannot_be_known_is_not_sealed(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs that changed while the run was at work, a folder among the settings, more images than are looked at."""
    before = inputs(run)
    rewrite(tmp_path / "given" / "a.safetensors")
    write_seal(run, before)
    assert not is_finished(again(tmp_path))
    os.remove(tmp_path / "given" / "a.safetensors")
    os.mkdir(tmp_path / "given" / "a.safetensors")
    assert inputs(run) is None


def test_many_images_are_left_to_the_tasks(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.listing.unchanged.MOST", 50)
    assert not is_finished(again(tmp_path))


def test_the_command_answers_without_ray(run: Run, tmp_path: Path) -> None:
    line = command(tmp_path / "given" / "tiny.toml", tmp_path / "runs", f'images.classes="{tmp_path}/given/names.txt"')[
        3:
    ]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    said = subprocess.run(
        [sys.executable, "-c", NOTHING_HEAVY, *line], cwd=PROJECT, env=environment, capture_output=True, text=True
    )
    assert said.returncode == 0, said.stderr
    assert "features → classifier" in said.stdout
    assert f"Nothing to do: all of {path_of(run)} is finished." in said.stdout
    assert said.stdout.splitlines()[-1] == "heavy: [] False"
    assert is_finished(again(tmp_path)), "which the command has not broken"
