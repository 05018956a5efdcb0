"""Images in an ImageNet tree, one folder for each class."""

from __future__ import annotations

import logging

from lib.errors import ListingError
from lib.experiment.settings import Split
from lib.images.labels import NO_CLASSES, tree_classes
from lib.images.schemas import SUFFIXES
from lib.images.set_classes import folder_labels
from lib.images.sources import Listed, PassedOver, Source, Sources, images_table
from lib.storage.uris import join_uri, resolve, uri_beside
from lib.storage.versions import Versioned
from lib.storage.walking import folders_directly_in, walk_files

log = logging.getLogger(__name__)


def tree_sources(split: Split, classes: list[str] | None) -> Sources:
    """Return a tree's folders. The first source is the tree itself, of which only the files directly in it count."""
    root = resolve(split.location)[1].rstrip("/")
    folders = [f"{root}/{name}" for name in folders_directly_in(split.location)]
    labels = folder_labels(split, classes)
    names = tuple(classes or tree_classes(split))
    sources = tuple(Source(Versioned(path)) for path in (root, *folders))
    return Sources(split, "tree", root, names, sources, folder_labels=labels)


def list_folder(found: Sources, source: Source) -> Listed:
    """List the images of one folder of a tree. Its place among the class names is their label.

    Raises ListingError if the folder holds images and is not among the class names.
    """
    location, path = found.split.location, source.file.path
    if path == found.root:
        files = walk_files(location, recursive=False)
    else:
        files = walk_files(join_uri(location, path[len(found.root) + 1 :]), above=location)
    label = (found.folder_labels or {}).get(path[len(found.root) + 1 :])
    listed: list[Versioned] = []
    passed_over = PassedOver()
    for file in files:
        image_id = file.path[len(found.root) + 1 :]
        *folders, name = image_id.split("/")
        hidden = any(part.startswith(".") or part in NO_CLASSES for part in [*folders, name])
        if hidden or not name.lower().endswith(SUFFIXES):
            passed_over += PassedOver(no_image=1, example=image_id)
        elif not folders:
            passed_over += PassedOver(no_folder=1)
        elif label is None:
            raise ListingError(
                f"{location}: folder {folders[0]!r} is not among the {len(found.labels)} class names. If its images "
                "belong to a class, name the folder after it, or list the images in a .csv file with the columns path "
                "and label"
            )
        else:
            listed.append(file)
    images = images_table(
        len(listed),
        image_id=[file.path[len(found.root) + 1 :] for file in listed],
        label=label,
        path=[uri_beside(location, file.path) for file in listed],
        size=[file.size for file in listed],
        version=[file.version for file in listed],
    )
    return Listed(images, passed_over)


def judge_passed_over(location: str, rows: int, passed_over: PassedOver) -> None:
    """Warn of the files of a tree that are not listed. Raises ListingError if none is listed because of that."""
    if passed_over.no_folder and not rows:
        raise ListingError(
            f"{location}: {passed_over.no_folder} images lie directly in it, in no class folder, so their labels are "
            "unknown. Name them in a .csv file with the columns path and label, and give that file instead"
        )
    if passed_over.no_image and not rows:
        raise ListingError(
            f"{location}: {passed_over.no_image} files, such as {passed_over.example}, no image by their names "
            f"(allowed: {', '.join(SUFFIXES)}). If images lie in .parquet files or .tar shards, name their folder"
        )
    if passed_over.no_folder:
        log.warning("%s: %d images passed over, which lie in no class folder", location, passed_over.no_folder)
    if passed_over.no_image:
        log.warning("%s: %d files passed over, which are no images by their names", location, passed_over.no_image)
