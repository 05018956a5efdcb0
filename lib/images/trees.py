"""Images in an ImageNet tree, one folder for each class."""

from __future__ import annotations

import logging

from lib.errors import ListingError
from lib.experiment.settings import Split
from lib.images.labels import NO_CLASSES, tree_classes
from lib.images.schemas import SUFFIXES, Row
from lib.storage.uris import resolve, uri_beside
from lib.storage.walking import walk_files

log = logging.getLogger(__name__)


def list_tree(split: Split, classes: list[str] | None) -> list[Row]:
    """List the images of an ImageNet tree. A folder's place among the class names is its images' label."""
    place = {name: index for index, name in enumerate(classes or tree_classes(split))}
    root = resolve(split.location)[1].rstrip("/")
    rows: list[Row] = []
    passed_over, without_folder, example = 0, 0, ""
    for path in walk_files(split.location):
        image_id = path[len(root) + 1 :]
        *folders, name = image_id.split("/")
        hidden = any(part.startswith(".") or part in NO_CLASSES for part in [*folders, name])
        if hidden or not name.lower().endswith(SUFFIXES):
            passed_over, example = passed_over + 1, image_id
        elif not folders:
            without_folder += 1
        elif folders[0] not in place:
            raise ListingError(f"{split.location}: folder {folders[0]!r} is not among the {len(place)} class names")
        else:
            rows.append((image_id, place[folders[0]], uri_beside(split.location, path), None, None, None))
    if without_folder and not rows:
        raise ListingError(
            f"{split.location}: {without_folder} images lie directly in it, in no class folder, so their labels are "
            "unknown. Name them in a .csv file with the columns path and label, and give that file instead"
        )
    if passed_over and not rows:
        raise ListingError(
            f"{split.location}: {passed_over} files, such as {example}, no image by their names (allowed: "
            f"{', '.join(SUFFIXES)}). If images lie in .parquet files or .tar shards, name their folder"
        )
    if without_folder:
        log.warning("%s: %d images passed over, which lie in no class folder", split.location, without_folder)
    if passed_over:
        log.warning("%s: %d files passed over, which are no images by their names", split.location, passed_over)
    return rows
