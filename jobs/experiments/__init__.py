"""Experiment files that come with the project: `python -m jobs.pipeline NAME` finds NAME.toml here."""
