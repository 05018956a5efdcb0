"""Where the project lies, and what may lie beside it."""

from __future__ import annotations

from pathlib import Path

PROJECT = Path(__file__).parents[1]
EXPERIMENTS = PROJECT / "jobs" / "experiments"
SHARED = PROJECT.parent / "shared"  # photographs and golden data, which a fresh machine of a user does not have
