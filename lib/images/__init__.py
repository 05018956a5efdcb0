"""Labelled images: list them, fetch their bytes, decode them, and bring them to a network's geometry."""
