"""How much is asked of a cluster, and what is refused because it could never come."""

from typing import Any

import pytest

from jobs.cluster.capacity import Capacity, check_capacity, one_machine
from lib.errors import RunError
from lib.experiment.settings import Experiment, ExtractSettings, FitSettings

NETWORK = {"model": "test_resnet", "weights": "random"}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets what Ray says of its nodes."""
    import ray

    def of(*nodes: dict[str, float]) -> Capacity:
        kinds = {kind for node in nodes for kind in node}
        total = {kind: sum(node.get(kind, 0) for node in nodes) for kind in kinds}
        monkeypatch.setattr(ray, "cluster_resources", lambda: total)
        monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": node} for node in nodes])
        return Capacity.now()

    return of


def test_actors_are_as_many_as_gpus_there_may_be(cluster: Any) -> None:
    head = {"CPU": 0.0, "max_cpus": 64.0, "max_gpus": 2.0}  # cluster.yaml's
    gpu = {"CPU": 16.0, "GPU": 1.0}
    assert cluster(head).actors(ExtractSettings()) == 2
    assert cluster(head, gpu).actors(ExtractSettings()) == 2
    assert cluster({"CPU": 8.0, "GPU": 4.0}).actors(ExtractSettings()) == 4
    assert cluster({"CPU": 8.0, "GPU": 4.0}).actors(ExtractSettings(max_actors=3)) == 3
    assert cluster({"CPU": 8.0}, {"CPU": 8.0}).actors(ExtractSettings()) == 8, "of CPUs half"
    assert cluster({"CPU": 2.0}).actors(ExtractSettings()) == 1


def test_a_head_that_waits_for_machines_is_not_one_machine(cluster: Any) -> None:
    cluster({"CPU": 2.0})
    assert one_machine()
    cluster({"CPU": 0.0, "max_cpus": 64.0})
    assert not one_machine()
    cluster({"CPU": 2.0}, {"CPU": 2.0})
    assert not one_machine()


def test_fits_run_side_by_side_where_there_is_room(cluster: Any) -> None:
    assert cluster({"CPU": 0.0, "max_cpus": 64.0, "max_gpus": 2.0}).fits(FitSettings(cpus=4)) == 2
    assert cluster({"CPU": 8.0}).fits(FitSettings(cpus=2)) == 4
    assert cluster({"CPU": 8.0}).fits(FitSettings(cpus=2, workers=3)) == 1


@pytest.mark.parametrize(
    ("nodes", "settings", "message"),
    [
        ([{"CPU": 1.0}], {}, r"the cluster has 1 CPUs, extraction needs 1\.75: lower extract\.network_cpus"),
        ([{"CPU": 0.0}], {}, r"extract\.network_cpus is 1, the largest node has 0 CPUs.*max_cpus"),
        ([{"CPU": 2.0}, {"CPU": 2.0}], {"extract": {"network_cpus": 3}}, r"extract\.network_cpus is 3, the largest"),
        ([{"CPU": 2.0}], {"fit": {"cpus": 4}}, r"fit\.cpus is 4, the largest node has 2 CPUs"),
        ([{"CPU": 2.0}], {"fit": {"workers": 3}}, r"has 2 CPUs, a fit needs 3 workers of 1 CPUs"),
        ([{"CPU": 8.0, "GPU": 1.0}], {"fit": {"workers": 2}}, r"has 1 GPUs, a fit needs 2 workers of 1 CPUs and a GPU"),
    ],
)
def test_what_can_never_come_is_refused(
    cluster: Any, nodes: list[dict[str, float]], settings: dict[str, Any], message: str
) -> None:
    cluster(*nodes)
    experiment = Experiment.model_validate(
        {"name": "e", "images": {"train": "t", "val": "v"}, "networks": {"a": NETWORK, "b": NETWORK}, **settings}
    )
    with pytest.raises(RunError, match=message):
        check_capacity(experiment)
