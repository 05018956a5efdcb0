"""What a command refuses before any work, by its URI and with exit code 2; credentials that it doesn't repeat."""

import os
import re
import subprocess
import time
from pathlib import Path

import pytest
import ray

import jobs.cluster.commands
import jobs.report
from lib.errors import ExperimentError, ListingError
from lib.experiment.loading import load_experiment, load_network
from lib.experiment.settings import Split
from lib.images.listing import list_images

pytest.importorskip("moto.server")
from project import PROJECT
from runs import command
from store import DENIED, KEY, Answer, Store


def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """What a stage's command says when it exits with 2 without starting Ray."""

    def never(*arguments: object) -> int:
        raise AssertionError("work has begun")

    monkeypatch.setattr("jobs.cluster.commands.start_ray", never)
    with pytest.raises(SystemExit) as ended:
        jobs.cluster.commands.main(never, "", list(arguments), reads_images=True)
    output = capsys.readouterr()
    assert ended.value.code == 2, output.err
    return output.err + output.out


@pytest.mark.parametrize(
    ("overrides", "denied", "said"),
    [
        (["root=s3://nobucket/runs"], "", r"cannot write under s3://nobucket/runs/tiny: .*bucket does not exist"),
        (["root=s3://bucket/runs"], "runs", r"cannot write under s3://bucket/runs/tiny: .*ACCESS_DENIED"),
        (["images.train=s3://nobucket/t"], "", r"images\.train: s3://nobucket/t is not.*there is no bucket 'nobucket'"),
        (["images.val=s3://bucket/none"], "", r"images\.val: s3://bucket/none is not there"),
        (["images.val=/none"], "", r"images\.val: /none is not there"),
        (["images.val=s3://bucket/tree"], "list-type", r"images\.val: cannot read s3://bucket/tree: .*ACCESS_DENIED"),
        (["images.val=s3://bucket/tree"], r"\.jpg", r"images\.val: cannot read s3://bucket/tree: .*ACCESS_DENIED"),
        (["images.classes=s3://bucket/names"], "", r"images\.classes: s3://bucket/names is not there"),
        (["networks.a.weights=s3://nobucket/w.pth"], "", r"networks\.a\.weights: s3://nobucket/w\.pth.*no bucket"),
        (["networks.a.weights=s3://bucket/w.pth"], r"w\.pth", r"cannot read s3://bucket/w\.pth: .*ACCESS_DENIED"),
    ],
)  # fmt: skip
def test_what_is_missing_or_denied_is_refused_by_its_uri(
    store: Store, experiment: Path, tmp_path: Path, overrides: list[str], denied: str, said: str,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def rule(method: str, path: str) -> Answer | None:
        return DENIED if denied and re.search(denied, path) else None

    store.put("tree/n0/a.jpg", b"jpeg")
    store.put("w.pth", b"weights")
    store.rule = rule
    root = next((one.removeprefix("root=") for one in overrides if one.startswith("root=")), str(tmp_path))
    sets = [part for one in overrides if not one.startswith("root=") for part in ("--set", one)]
    assert re.search(said, refused(capsys, monkeypatch, str(experiment), "--root", root, *sets))


def test_an_endpoint_that_is_not_there_is_refused_soon(
    store: Store, experiment: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    said = refused(capsys, monkeypatch, str(experiment), "--root", "s3://bucket/runs")
    assert re.search(r"cannot write under s3://bucket/runs/tiny: .*127\.0\.0\.1:9", said)


def test_a_google_bucket_without_credentials_is_refused_soon(
    experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By itself pyarrow asks for a quarter of an hour for credentials that are not there."""
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))  # gcloud's own
    monkeypatch.setenv("GCE_METADATA_ROOT", "127.0.0.1:9")  # a Google machine's role
    begin = time.monotonic()
    said = refused(capsys, monkeypatch, str(experiment), "--root", "gs://bucket/runs")
    assert re.search(r"cannot write under gs://bucket/runs/tiny: .*authenticate", said)
    assert time.monotonic() - begin < 30


def test_a_hub_that_is_not_there_is_refused_soon(experiment: Path, tmp_path: Path) -> None:
    """In a process of its own, since huggingface_hub reads its endpoint when it is imported."""
    sets = ("images.train=hf://datasets/somebody/images/data/train-*.parquet",)
    done = subprocess.run(
        command(experiment, tmp_path, *sets),
        cwd=PROJECT, capture_output=True, text=True, timeout=120,
        env=os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_DISABLE_TELEMETRY": "1"},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert re.search(r"^error: images\.train: cannot read hf://datasets/somebody/images/data: .*\n$", done.stderr, re.M)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "uri",
    [
        f"s3://{KEY}:tOpSecret@bucket/x",
        f"s3://{KEY}:tOp/Secret@bucket/x",
        "s3://bucket/x?access_key=a&secret_key=tOpSecret",
        "https://bucket.s3.amazonaws.com/x?X-Amz-Signature=tOpSecret",
        "gs://user:tOpSecret@bucket/x",
    ],
)
def test_credentials_in_uris_are_refused_and_not_repeated(
    experiment: Path, uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(experiment)
    table = f'networks.c={{model="x", weights="{uri}"}}'
    for override in (f"images.train={uri}", f"images.val.base={uri}", f"networks.a.weights={uri}", table):
        said = refused(capsys, monkeypatch, path, "--root", str(tmp_path), "--set", override)
        assert override.partition("=")[0] in said
        assert "environment" in said
        assert not re.search(r"tOp|Secret|AKIA", said)
    for arguments in ([path, "--root", uri], [path, "--set", f"name.x={uri}"], [uri]):
        said = refused(capsys, monkeypatch, *arguments)
        assert "environment" in said
        assert not re.search(r"tOp|Secret|AKIA", said)
    assert jobs.report.main([uri]) == 2
    assert not re.search(r"tOp|Secret|AKIA", capsys.readouterr().err)
    with pytest.raises(ExperimentError, match="credentials"):
        load_network("test_resnet", [f"weights={uri}"])
    (tmp_path / "list.csv").write_text(f"path,label\n{uri},1\n")
    with pytest.raises(ListingError, match="credentials") as refusal:
        list_images(Split(location=str(tmp_path / "list.csv")))
    assert not re.search(r"tOp|Secret|AKIA", str(refusal.value))


def test_options_in_uris_are_refused(experiment: Path) -> None:
    with pytest.raises(ExperimentError, match=r"images\.val=s3://b/x\?\.\.\.: leave options out.*AWS_ENDPOINT_URL"):
        load_experiment(str(experiment), ["images.val=s3://b/x?endpoint_override=host"])


def test_a_ray_that_ran_before_a_command_goes_on_after_it(experiment: Path, tmp_path: Path, local_ray: None) -> None:
    with pytest.raises(SystemExit) as ended:
        jobs.cluster.commands.main(lambda run: 1, "", [str(experiment), "--root", str(tmp_path)])
    assert ended.value.code == 0
    assert ray.is_initialized()
