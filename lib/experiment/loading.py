"""Read an experiment file, apply overrides, and report what is wrong in it field by field."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from lib.errors import ExperimentError, StorageError
from lib.experiment.evaluation_sets import EvaluationSet
from lib.experiment.network_settings import LIBRARIES, FeatureFiles, NetworkSettings, Preprocessing
from lib.experiment.overrides import override
from lib.experiment.sections import Section
from lib.experiment.settings import (
    DemoSettings,
    EvaluateSettings,
    Experiment,
    ExtractSettings,
    FitSettings,
    Images,
    ProbeSettings,
    Published,
    TrackSettings,
)
from lib.experiment.splits import Split
from lib.storage.files import read_bytes
from lib.storage.uris import check_uri, check_uris


def load_experiment(experiment: str, overrides: list[str] | None = None, experiments: Path | None = None) -> Experiment:
    """Read `experiment`, a name in the folder `experiments` or a TOML file, and apply `key.path=value` overrides.

    Raises ExperimentError if there is no such file, it is not TOML, or it has an unknown key, a wrong type, an
    impossible value or credentials.
    """
    path = _find(experiment, experiments)
    try:
        values = tomllib.loads(read_bytes(str(path)).decode())
    except StorageError as error:
        raise ExperimentError(str(error)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ExperimentError(f"{path} is not TOML: {error}") from error
    except RecursionError as error:
        raise ExperimentError(f"{path} is nested too deep") from error
    values.setdefault("name", Path(str(path)).stem)
    validated: Experiment = _validated(Experiment, path, values, overrides)
    return validated


def _validated(
    kind: type[Section], what: str, values: dict[str, Any], overrides: list[str] | None, under: tuple[str, ...] = ()
) -> Any:
    """Return `values` as a section, after `overrides` of fields of the table `under`. Raises ExperimentError."""
    try:
        table = values
        for key in under:
            table = table[key]
        for text in overrides or []:
            check_uri(text)
            override(table, text)
        check_uris(values)  # before pydantic, whose messages would repeat credentials
        return kind.model_validate(values)
    except ValidationError as error:
        raise ExperimentError(f"{what}:\n" + "\n".join(_readable(item) for item in error.errors())) from error
    except ValueError as error:
        raise ExperimentError(str(error)) from error


class _Networks(Section):
    networks: dict[str, NetworkSettings]


def load_network(
    network: str, overrides: list[str] | None = None, experiments: Path | None = None, folder: str = ""
) -> tuple[str, NetworkSettings]:
    """Return the name and the settings of one network: EXPERIMENT:NAME, or a model as a network's `model` names it.

    `overrides` are `field=value` of its section; `folder` replaces "{root}" in it. Raises ExperimentError.
    """
    values: dict[str, Any] = {"model": network}
    experiment, colon, name = network.rpartition(":")
    if colon and experiment not in LIBRARIES:
        loaded = load_experiment(experiment, [], experiments).located(folder)
        if name not in loaded.networks:
            raise ExperimentError(f"{experiment} has no network {name!r}: it has {', '.join(loaded.networks)}")
        values = loaded.networks[name].model_dump()
    else:
        name = network
    validated: _Networks = _validated(_Networks, network, {"networks": {name: values}}, overrides, ("networks", name))
    return name, validated.networks[name]


def _find(experiment: str, folder: Path | None) -> str:
    """Return the file of an experiment. Raises ExperimentError that names the experiments there are."""
    if "://" in experiment or Path(experiment).is_file():
        return experiment
    named = [] if folder is None else sorted(folder.glob("*.toml"))
    for path in named:
        if path.stem == experiment:
            return str(path)
    stems = [path.stem for path in named]
    raise ExperimentError(
        f"no experiment {experiment!r}.{_meant(experiment, stems)} Give a TOML file, or one of these names: "
        f"{', '.join(stems) or 'none'}"
    )


def _meant(name: str, allowed: Iterable[str]) -> str:
    """Return a question with the allowed name that is nearest to a misspelt one; nothing if none is near."""
    near = difflib.get_close_matches(name, list(allowed), 1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _readable(error: ErrorDetails) -> str:
    """Return one of pydantic's findings as one line: the field, what is wrong, what was given."""
    field = ".".join(str(part) for part in error["loc"]) or "experiment"
    if error["type"] == "extra_forbidden":
        allowed = _allowed(error["loc"][:-1])
        return f"  {field}: unknown key.{_meant(str(error['loc'][-1]), allowed)} Allowed: {', '.join(allowed)}"
    given = "" if error["type"] in ("missing", "value_error") else f" (given: {error['input']!r})"
    return f"  {field}: {error['msg']}{given}"


def _allowed(location: tuple[Any, ...]) -> list[str]:
    """Return the keys that the table at `location` allows."""
    tables: dict[str, type[Section]] = {
        "": Experiment,
        "images": Images,
        "images.train": Split,
        "images.val": Split,
        "images.eval": EvaluationSet,
        "networks": NetworkSettings,
        "preprocessing": Preprocessing,
        "features": FeatureFiles,
        "extract": ExtractSettings,
        "fit": FitSettings,
        "probe": ProbeSettings,
        "evaluate": EvaluateSettings,
        "track": TrackSettings,
        "demo": DemoSettings,
        "published": Published,
    }
    path = ".".join(str(part) for part in location)
    if path not in tables:
        path = path.rpartition(".")[0] if path.rpartition(".")[0] in tables else path
    if path not in tables:
        last = path.rpartition(".")[2]
        path = last if last in ("preprocessing", "features") else path.partition(".")[0]
    return list(tables[path].model_fields)
