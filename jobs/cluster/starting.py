"""Start Ray or connect to it, and describe networks meanwhile."""

from __future__ import annotations

import os
import socket
import sys

import ray

from jobs.cluster.home import provide_home
from lib.experiment.settings import NetworkSettings
from lib.networks.descriptions import Describing

LOOPBACK = "127.0.0.1"


def begin_describing(networks: dict[str, NetworkSettings], address: str | None) -> Describing | None:
    """Begin to describe networks in another process, while Ray starts on this machine.

    Return None if the nodes of a cluster at `address` or RAY_ADDRESS will describe them, or if the run makes their
    weights first.
    """
    later = (
        address or os.environ.get("RAY_ADDRESS") or any("{root}" in network.weights for network in networks.values())
    )
    return None if later else Describing(networks)


def start_ray(address: str | None) -> None:
    """Connect to the cluster at `address` or RAY_ADDRESS, else start a Ray of one's own on this machine.

    Ray by itself would join whatever cluster somebody else has started here.
    """
    if ray.is_initialized():
        return
    provide_home()
    address = address or os.environ.get("RAY_ADDRESS")
    if address:
        ray.init(address=address, log_to_driver=True)
    else:
        start_local_ray()
    progress = sys.stderr.isatty()  # no terminal bars in a log file
    ray.data.DataContext.get_current().enable_progress_bars = progress


def start_local_ray() -> None:
    """Start a Ray on this machine whose processes know its address.

    Where several Rays run on a machine, helpers of Ray Train otherwise find them all and choose none.
    """
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port = probe.getsockname()[1]
    told = {"RAY_GCS_SERVER_PORT": str(port), "RAY_ADDRESS": f"{LOOPBACK}:{port}"}
    os.environ |= told  # the processes that Ray starts inherit them
    try:
        # Ray Train asks the dashboard's state service, and complains every second without it.
        ray.init(address="local", include_dashboard=True)
    finally:
        for name in told:
            del os.environ[name]
