"""Imports beside other work: over before anything else is imported, and without what others look for."""

import subprocess
import sys
import time

import pytest
from project import PROJECT

from lib.networks.imports import meanwhile


def test_the_thread_has_ended_when_the_body_has() -> None:
    order = []

    def slowly() -> None:
        time.sleep(0.3)
        order.append("imported")

    with meanwhile(slowly):
        order.append("body")
    order.append("after")
    with pytest.raises(KeyError), meanwhile(slowly):
        raise KeyError
    assert order == ["body", "imported", "after", "imported"]


@pytest.mark.parametrize("name", ["import_first", "import_ahead"])
def test_no_thread_imports_torch(name: str) -> None:
    """scipy, for one, looks for torch.Tensor as soon as "torch" is among the modules."""
    program = f"import sys, jobs.pipeline; jobs.pipeline.{name}(); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=True)
