"""Who may import whom: lib never imports Ray, inside lib only modules above; jobs meet in files alone."""

import ast
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from project import PROJECT

from lib.experiment.network_settings import NetworkSettings
from lib.images.batches import DecodeImages
from lib.networks.network import Network

FOLDERS = [  # of lib: each imports only those before it
    "errors", "storage", "experiment", "images", "slim", "demo", "networks", "features", "maps", "evaluation", "report",
    "benchmarks",
]  # fmt: skip
LIB, JOBS = sorted((PROJECT / "lib").rglob("*.py")), sorted((PROJECT / "jobs").rglob("*.py"))
COMMANDS = {path.stem for path in (PROJECT / "jobs").glob("*.py")}


def dotted(path: Path) -> str:
    """A file's module name."""
    return ".".join(path.relative_to(PROJECT).with_suffix("").parts)


def imported(path: Path) -> set[str]:
    """Dotted names that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", LIB, ids=dotted)
def test_lib_imports_no_ray_and_only_folders_above(path: Path) -> None:
    names = imported(path)
    assert not [name for name in names if name.split(".")[0] in ("ray", "jobs")]
    if path == PROJECT / "lib" / "__init__.py":
        return
    folder = dotted(path).split(".")[1]
    assert folder in FOLDERS, f"put {folder} into FOLDERS, below all that it imports"
    below = {name.split(".")[1] for name in names if name.startswith("lib.")} - set(
        FOLDERS[: FOLDERS.index(folder) + 1]
    )
    assert not below, f"{dotted(path)} imports {below}, which stand below it"


def test_nothing_imports_in_a_circle() -> None:
    """Not even inside one folder: modules without an import among those that are left are taken away, until none is."""
    files = {dotted(path): imported(path) for path in LIB + JOBS if path.stem != "__init__"}
    left = {
        module: {other for other in files if any(name == other or name.startswith(f"{other}.") for name in names)}
        for module, names in files.items()
    }
    while free := [module for module, others in left.items() if not others & left.keys()]:
        for module in free:
            del left[module]
    assert not left, f"in a circle, or import one: {sorted(left)}"


@pytest.mark.parametrize("path", JOBS, ids=dotted)
def test_commands_are_imported_by_the_pipeline_alone(path: Path) -> None:
    if path.stem != "pipeline":
        assert not COMMANDS - {"__init__"} & {name.split(".")[1] for name in imported(path) if name.startswith("jobs.")}


@pytest.mark.parametrize("path", [path for path in LIB + JOBS if path.stem == "__init__"], ids=dotted)
def test_an_init_is_a_docstring_alone(path: Path) -> None:
    """Re-exports would bring torch into processes that only move bytes."""
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    assert len(tree.body) == 1


def test_lib_has_an_init_and_tests_have_no_lib() -> None:
    assert (PROJECT / "lib" / "__init__.py").exists()
    assert not (PROJECT / "tests" / "lib").exists()


def test_processes_that_compute_nothing_do_not_begin_with_torch() -> None:
    """The driver, the tally, and all that decode and write: torch and timm would cost each four seconds of a core."""
    light = (
        "jobs.pipeline, jobs.extract, jobs.prepare, jobs.probe, jobs.fit, jobs.fitting.launching, jobs.predict, "
        "jobs.evaluate, jobs.track, jobs.report, jobs.extraction.tally, jobs.extraction.sink, lib.images.batches"
    )
    program = f"import sys, {light}; sys.exit(bool({{'torch', 'timm', 'matplotlib'}} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=True)


def test_a_batch_is_decoded_without_torch(tmp_path: Path) -> None:
    """Of a network's geometry, as it comes from the process that loaded the network; one image is far higher than wide:
    Pillow turns the order of rows and columns.
    """
    Image.new("RGB", (60, 40)).save(tmp_path / "a.png")
    Image.new("RGB", (320, 900)).save(tmp_path / "b.png")
    network = Network("a", NetworkSettings(model="test_resnet", weights="random"))
    (tmp_path / "decode").write_bytes(pickle.dumps(DecodeImages([network.geometry], 10**6)))
    (tmp_path / "list.csv").write_text("path,label\na.png,0\nb.png,0\n")
    program = f"""
import pickle, sys
from lib.experiment.settings import Split
from lib.images.listing import list_images
decode = pickle.load(open({str(tmp_path / "decode")!r}, "rb"))
batch = decode(list_images(Split(location={str(tmp_path / "list.csv")!r})))
assert batch["reason"].to_pylist() == [None, None]
sys.exit("torch" in sys.modules or "timm" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=True)
