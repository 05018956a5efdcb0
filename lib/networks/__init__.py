"""Pretrained networks: load one, split it into F and C, describe it, device and memory."""
