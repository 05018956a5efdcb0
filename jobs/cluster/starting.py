"""Start Ray or connect to it, and describe networks meanwhile."""

from __future__ import annotations

import logging
import os
import socket
import sys
from typing import Any

import ray
from ray._private import ray_constants

from jobs.cluster.addresses import check_address
from jobs.cluster.console import keep_ray_quiet
from jobs.cluster.home import provide_home, provide_token
from lib.errors import RunError
from lib.experiment.network_settings import NetworkSettings
from lib.networks.descriptions import Describing

LOOPBACK = "127.0.0.1"
IDLE = 60  # seconds without work after which Ray may end a process that has imported what the next stage needs


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
    say is in Ray's log files alone. Raises RunError if no Ray answers at an address.
    """
    if ray.is_initialized():
        return
    provide_home()
    source, address = ("--address", address) if address else ("RAY_ADDRESS", os.environ.get("RAY_ADDRESS"))
    words: dict[str, Any] = {} if verbose else {"log_to_driver": False, "logging_level": logging.ERROR}
    context = connect(source, address, words) if address else start_local_ray(words, verbose)
    ray.data.DataContext.get_current().enable_progress_bars = verbose and sys.stderr.isatty()
    if not verbose:
        keep_ray_quiet(context.address_info.get("session_dir"))  # last, since importing ray.data sets its loggers up


def connect(source: str, address: str, words: dict[str, Any]) -> Any:
    """Connect to the cluster at an address that `source` gives, and return Ray's context.

    `words` are arguments of ray.init about what is printed. Raises RunError if there is no cluster, or if something
    else answers there.
    """
    check_address(source, address)
    try:
        return ray.init(address=address, **words)
    except ConnectionError as error:
        raise RunError(f"{source} {address}: what answers there is no Ray that this one can join: {error}") from error


def start_local_ray(words: dict[str, Any], verbose: bool) -> Any:
    """Start a Ray on this machine whose processes know its address, and return its context.

    `words` are arguments of ray.init about what is printed. Ray's dashboard, some four seconds of a core, is there for
    those who want to see what Ray does: if `verbose`.

    Where several Rays run on a machine, helpers of Ray Train otherwise find them all and choose none. All ports are on
    the loopback interface, as Ray has them on macOS by itself: nobody else's machine can reach them.
    """
    provide_token()
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port = probe.getsockname()[1]
    told = {"RAY_GCS_SERVER_PORT": str(port), "RAY_ADDRESS": f"{LOOPBACK}:{port}"}
    told[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"  # read when Ray is imported, which was done here before
    if "RAY_idle_worker_killing_time_threshold_ms" not in os.environ:
        told["RAY_idle_worker_killing_time_threshold_ms"] = str(1000 * IDLE)
    os.environ |= told  # the processes that Ray starts inherit them
    may_cluster, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        return ray.init(address="local", include_dashboard=verbose, **words)
    except Exception as error:  # of whatever kind: Ray's processes did not come up in time
        raise RunError(f"Ray did not start on this machine, which may be overloaded: {error} Try it again") from error
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = may_cluster
        for name in told:
            del os.environ[name]
