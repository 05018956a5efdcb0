"""The Ray layer: each file directly here is one command, `python -m jobs.NAME`; folders hold what commands share."""
