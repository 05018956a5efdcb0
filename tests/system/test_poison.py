"""Images that kill their decoder or make it hang are rejected with their reason; the run ends, with all others."""

import os
import subprocess
from pathlib import Path

import pytest
from poison import POISONED
from project import PROJECT
from runs import command
from tiny import TINY

from lib.demo.pictures import draw_split
from lib.features.reading import read_features
from lib.features.schemas import REJECTS
from lib.features.tables import FeatureTables
from lib.storage.files import read_json
from lib.storage.parquet import read_rows

pytestmark = pytest.mark.slow

IMPATIENT = """
import faulthandler
later = faulthandler.dump_traceback_later
faulthandler.dump_traceback_later = lambda seconds, **named: later(min(seconds, 8), **named)
"""


def test_poison_is_rejected_with_its_reason_and_all_others_are_extracted(tmp_path: Path) -> None:
    """It took an hour before, and had no end."""
    for place, (split, count) in enumerate([("train", 96), ("val", 48)]):
        draw_split(str(tmp_path / split), count, 64, place)
    experiment = tmp_path / "tiny.toml"
    experiment.write_text(TINY.format(folder=tmp_path))
    folder = next((tmp_path / "val").iterdir())
    for kind in ("killer", "sleepy"):
        (folder / f"{kind}.JPEG").write_bytes(kind.encode())
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(POISONED + IMPATIENT)
    called = command(experiment, tmp_path / "runs", "images.max_rejected=0.1")
    called[2] = "jobs.extract"
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    done = subprocess.run(
        called, cwd=PROJECT, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}, timeout=900
    )
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "tiny"
    rejected = read_rows(str(folder / "rejects" / "val"), REJECTS).to_pylist()
    reasons = {Path(row["image_id"]).stem: row["reason"] for row in rejected}
    assert reasons == {
        "killer": "kills: its decoder ended by SIGSEGV",
        "sleepy": "hangs: not decoded within 60 s",
    }
    images = read_json(str(folder / "features" / "val" / "a+b" / "manifest.json"))["images"]
    assert (images["listed"], images["extracted"]) == (50, 48)
    assert images["reasons"] == {"hangs": 1, "kills": 1}
    assert len(read_features(FeatureTables.open(str(folder / "features" / "train")), ["a"]).image_id) == 96
