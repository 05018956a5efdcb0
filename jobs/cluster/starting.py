"""Start Ray or connect to it, and describe networks meanwhile."""

from __future__ import annotations

import logging
import os
import socket
import sys
from typing import Any

import ray

from jobs.cluster.console import keep_ray_quiet
from jobs.cluster.home import provide_home
from lib.experiment.network_settings import NetworkSettings
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


def start_ray(address: str | None, verbose: bool = False) -> None:
    """Connect to the cluster at `address` or RAY_ADDRESS, else start a Ray of one's own on this machine.

    Ray by itself would join whatever cluster somebody else has started here. Unless `verbose`, what Ray and its workers
    say is in Ray's log files alone.
    """
    if ray.is_initialized():
        return
    provide_home()
    address = address or os.environ.get("RAY_ADDRESS")
    words: dict[str, Any] = {} if verbose else {"log_to_driver": False, "logging_level": logging.ERROR}
    context: Any = ray.init(address=address, **words) if address else start_local_ray(words)
    ray.data.DataContext.get_current().enable_progress_bars = verbose and sys.stderr.isatty()
    if not verbose:
        keep_ray_quiet(context.address_info.get("session_dir"))  # last, since importing ray.data sets its loggers up


def start_local_ray(words: dict[str, Any]) -> Any:
    """Start a Ray on this machine whose processes know its address, and return its context.

    `words` are arguments of ray.init about what is printed.

    Where several Rays run on a machine, helpers of Ray Train otherwise find them all and choose none.
    """
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port = probe.getsockname()[1]
    told = {"RAY_GCS_SERVER_PORT": str(port), "RAY_ADDRESS": f"{LOOPBACK}:{port}"}
    os.environ |= told  # the processes that Ray starts inherit them
    try:
        # Ray Train asks the dashboard's state service, and complains every second without it.
        return ray.init(address="local", include_dashboard=True, **words)
    finally:
        for name in told:
            del os.environ[name]
