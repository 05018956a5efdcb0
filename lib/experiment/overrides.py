"""`--set key.path=value` replaces fields of an experiment on the command line."""

from __future__ import annotations

import tomllib
from typing import Any


def override(values: dict[str, Any], text: str) -> None:
    """Set the field that `key.path=value` names. The value is read as TOML; what is not TOML is a string.

    Raises ValueError if the text is not written so, or if its path goes through a value that has no fields.
    """
    key, equals, written = text.partition("=")
    if not equals or not key.strip():
        raise ValueError(f"--set {text!r}: write key.path=value, as in fit.iterations=1000")
    try:
        value = tomllib.loads(f"value = {written}")["value"]
    except tomllib.TOMLDecodeError:
        value = written
    except RecursionError as error:
        raise ValueError(f"--set {key}: the value is nested too deep") from error
    *parents, last = key.strip().split(".")
    table = values
    for parent in parents:
        child = table.get(parent, {})
        table[parent] = {"location": child} if isinstance(child, str) else child
        table = table[parent]
        if not isinstance(table, dict):
            raise ValueError(f"--set {text!r}: {parent!r} is a value, not a table with fields")
    table[last] = value
