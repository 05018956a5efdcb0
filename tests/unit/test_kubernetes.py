"""rayjob.yaml against the custom resource's schema, KubeRay's validator, Ray's autoscaler and what the stages ask for;
the lock against pyproject.toml; the entrypoint that stops a bad experiment's job; Slurm's command.
"""

import copy
import json
import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from launching import launched
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from project import EXPERIMENTS, PROJECT, SHARED

from jobs.cluster.arguments import parse
from jobs.cluster.capacity import READ_CPUS, WRITE_CPUS, Capacity, check_capacity
from lib.experiment.loading import load_experiment

CLUSTER = PROJECT / "jobs" / "cluster"
ENTRYPOINT = CLUSTER / "entrypoint.sh"
MARKETS = ("spot", "ondemand")
SIZES = {"K": 2**10, "M": 2**20, "G": 2**30}


def documents() -> list[dict[str, Any]]:
    """All that `kubectl apply` makes of rayjob.yaml."""
    return list(yaml.safe_load_all((CLUSTER / "rayjob.yaml").read_text()))


@pytest.fixture
def rayjob() -> dict[str, Any]:
    (found,) = [document for document in documents() if document["kind"] == "RayJob"]
    return found


@pytest.fixture
def pods(rayjob: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The pods' specifications by their group."""
    cluster = rayjob["spec"]["rayClusterSpec"]
    groups = {"head": cluster["headGroupSpec"]} | {group["groupName"]: group for group in cluster["workerGroupSpecs"]}
    return {name: group["template"]["spec"] for name, group in groups.items()}


@pytest.fixture
def grows(rayjob: dict[str, Any]) -> dict[str, Any]:
    """The autoscaler's configuration, as Ray's own code derives it from the cluster that KubeRay makes."""
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr

    cluster = {"metadata": {"name": "c", "namespace": "n"}, "spec": rayjob["spec"]["rayClusterSpec"]}
    config: dict[str, Any] = _derive_autoscaling_config_from_ray_cr(cluster)
    return config


@pytest.fixture(scope="session")
def schema() -> jsonschema.Draft7Validator:
    """The custom resource's schema, closed, so that no unknown key passes."""
    path = SHARED / "kuberay" / "rayjob.v1.schema.json"
    if not path.is_file():
        pytest.skip(f"no schema of RayJob in {path.parent}")
    return jsonschema.Draft7Validator(closed(json.loads(path.read_text())))


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema whose objects refuse keys that they do not name."""
    schema = dict(schema)
    if "properties" in schema:
        schema["properties"] = {name: closed(below) for name, below in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema.setdefault("additionalProperties", False)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            schema[key] = closed(schema[key])
    return schema


def size(quantity: str) -> float:
    """Return the bytes of Kubernetes' 4Gi."""
    found = re.fullmatch(r"(\d+)([KMG])i", quantity)
    assert found, quantity
    return int(found[1]) * SIZES[found[2]]


def test_the_manifest_is_what_the_custom_resource_allows(
    rayjob: dict[str, Any], schema: jsonschema.Draft7Validator
) -> None:
    schema.validate(rayjob)


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        ((), "backofflimit", 4),
        (("rayClusterSpec",), "enableInTreeAutoscaler", True),
        (("rayClusterSpec", "workerGroupSpecs", 0), "maxreplicas", 2),
        (("rayClusterSpec", "workerGroupSpecs", 0), "priority", "high"),
        (("rayClusterSpec", "headGroupSpec", "template", "spec"), "serviceAccount_Name", "a"),
        (("rayClusterSpec", "headGroupSpec", "template", "spec", "containers", 0), "resource", {}),
        (("rayClusterSpec", "headGroupSpec", "rayStartParams"), "num-cpus", 0),
    ],
)
def test_a_misspelt_key_or_a_wrong_type_is_refused(
    rayjob: dict[str, Any], schema: jsonschema.Draft7Validator, path: tuple[str | int, ...], key: str, value: object
) -> None:
    place: Any = rayjob["spec"]
    for step in path:
        place = place[step]
    place[key] = value
    with pytest.raises(jsonschema.ValidationError):
        schema.validate(rayjob)


