"""The experiment file: its sections, its overrides, which maps it asks for, and where each file of a run lies."""
