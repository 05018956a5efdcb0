"""results.json as it is written: a row of its lists on one line, so that it grows little with pairs of networks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lib.storage.files import without_nan, write_bytes

DIGITS = 8  # of each number: more than images can tell; counts are whole


def write_results(uri: str, results: Mapping[str, object]) -> bytes:
    """Write results.json, or those of one evaluation set, and return the file's contents.

    Numbers are rounded to DIGITS significant digits. Those that are not finite, which JSON lacks, become null.
    """
    parts = [f"  {json.dumps(key)}: {written(value)}" for key, value in results.items()]
    data = ("{\n" + ",\n".join(parts) + "\n}\n").encode()
    write_bytes(uri, data)
    return data


def written(value: Any, margin: str = "  ") -> str:
    """Return a value of the results as JSON: of a list one row a line, of all else one key a line, behind a margin."""
    value = rounded(without_nan(value))
    if isinstance(value, list) and value and isinstance(value[0], dict):
        rows = ",\n".join(f"{margin}  {on_one_line(row)}" for row in value)
        return f"[\n{rows}\n{margin}]"
    if isinstance(value, dict) and value:
        parts = [f"{margin}  {json.dumps(key)}: {written(below, margin + '  ')}" for key, below in value.items()]
        return "{\n" + ",\n".join(parts) + f"\n{margin}}}"
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False).replace("\n", f"\n{margin}")


def on_one_line(row: Any) -> str:
    """Return a row as JSON without spaces, of which a row of a pair has a sixth of a kilobyte."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def rounded(value: Any) -> Any:
    """Return a JSON value with rounded numbers."""
    if isinstance(value, dict):
        return {key: rounded(below) for key, below in value.items()}
    if isinstance(value, list):
        return [rounded(below) for below in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