def refusals(rayjob: dict[str, Any]) -> set[str]:
    """Return what KubeRay's validator would refuse, of its rules that concern such a job."""
    spec = rayjob["spec"]
    cluster = spec["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    strategy = spec.get("deletionStrategy", {})
    policies = [rule["policy"] for rule in strategy.get("deletionRules", [])]
    policies += [strategy[key]["policy"] for key in ("onSuccess", "onFailure") if key in strategy]
    in_tree = cluster.get("enableInTreeAutoscaling", False)
    second = in_tree and cluster.get("autoscalerOptions", {}).get("version") == "v2"
    version = tuple(map(int, cluster.get("rayVersion", "0.0").split(".")[:2]))
    environment = [variable["name"] for variable in groups[0]["template"]["spec"]["containers"][0].get("env", [])]
    retried = spec.get("backoffLimit", 0) > 0
    restarts = {group["template"]["spec"].get("restartPolicy", "Never") for group in groups}
    found = {
        "name": not re.fullmatch(r"[a-z]([-a-z0-9]{0,45}[a-z0-9])?", rayjob["metadata"]["name"]),
        "restartPolicy": second and restarts != {"Never"},
        "deletionRules": "deletionRules" in strategy and spec.get("shutdownAfterJobFinishes", False),
        "DeleteWorkers": in_tree and "DeleteWorkers" in policies,
        "backoffLimit": retried and (spec.get("submissionMode") == "InteractiveMode" or "clusterSelector" in spec),
        "authOptions": cluster.get("authOptions", {}).get("mode") == "token" and version < (2, 52),
        "priority": any("priority" in group for group in groups) and version < (2, 56),
        "version twice": second and "RAY_enable_autoscaler_v2" in environment,
        "resources twice": any(
            group.get("resources") and {"num-cpus", "num-gpus", "memory", "resources"} & group["rayStartParams"].keys()
            for group in groups
        ),
        "labels": any("labels" in group["rayStartParams"] for group in groups),
        "suspend": in_tree and any(group.get("suspend") for group in groups),
        "ttl": spec.get("ttlSecondsAfterFinished", 0) > 0 and not spec.get("shutdownAfterJobFinishes", False),
    }
    return {rule for rule, broken in found.items() if broken}


def test_kuberay_refuses_nothing(rayjob: dict[str, Any]) -> None:
    assert refusals(rayjob) == set()


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("restartPolicy", {"rayClusterSpec": {"headGroupSpec": {"template": {"spec": {"restartPolicy": "Always"}}}}}),
        ("deletionRules", {"deletionStrategy": {"deletionRules": [{"policy": "DeleteCluster"}]}}),
        ("DeleteWorkers", {"deletionStrategy": {"onSuccess": {"policy": "DeleteWorkers"}}}),
        ("backoffLimit", {"submissionMode": "InteractiveMode"}),
        ("backoffLimit", {"clusterSelector": {"ray.io/cluster": "c"}}),
        ("authOptions", {"rayClusterSpec": {"rayVersion": "2.51.0"}}),
        ("priority", {"rayClusterSpec": {"rayVersion": "2.55.0"}}),
        ("ttl", {"shutdownAfterJobFinishes": False}),
    ],
)
def test_what_kuberay_refuses_would_be_found(rayjob: dict[str, Any], rule: str, change: dict[str, Any]) -> None:
    def merge(into: dict[str, Any], new: dict[str, Any]) -> None:
        for key, value in new.items():
            if isinstance(value, dict) and key in into:
                merge(into[key], value)
            else:
                into[key] = value

    changed = copy.deepcopy(rayjob)
    merge(changed["spec"], change)
    assert rule in refusals(changed)


