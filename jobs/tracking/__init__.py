"""Trackers that an experiment may switch on: TensorBoard and MLflow."""
