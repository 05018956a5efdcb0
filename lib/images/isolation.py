"""Decode images one by one in a process of its own, for batches that have killed a process or made it hang.

Limits of time and memory hold for each image. An image that breaks one is rejected with its reason, and another process
goes on with the next one.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection

import numpy as np
from PIL import Image

from lib.errors import UnreadableImage
from lib.images.geometry import Geometry
from lib.images.pixels import decode_for

SECONDS = 60.0  # for one image
BYTES_A_PIXEL = 16  # of the largest image that is allowed: RGBA, RGB, and as much again
SPARE = 2**30  # bytes beside them
START = 120.0  # seconds in which the process must have begun
PROGRAM = "from lib.images.isolation import answer; answer({descriptor})"

BLANK = Image.new("RGB", (8, 8))

Pixels = list[np.ndarray]  # (height, width, 3) for each geometry


def decode_alone(
    images: Sequence[bytes], geometries: list[Geometry], max_pixels: int, seconds: float = SECONDS
) -> list[Pixels | str]:
    """Return for each image its pixels for each geometry, or the reason why it is rejected.

    A crash, more than `seconds`, and more memory than images of `max_pixels` can take are reasons.
    """
    found: list[Pixels | str] = []
    decoder: Decoder | None = None
    for data in images:
        decoder = decoder or Decoder(geometries, max_pixels)
        found.append(decoder.decode(data, seconds))
        if decoder.ended:
            decoder = None
    if decoder is not None:
        decoder.end()
    return found


class Decoder:
    """Another process that decodes what it is sent."""

    def __init__(self, geometries: list[Geometry], max_pixels: int) -> None:
        ours, theirs = socket.socketpair()
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM.format(descriptor=theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"},
        )
        theirs.close()
        self.connection = Connection(ours.detach())
        self.ended = False
        self.connection.send((geometries, max_pixels))
        if not self.connection.poll(START) or not self._begun():
            self.end()
            raise RuntimeError(f"a process that decodes images alone did not begin (exit code {self.process.poll()})")

    def _begun(self) -> bool:
        try:
            return bool(self.connection.recv())
        except (EOFError, OSError):
            return False

    def decode(self, data: bytes, seconds: float) -> Pixels | str:
        """Return an image's pixels, or why it is rejected. The process has `ended` if it died of it.

        Raises what is no fault of the image.
        """
        try:
            self.connection.send(data)
            if not self.connection.poll(seconds):
                self.end()
                return f"hangs: not decoded within {seconds:g} s"
            answer: Pixels | str | Exception = self.connection.recv()
        except (EOFError, OSError):
            code = self.process.wait()
            self.end()
            return f"kills: its decoder ended by {signal.Signals(-code).name if code < 0 else f'exit code {code}'}"
        if isinstance(answer, Exception):
            self.end()
            raise answer
        return answer

    def end(self) -> None:
        """End the process."""
        self.ended = True
        self.process.kill()
        self.process.wait()
        self.connection.close()


def answer(descriptor: int) -> None:
    """Do what the other process does: decode what comes, and send pixels, or why there are none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = Connection(descriptor)
    geometries, max_pixels = connection.recv()
    for geometry in geometries:
        geometry.pixels(BLANK)  # so that all is imported that decoding needs
    limit_memory(BYTES_A_PIXEL * max_pixels + SPARE)
    connection.send(True)
    while True:
        try:
            data = connection.recv()
        except (EOFError, OSError):
            return
        try:
            found: Pixels | str | Exception = decode_for(data, geometries, max_pixels)
        except UnreadableImage as error:
            found = str(error)
        except Exception as error:
            found = error  # of the program, not of the image
        connection.send(found)


def limit_memory(more: int) -> None:
    """Let this process take no more than so many bytes beside what it has, where the system has such a limit."""
    try:
        with open("/proc/self/statm") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    wanted = now + more
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
