"""What a run would do is said without doing any of it, and how long it might take, from rates that were measured."""

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from project import EXPERIMENTS, PROJECT

import jobs.cluster.commands
from jobs.cluster.runs import Run
from jobs.planning.counting import Count, count_images
from jobs.planning.dry_run import Plan, dry_run
from lib.benchmarks.estimates import extraction_seconds, fit_seconds
from lib.errors import NetworkError
from lib.experiment.loading import load_experiment
from lib.experiment.network_settings import NetworkSettings
from lib.experiment.settings import FitSettings
from lib.experiment.splits import Split
from lib.networks.costs import network_cost


def test_a_fresh_run_is_listed_and_nothing_is_written(
    experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*arguments: object) -> int:
        raise AssertionError("work has begun")

    monkeypatch.setattr("jobs.cluster.commands.start_ray", never)
    monkeypatch.setattr("jobs.cluster.commands.check_writable", never)
    root = tmp_path / "runs"
    arguments = [str(experiment), "--root", str(root), "--dry-run", "--limit", "40"]
    with pytest.raises(SystemExit) as ended:
        jobs.cluster.commands.main(never, "", arguments, reads_images=True, dry_run=dry_run)
    assert ended.value.code == 0
    assert not root.exists()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"A run would do this in {root}/tiny; nothing is done now:"
    assert lines[1:3] == [
        "  extract  train: 40 of 40 images, a table with features of a, b",
        "  extract  val: 40 of 40 images, a table with features of a, b",
    ]
    assert lines[3].startswith(
        "  fit      2 maps by Adam, 60 iterations of 32 rows each; 6 maps in closed form; curves"
    )
    assert "  predict  4 tables" in lines
    assert any(line.startswith("An estimate from the rates in lib/benchmarks/README.md") for line in lines)
    assert max(map(len, lines[1:])) <= 100


def test_a_bad_experiment_is_still_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "jobs.pipeline", "lite", "--dry-run", "--root", str(tmp_path)]
    done = subprocess.run([*command, "--set", "images.train=/none"], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "images.train: /none is not there" in done.stderr


def test_the_demo_draws_and_trains_first(tmp_path: Path) -> None:
    plan = Plan(Run(load_experiment("demo", ["demo.val_pictures=50"], EXPERIMENTS), str(tmp_path)))
    assert list(plan.lines())[:5] == [
        ("prepare", "draw 6,000 pictures of train"),
        ("prepare", "draw 50 pictures of val"),
        ("prepare", "train inception, resnet"),
        ("extract", "train: 6,000 of 6,000 images, a table with features of inception, resnet"),
        ("extract", "val: 50 of 50 images, a table with features of inception, resnet"),
    ]


def test_a_networks_cost_is_counted_without_its_weights() -> None:
    settings = NetworkSettings(model="resnet50", weights="/none.safetensors")
    cost = network_cost("a", settings)
    assert cost.feature_size == 2048
    assert cost.multiply_adds == pytest.approx(4.09e9, rel=0.01)
    larger = settings.model_copy(
        update={"preprocessing": settings.preprocessing.model_copy(update={"input_size": 448})}
    )
    assert network_cost("a", larger).multiply_adds == pytest.approx(4 * cost.multiply_adds, rel=0.01)
    with pytest.raises(NetworkError, match="no model 'resnet5000'"):
        network_cost("a", NetworkSettings(model="resnet5000"))


def test_estimates_are_near_what_the_benchmark_measured() -> None:
    """lib/benchmarks/README.md: 32.8 images/s of lite0 and lite2, 93.3 and 1,791 iterations/s, all on 2 cores."""
    lites = sum(
        network_cost(name, NetworkSettings(model=f"tf_efficientnet_{name}")).multiply_adds
        for name in ("lite0", "lite2")
    )
    assert 1000 / extraction_seconds(1000, lites, 2) == pytest.approx(32.8, rel=0.2)
    middling = FitSettings(iterations=1000, batch_size=256, cpus=2)
    assert 1000 / fit_seconds(middling, [(1280, 1280)], 2) == pytest.approx(93.3, rel=0.2)
    small = FitSettings(iterations=1000, batch_size=2048, cpus=2)
    assert 1000 / fit_seconds(small, [(64, 48)], 2) == pytest.approx(1791, rel=0.3)
    assert fit_seconds(small, [], 2) == 0


def test_of_many_shards_some_are_looked_at_and_the_number_is_said_to_be_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for shard in range(6):
        with tarfile.open(tmp_path / f"{shard}.tar", "w") as archive:
            for image in range(10 if shard else 4):
                archive.addfile(tarfile.TarInfo(f"{shard}-{image}.jpg"))
    split = Split(location=str(tmp_path))
    assert str(count_images(split)) == "about 42"
    assert count_images(split, limit=4) == Count(4), "the first shard has as many"
    assert str(count_images(split, limit=30)) == "about 30"
    monkeypatch.setattr("jobs.planning.counting.FILES", 3)
    assert str(count_images(split)) == "54", "twice as many sources are all looked at"
