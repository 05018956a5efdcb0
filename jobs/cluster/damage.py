"""Look for damaged files on a cluster: tasks read them, each some."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import ray

from jobs.cluster.capacity import READ_CPUS
from jobs.cluster.runs import Run, say
from lib.errors import DamagedFile
from lib.storage.manifests import Artifact, Search
from lib.storage.parts import Part, find_damage

TOGETHER = 32  # files or artifacts that one task reads


def find_in_parts(folder: str, parts: Sequence[Part]) -> dict[Part, DamagedFile]:
    """Return what is wrong with the damaged ones of these files of the table in `folder`."""
    groups = [parts[first : first + TOGETHER] for first in range(0, len(parts), TOGETHER)]
    found: dict[Part, DamagedFile] = {}
    for damaged in ray.get([_look_at_parts.remote(folder, group) for group in groups]):
        found |= damaged
    return found


def say_damage(stage: str, errors: Iterable[DamagedFile]) -> None:
    """Say what is made anew, and why."""
    for error in errors:
        say(stage, f"{error.uri} is made anew: {error.wrong}")


def search(run: Run, stage: str) -> Search | None:
    """Return what looks for damage in a stage's finished artifacts and says it; None unless the run repairs."""
    return partial(find_in_artifacts, stage) if run.repair else None


def find_in_artifacts(stage: str, artifacts: list[Artifact]) -> list[list[DamagedFile]]:
    """Return for each of these finished artifacts what is wrong with its files, and say it."""
    groups = [artifacts[first : first + TOGETHER] for first in range(0, len(artifacts), TOGETHER)]
    found = ray.get([_look_at_artifacts.remote(group) for group in groups])
    damaged = [errors for group in found for errors in group]
    for errors in damaged:
        say_damage(stage, errors)
    return damaged


@ray.remote(num_cpus=READ_CPUS)
def _look_at_parts(folder: str, parts: Sequence[Part]) -> dict[Part, DamagedFile]:
    return find_damage(folder, parts)


@ray.remote(num_cpus=READ_CPUS)
def _look_at_artifacts(artifacts: list[Artifact]) -> list[list[DamagedFile]]:
    return [artifact.damage() for artifact in artifacts]
