"""A sitecustomize.py, with which every Python that starts has decoders that some images kill, hang or starve."""

POISONED = """
import os, signal, time
from PIL import Image
real = Image.open
def poisoned(file, *more, **named):
    kind = bytes(file.getbuffer()[:6])
    if kind == b"killer":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == b"sleepy":
        time.sleep(600)
    if kind == b"hungry":
        bytearray(2**36)
    return real(file, *more, **named)
Image.open = poisoned
"""
