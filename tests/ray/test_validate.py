"""jobs.validate: what a network's own top-1 and top-5 are, counted by hand from its scores."""

from pathlib import Path

import pytest
import timm
import torch
from PIL import Image
from project import EXPERIMENTS

from jobs.validate import main, validate
from lib.demo.pictures import draw_split
from lib.errors import ExperimentError
from lib.experiment.loading import load_network
from lib.experiment.settings import Images
from lib.networks.network import Network

RANDOM = ["weights=random", "options={num_classes=12}"]


@pytest.mark.slow
def test_counts_are_those_of_a_plain_loop(tmp_path: Path, local_ray: None) -> None:
    draw_split(str(tmp_path / "val"), 40, 64, 1)
    (tmp_path / "val" / "circle" / "broken.JPEG").write_bytes(b"no image")
    name, settings = load_network("test_resnet", RANDOM)
    location = str(tmp_path / "val")
    images = Images.model_validate({"train": location, "val": location, "max_rejected": 0.5})
    counts = validate(name, settings, images)

    network = Network(name, settings)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network.model), is_training=False)
    labels = sorted(folder.name for folder in (tmp_path / "val").iterdir())
    top1 = top5 = 0
    for path in sorted((tmp_path / "val").rglob("*.JPEG")):
        if path.name != "broken.JPEG":
            with Image.open(path) as image, torch.inference_mode():
                order = network.model(transform(image.convert("RGB"))[None])[0].argsort(descending=True).tolist()
            place = order.index(labels.index(path.parent.name))
            top1, top5 = top1 + (place == 0), top5 + (place < 5)
    assert dict(counts) == {"total": 40, "top1": top1, "topk": top5, "unlabelled": 0, "rejected": 1}
    assert 0 < top5 < 40


def test_networks_are_named_by_experiment_or_by_timm() -> None:
    name, network = load_network("paper:resnet", ["weights=s3://bucket/w.safetensors"], EXPERIMENTS)
    assert (name, network.model, network.class_offset) == ("resnet", "slim_resnet_v2_152", 1)
    assert network.weights == "s3://bucket/w.safetensors"
    assert network.preprocessing.transform == "slim"
    with pytest.raises(ExperimentError, match=r"paper has no network 'vgg': it has inception, resnet"):
        load_network("paper:vgg", [], EXPERIMENTS)
    with pytest.raises(
        ExperimentError,
        match=r"wheights: unknown key. Did you mean 'weights'\? Allowed: features, model, title, weights",
    ):
        load_network("test_resnet", ["wheights=random"])


def test_command_refuses_bad_arguments_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["paper:vgg", "somewhere"]) == 2
    assert "it has inception, resnet" in capsys.readouterr().err
    assert main(["test_resnet", "images.eval.v2"]) == 2
    assert "name NETWORK as EXPERIMENT:NAME" in capsys.readouterr().err
    assert main(["paper:resnet", "images.eval.v2"]) == 2
    assert "paper has no images.eval.v2: it has images.train, images.val" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["paper:resnet", "somewhere", "--limit", "0"])
