"""Lines that say how far the fits are: how many maps of how many, and nothing of a store that does not answer."""

import time

import pytest

from jobs.fitting import progress
from jobs.fitting.progress import MapProgress
from lib.errors import StorageError
from lib.experiment.layout import Layout
from lib.experiment.variants import MapKey, Variant
from lib.storage.manifests import Artifact


def test_finished_maps_are_said_while_the_fits_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "SECONDS", 0.02)
    answers = iter([0, StorageError("no answer"), 3])

    def finished(files: Layout, artifacts: dict[MapKey, Artifact]) -> set[MapKey]:
        answer = next(answers, 6)
        if isinstance(answer, StorageError):
            raise answer
        return set(list(artifacts)[:answer])

    monkeypatch.setattr(progress, "finished_maps", finished)
    keys = [MapKey("a", "b", Variant("affine", seed=seed)) for seed in range(12)]
    with MapProgress(Layout(""), {key: Artifact("", (), {}) for key in keys}):
        deadline = time.monotonic() + 10
        said = ""
        while "6 of 12" not in said and time.monotonic() < deadline:
            time.sleep(0.01)
            said += capsys.readouterr().out
    lines = said.splitlines()
    assert lines[0].startswith("[fit] 3 of 12 maps, ")
    assert lines[0].endswith(" min left")
    assert lines[1].startswith("[fit] 6 of 12 maps, ")
