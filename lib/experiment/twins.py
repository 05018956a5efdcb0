"""Networks that are two trainings of one architecture: what their sections must have in common."""

from __future__ import annotations

from typing import Any

from lib.experiment.network_settings import NetworkSettings


def twin(name: str, network: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a second training of a demo's network."""
    weights = str(network.get("weights", "")).removesuffix(".safetensors")
    return network | {"twin_of": name, "title": None, "weights": f"{weights}_twin.safetensors"}


def check_twins(networks: dict[str, NetworkSettings]) -> None:
    """Raise ValueError if a network's twin is not there, is another architecture, or is itself a twin."""
    for name, network in networks.items():
        if network.twin_of is None:
            continue
        first = networks.get(network.twin_of)
        if first is None or network.twin_of == name:
            others = [other for other in networks if other != name]
            raise ValueError(f"networks.{name}.twin_of: one of {others}, not {network.twin_of!r}")
        if first.twin_of is not None:
            raise ValueError(f"networks.{name}.twin_of: {network.twin_of!r} is a twin itself: name {first.twin_of!r}")
        if (first.model, first.options) != (network.model, network.options):
            raise ValueError(
                f"networks.{name}.twin_of: {network.twin_of!r} is {first.model} with options {first.options}, this "
                f"network {network.model} with {network.options}: twins have one architecture"
            )
