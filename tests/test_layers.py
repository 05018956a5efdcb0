"""Who may import whom: lib never imports Ray, inside lib only modules above; jobs meet in files alone."""

import ast
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from lib import experiment
from lib.images import DecodeImages
from lib.networks import Network

ROOT = Path(__file__).parent.parent
ORDER = [
    "timing", "memory", "devices", "s3", "storage", "overrides", "experiment", "variants", "listing", "resizing",
    "images", "pictures", "timed_decoding", "small", "wire", "sstables", "checkpoints", "slim", "slim_variables",
    "classifiers", "networks", "descriptions", "tables", "chunks", "examples", "features", "timed_tables",
    "timed_networks", "maps", "moments", "closed_forms", "rows", "fitting", "timed_fitting", "predictions", "losses",
    "classes", "agreement", "measures", "similarity", "regions", "results", "figures", "cells", "chance", "charts",
    "style", "page", "sections", "directions", "report", "comparison",
]  # fmt: skip
SHARED_BY_JOBS = {
    "capacity", "command", "features", "parts", "sink", "streaming", "sums", "tally", "timed_extract", "training",
}  # fmt: skip


def imported(path: Path) -> set[str]:
    """Dotted names that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", sorted((ROOT / "lib").glob("*.py")), ids=lambda path: path.stem)
def test_lib_imports_no_ray_and_only_modules_above(path: Path) -> None:
    names = imported(path)
    assert not [name for name in names if name.split(".")[0] in ("ray", "jobs")]
    if path.stem == "__init__":
        return
    assert path.stem in ORDER, f"put {path.stem} into ORDER, below all that it imports"
    above = ORDER[: ORDER.index(path.stem)]
    below = {name.split(".")[1] for name in names if name.startswith("lib.")} - set(above)
    assert not below, f"{path.stem} imports {below}, which stand below it"


@pytest.mark.parametrize("path", sorted((ROOT / "jobs").glob("*.py")), ids=lambda path: path.stem)
def test_jobs_do_not_import_each_other(path: Path) -> None:
    others = {name.split(".")[1] for name in imported(path) if name.startswith("jobs.")}
    if path.stem != "pipeline":
        assert others <= SHARED_BY_JOBS


def test_lib_has_an_init_and_tests_have_no_lib() -> None:
    assert (ROOT / "lib" / "__init__.py").exists()
    assert not (ROOT / "tests" / "lib").exists()


def test_processes_that_compute_nothing_do_not_begin_with_torch() -> None:
    """The driver, the tally, and all that decode and write: torch and timm would cost each four seconds of a core."""
    light = "jobs.pipeline, jobs.extract, jobs.prepare, jobs.tally, jobs.sink, lib.images"
    program = f"import sys, {light}; sys.exit('torch' in sys.modules or 'timm' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_a_batch_is_decoded_without_torch(tmp_path: Path) -> None:
    """Of a network's geometry, as it comes from the process that loaded the network; one image is far higher than wide:
    Pillow turns the order of rows and columns.
    """
    Image.new("RGB", (60, 40)).save(tmp_path / "a.png")
    Image.new("RGB", (320, 900)).save(tmp_path / "b.png")
    network = Network("a", experiment.Network(model="test_resnet", weights="random"))
    (tmp_path / "decode").write_bytes(pickle.dumps(DecodeImages([network.geometry], 10**6)))
    (tmp_path / "list.csv").write_text("path,label\na.png,0\nb.png,0\n")
    program = f"""
import pickle, sys
from lib.experiment import Split
from lib.listing import list_images
decode = pickle.load(open({str(tmp_path / "decode")!r}, "rb"))
batch = decode(list_images(Split(location={str(tmp_path / "list.csv")!r})))
assert batch["reason"].tolist() == ["", ""]
sys.exit("torch" in sys.modules or "timm" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
