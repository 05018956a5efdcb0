"""results.json as it is written: a row of its lists on one line, so that it grows little with pairs of networks."""

from __future__ import annotations

import json
import math
from typing import Any

from lib.evaluation.results import Results
from lib.storage.files import write_bytes

DIGITS = 10  # of each number: more than images can tell


def write_results(uri: str, results: Results) -> bytes:
    """Write results.json, and return its contents.

    Numbers are rounded to DIGITS significant digits. Those that are not finite, which JSON lacks, become null.
    """
    parts = [f"  {json.dumps(key)}: {written(value)}" for key, value in results.items()]
    data = ("{\n" + ",\n".join(parts) + "\n}\n").encode()
    write_bytes(uri, data)
    return data


def written(value: Any) -> str:
    """Return a value of the results as JSON: of a list one row a line, of all else one key a line."""
    value = rounded(value)
    if isinstance(value, list) and value and isinstance(value[0], dict):
        rows = ",\n".join(f"    {json.dumps(row, ensure_ascii=False, allow_nan=False)}" for row in value)
        return f"[\n{rows}\n  ]"
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False).replace("\n", "\n  ")


def rounded(value: Any) -> Any:
    """Return a JSON value with rounded numbers."""
    if isinstance(value, dict):
        return {key: rounded(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(below) for below in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value
