"""What a feature table was made from knows where its images lie, and notices other files of the same names."""

import os
from pathlib import Path

from lib.experiment.settings import Split
from lib.images.listing import list_images
from lib.images.sources import Listed
from lib.images.summaries import summarise


def digest_of(folder: Path) -> str:
    return summarise(Listed(list_images(Split(location=str(folder))))).files


def test_other_files_of_the_same_names_are_noticed(tmp_path: Path) -> None:
    for folder in ("val", "blurred"):
        for name in ("n1/a.jpg", "n2/b.jpg"):
            (tmp_path / folder / name).parent.mkdir(parents=True)
            (tmp_path / folder / name).write_bytes(b"image")
    before = digest_of(tmp_path / "val")
    assert digest_of(tmp_path / "val") == before
    assert digest_of(tmp_path / "blurred") != before, "the same names and bytes elsewhere"
    file = tmp_path / "val" / "n1" / "a.jpg"
    status = file.stat()
    file.write_bytes(b"other")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    changed = digest_of(tmp_path / "val")
    assert changed != before, "replaced in place, by a file of the same size"
    file.write_bytes(b"longer image")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert digest_of(tmp_path / "val") not in (before, changed)