def test_the_job_is_tried_again_and_the_cluster_ends(rayjob: dict[str, Any]) -> None:
    spec = rayjob["spec"]
    assert 1 <= spec["backoffLimit"] <= 10
    assert spec["shutdownAfterJobFinishes"]
    assert spec["ttlSecondsAfterFinished"] > 0
    cluster = spec["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["enableInTreeAutoscaling"]
    assert cluster["autoscalerOptions"]["version"] == "v2"
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_ray_gives_up_pending_pods_by_a_variable_that_it_reads(rayjob: dict[str, Any]) -> None:
    from ray.autoscaler.v2.instance_manager import config

    (variable,) = rayjob["spec"]["rayClusterSpec"]["autoscalerOptions"]["env"]
    assert f'"{variable["name"]}"' in Path(config.__file__).read_text()
    assert 0 < int(variable["value"]) < config.InstanceReconcileConfig().allocate_status_timeout_s


def test_limits_equal_requests_and_store_and_spilled_objects_have_their_places(
    rayjob: dict[str, Any], pods: dict[str, dict[str, Any]]
) -> None:
    options = rayjob["spec"]["rayClusterSpec"]["autoscalerOptions"]["resources"]
    assert options["limits"] == options["requests"]
    cluster = rayjob["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert group["rayStartParams"]["object-spilling-directory"] == "/spill"
    for pod in pods.values():
        (container,) = pod["containers"]
        limits, requests = container["resources"]["limits"], container["resources"]["requests"]
        assert limits == requests
        assert {"cpu", "memory", "ephemeral-storage"} <= limits.keys()
        places = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume["emptyDir"] for volume in pod["volumes"]}
        shared, spill = volumes[places["/dev/shm"]], volumes[places["/spill"]]
        assert shared["medium"] == "Memory"
        store = 0.3 * size(limits["memory"])
        assert store < 0.95 * size(shared["sizeLimit"]) < 1.1 * store, "Ray's share of the memory has to fit"
        assert "medium" not in spill
        assert 9 * store < size(spill["sizeLimit"]) < size(limits["ephemeral-storage"])


def test_pods_have_few_rights_and_no_secret(rayjob: dict[str, Any], pods: dict[str, dict[str, Any]]) -> None:
    accounts = {document["metadata"]["name"] for document in documents() if document["kind"] == "ServiceAccount"}
    assert {pod["serviceAccountName"] for pod in pods.values()} == accounts
    for name, pod in pods.items():
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod.get("automountServiceAccountToken", True) == (name == "head"), "the autoscaler's, on the head"
    text = (CLUSTER / "rayjob.yaml").read_text()
    assert not re.search(r"(AKIA|ASIA)[A-Z0-9]{16}|BEGIN .*KEY|RAY_AUTH_TOKEN\b|secret(Name|KeyRef)", text)
    assert not re.search(r"\b[0-9a-f]{32,}\b|\b\d{12}\b", text), "a token, an account's number"


def test_gpu_pods_alone_go_to_gpu_machines_and_markets_do_not_mix(pods: dict[str, dict[str, Any]]) -> None:
    for name, pod in pods.items():
        tolerated = {toleration["key"] for toleration in pod.get("tolerations", [])}
        gpus = pod["containers"][0]["resources"]["limits"].get("nvidia.com/gpu", "0")
        assert (gpus == "1") == ("nvidia.com/gpu" in tolerated) == name.startswith("gpu-")
        assert bool(tolerated - {"nvidia.com/gpu"}) == name.endswith("-spot")
        (market,) = pod["nodeSelector"].values()
        assert market == ("spot" if name.endswith("-spot") else "on-demand")


def test_the_head_runs_no_work_and_knows_what_one_market_has(grows: dict[str, Any]) -> None:
    types = grows["available_node_types"]
    head = types.pop(grows["head_node_type"])["resources"]
    assert head["CPU"] == 0
    assert types.keys() == {f"{kind}-{market}" for kind in ("cpu", "gpu") for market in MARKETS}
    for market in MARKETS:
        there = [group for name, group in types.items() if name.endswith(market)]
        for kind in ("CPU", "GPU"):
            most = sum(group["max_workers"] * group["resources"].get(kind, 0) for group in there)
            assert head[f"max_{kind.lower()}s"] == most
    assert all(group["min_workers"] == 0 for group in types.values())


def test_the_largest_request_of_each_stage_fits_a_worker(
    grows: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the project's own arithmetic, from the head alone, and by Ray's scheduler."""
    import ray

    experiment = load_experiment(str(EXPERIMENTS / "paper.toml"))
    extract, fit = experiment.extract, experiment.fit
    head = grows["available_node_types"][grows["head_node_type"]]["resources"]
    monkeypatch.setattr(ray, "cluster_resources", lambda: head)
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": head}])
    check_capacity(experiment)
    capacity = Capacity.now()
    assert capacity.actors(extract) == 2
    assert capacity.fits(fit) == capacity.fits(fit, streamed=True) == len(experiment.pairs())
    on_cpus = {
        "decode": {"CPU": extract.decode_cpus},
        "write": {"CPU": WRITE_CPUS},
        "read": {"CPU": READ_CPUS},
        "describe, sum, join": {"CPU": 1},
    }
    on_gpus = {
        "networks": {"CPU": extract.network_cpus, "GPU": 1},
        "a fit's worker, closed forms": {"CPU": fit.cpus, "GPU": 1},
        "predict": {"CPU": 1, "GPU": 1},
    }
    for stage, request in on_cpus.items():
        assert launched(grows, request) == {"cpu-spot": 1}, stage
    for stage, request in on_gpus.items():
        assert launched(grows, request) == {"gpu-spot": 1}, stage
    assert launched(grows, {"CPU": 16}) == {}, "what fits no worker"


def test_spot_comes_first_and_on_demand_stands_in(grows: dict[str, Any]) -> None:
    decode, network = {"CPU": 0.5}, {"CPU": 1, "GPU": 1}
    assert launched(grows) == {}
    assert launched(grows, *[decode] * 60) == {"cpu-spot": 2}
    assert launched(grows, *[decode] * 61) == {"cpu-spot": 2, "cpu-ondemand": 1}
    assert launched(grows, network, network) == {"gpu-spot": 2}
    assert launched(grows, network, network, refused=["gpu-spot"]) == {"gpu-ondemand": 2}
    assert launched(grows, decode, refused=["cpu-spot"]) == {"cpu-ondemand": 1}


def test_one_version_of_ray(rayjob: dict[str, Any], pods: dict[str, dict[str, Any]]) -> None:
    version = rayjob["spec"]["rayClusterSpec"]["rayVersion"]
    assert locked()["ray"] == Version(version)
    assert f'"ray[data,default,train]=={version}"' in (PROJECT / "cluster.yaml").read_text()
    dockerfile = (CLUSTER / "Dockerfile").read_text()
    images = {pod["containers"][0]["image"] for pod in pods.values()}
    assert images == set(re.findall(r"-t (\S+)", dockerfile)) == {f"REGISTRY/affine-features:{version}"}


def locked() -> dict[str, Version]:
    """The lock's packages."""
    lines = (CLUSTER / "requirements.lock").read_text().splitlines()
    requirements = [Requirement(line.removesuffix("\\")) for line in lines if re.match(r"\w", line)]
    found = {}
    for requirement in requirements:
        (pin,) = requirement.specifier
        assert pin.operator == "=="
        found[canonicalize_name(requirement.name)] = Version(pin.version)
    return found


def test_the_lock_has_every_dependency_within_its_bounds() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    found = locked()
    for line in (*project["dependencies"], *extras["lite"], *extras["slim"]):
        wanted = Requirement(line)
        assert wanted.specifier.contains(found[canonicalize_name(wanted.name)]), line
    assert "boto3" in found, "of cluster.yaml's launcher"


def test_the_lock_names_no_place_of_one_machine_and_every_file_by_its_hash() -> None:
    text = (CLUSTER / "requirements.lock").read_text()
    assert not re.search(r"file:|https?:|--(extra-)?index|--find-links|/opt/|/tmp/", text)
    blocks = re.findall(r"^\w.*==.*(?:\n .*)*", text, re.MULTILINE)
    assert len(blocks) == len(locked())
    assert all("--hash=sha256:" in block for block in blocks)


def test_the_image_has_the_lock_the_code_and_a_user_of_its_own(pods: dict[str, dict[str, Any]]) -> None:
    text = (CLUSTER / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (\S+) (\S+)$", text, re.MULTILINE)
    assert dict(copied) == {
        "jobs/cluster/requirements.lock": "/tmp/requirements.lock",
        "jobs": "/app/jobs",
        "lib": "/app/lib",
    }
    assert "--require-hashes" in text
    python = re.search(r"^FROM python:([\d.]+)-slim", text, re.MULTILINE)
    assert python
    for other in (CLUSTER / "requirements.lock", PROJECT / "cluster.yaml"):
        assert re.search(rf"(--python-version|--python) {re.escape(python[1])}\b", other.read_text()), other
    assert {str(pod["securityContext"]["runAsUser"]) for pod in pods.values()} == set(
        re.findall(r"^USER (\d+)$", text, re.MULTILINE)
    )
    ignored = (PROJECT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert {source.split("/")[0] for source, _ in copied} == {line[1:] for line in ignored if line.startswith("!")}


def test_the_entrypoint_is_a_command_of_the_project(rayjob: dict[str, Any]) -> None:
    entrypoint = rayjob["spec"]["entrypoint"].strip()
    assert not set("'\"\\$`;&|<>\n") & set(entrypoint), "KubeRay and Ray hand words on without quotes"
    words = shlex.split(entrypoint)
    assert words[:3] == ["bash", "/app/jobs/cluster/entrypoint.sh", rayjob["spec"]["jobId"]]
    assert words[3:6] == ["python", "-m", "jobs.pipeline"]
    run, _ = parse(None, words[6:])
    experiment = run.written
    places = [run.files.folder, experiment.images.train.location, experiment.images.val.location]
    places += [network.weights for network in experiment.networks.values()]
    assert all(place.startswith("s3://bucket/") for place in places), "every pod reaches them"


@pytest.mark.parametrize(("code", "stopped", "expected"), [(0, 0, 0), (1, 0, 1), (2, 0, 2), (2, 1, 2), (130, 0, 130)])
def test_only_a_bad_experiment_stops_its_job(tmp_path: Path, code: int, stopped: int, expected: int) -> None:
    """The job's end is Ray's to tell; where it cannot be stopped, the exit code stays a failure."""
    (tmp_path / "ray").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/said\nexit {stopped}\n')
    (tmp_path / "ray").chmod(0o755)
    command = ["bash", str(ENTRYPOINT), "paper", "bash", "-c", 'echo "$0 $1"; exit $2', "two words", "*", str(code)]
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == expected
    assert done.stdout == "two words *\n"
    said = tmp_path / "said"
    assert (said.read_text() if said.exists() else None) == ("job stop paper\n" if code == 2 else None)
    assert ("bad" in done.stderr) == (code == 2)


def test_slurms_command_has_options_that_ray_has() -> None:
    from ray.scripts.scripts import start
    from ray.scripts.symmetric_run import curate_and_validate_ray_start_args, symmetric_run

    text = (PROJECT / "jobs" / "README.md").read_text().replace("\\\n", " ")
    (line,) = re.findall(r"^srun .*? ray symmetric-run (.*)$", text, re.MULTILINE)
    words = shlex.split(line)
    options = symmetric_run.make_context(
        "ray symmetric-run", [word.replace("$SLURM_JOB_NUM_NODES", "4") for word in words]
    )
    assert (options.params["address"], options.params["min_nodes"]) == ("$head", 4)
    end = words.index("--")
    (cpus,) = curate_and_validate_ray_start_args(words[:end])
    assert start.make_context("ray start", [cpus.replace("$SLURM_CPUS_PER_TASK", "8")]).params["num_cpus"] == 8
    assert words[end + 1 : end + 4] == ["python", "-m", "jobs.pipeline"]
    run, options = parse(None, words[end + 4 :])
    assert options.address == "$head"
    assert run.written.name == "paper"
