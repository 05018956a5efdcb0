"""Memory is bounded: more pixels than the object store holds pass through an extraction, and nothing is spilled."""

import os
import subprocess
import threading
import time
from pathlib import Path

import heads
import pytest
from heads import RAY, Head
from tiny import TINY

from lib.demo.pictures import draw_split
from lib.storage.files import read_json

pytestmark = pytest.mark.slow

FULL = os.environ.get("MEMORY_TEST")
MB = 10**6
SIDES = {"a": 128, "b": 64}  # pixels: two geometries


def anonymous(head: Head) -> int:
    """Bytes of its workers' own memory, without the object store's, which they share."""
    total = 0
    for pid, line in head.processes().items():
        if line.startswith("ray::"):
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            total += sum(int(row.split()[1]) << 10 for row in status.splitlines() if row.startswith("RssAnon"))
    return total


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("images", "store"),
    [
        (4_000, 80 * MB),
        pytest.param(50_000, 500 * MB, marks=pytest.mark.skipif(not FULL, reason="takes minutes: set MEMORY_TEST=1")),
    ],
)
def test_pixels_of_many_images_pass_through_a_small_object_store(images: int, store: int, tmp_path: Path) -> None:
    draw_split(str(tmp_path / "val"), 16, 64, 0)
    first = next(path for path in (tmp_path / "val").rglob("*.JPEG"))
    (tmp_path / "train").mkdir()
    names = [f"{place:05d}.JPEG" for place in range(images)]
    for name in names:
        os.link(first, tmp_path / "train" / name)
    listing = tmp_path / "train.csv"
    listing.write_text("path,label\n" + "".join(f"train/{name},0\n" for name in names))
    experiment = tmp_path / "tiny.toml"
    text = TINY.format(folder=tmp_path).replace(f'"{tmp_path}/train"', f'"{listing}"')
    experiment.write_text(text.replace("batch_size = 16\nrows_per_file = 16", "batch_size = 32"))
    pixels = sum(3 * side**2 for side in SIDES.values()) * images
    assert pixels > 3 * store, "what passes through is more than what there is room for"

    used: list[tuple[float, int]] = []
    over = threading.Event()
    with heads.head("--num-cpus=2", "--num-gpus=0", f"--object-store-memory={store}") as head:

        def watch() -> None:
            while not over.wait(0.5):
                used.append((time.monotonic(), anonymous(head)))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            overrides = [f"--set=networks.{name}.preprocessing.input_size={side}" for name, side in SIDES.items()]
            done = head.run("extract", str(experiment), "--root", str(tmp_path), *overrides)
        finally:
            over.set()
            watcher.join()
        assert done.returncode == 0, done.stderr
        environment = head.environment | {"RAY_ADDRESS": head.gcs}
        stats = subprocess.run([*RAY, "memory", "--stats-only"], env=environment, capture_output=True, text=True)
    assert "Plasma memory usage" in stats.stdout, stats.stderr
    assert "pilled" not in stats.stdout, stats.stdout
    counts = read_json(str(tmp_path / "tiny/features/train/a+b/manifest.json"))["images"]
    assert (counts["listed"], counts["extracted"]) == (images, images)
    begin, end = used[0][0], used[-1][0]
    quarters = [max(bytes_ for at, bytes_ in used if k <= 4 * (at - begin) / (end - begin) <= k + 1) for k in range(4)]
    print(
        f"{pixels / MB:.0f} MB of pixels, workers' memory by quarters of {end - begin:.0f} s:",
        [q // MB for q in quarters],
    )
    assert quarters[3] < 1.1 * max(quarters[1:3]), quarters
