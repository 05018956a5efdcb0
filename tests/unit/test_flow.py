"""What an extraction waits for, from how many images passed each step."""

import pytest

from jobs.extraction.flow import BEGUN, COMPUTED, DECODED, NETWORKS, WRITTEN, Flow

MIDWAY = {NETWORKS: 2, DECODED: 2000, BEGUN: 1936, COMPUTED: 1900, WRITTEN: 1536}


@pytest.mark.parametrize(
    ("passed", "waits"),
    [
        ({}, "waiting for networks to load"),
        ({DECODED: 640}, "waiting for networks to load"),
        (MIDWAY | {DECODED: 1936}, "waiting for decoding"),
        (MIDWAY, "waiting for networks (64 decoded)"),
        (MIDWAY | {DECODED: 2500, BEGUN: 1936}, "waiting for networks (564 decoded)"),
        (MIDWAY | {DECODED: 2500, WRITTEN: 1000}, "waiting for writing (900 computed)"),
        (
            MIDWAY | {DECODED: 5000, BEGUN: 4990, COMPUTED: 4900, WRITTEN: 4700},
            "waiting for networks (the last images)",
        ),
        (MIDWAY | {DECODED: 5000, BEGUN: 5000, COMPUTED: 5000, WRITTEN: 4700}, "waiting for writing"),
        (MIDWAY | {DECODED: 1800}, "waiting for decoding"),
    ],
)
def test_the_last_step_that_is_behind_is_named(passed: dict[str, int], waits: str) -> None:
    assert Flow(5000, 64, 256, lambda: True).waits(passed) == waits


def test_without_machines_everything_waits_for_them() -> None:
    assert Flow(5000, 64, 256, lambda: False).waits(MIDWAY) == "waiting for machines"


def test_fewer_images_than_a_batch_wait_for_networks_too() -> None:
    passed = {NETWORKS: 1, DECODED: 10}
    assert Flow(10, 64, 256, lambda: True).waits(passed) == "waiting for networks (10 decoded)"
