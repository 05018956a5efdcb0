"""The Ray layer: one file is one stage is one command, `python -m jobs.STAGE EXPERIMENT`."""
