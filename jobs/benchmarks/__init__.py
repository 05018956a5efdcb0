"""Benchmarks that need Ray."""
