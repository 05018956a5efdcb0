"""cluster.yaml against Ray's own checks, its scheduler and AWS's interface (moto); what a submitted job uploads."""

import os
import re
import shlex
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from launching import launched
from packaging.requirements import Requirement
from project import PROJECT

SIZES = {"m7i.xlarge": (4, 0), "m6id.4xlarge": (16, 0), "g6e.4xlarge": (16, 1)}  # virtual CPUs, GPUs; AWS's tables


@pytest.fixture
def written() -> dict[str, Any]:
    """cluster.yaml as `ray up` reads it."""
    config: dict[str, Any] = yaml.safe_load((PROJECT / "cluster.yaml").read_text())
    return config


@pytest.fixture
def config(written: dict[str, Any]) -> dict[str, Any]:
    """With Ray's defaults filled in, and through its check of the schema."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared: dict[str, Any] = prepare_config(written)
    validate_config(prepared)
    return prepared


def test_every_type_has_what_its_machine_has_and_only_workers_run_work(config: dict[str, Any]) -> None:
    types = config["available_node_types"]
    for name, node in types.items():
        cpus, gpus = SIZES[node["node_config"]["InstanceType"]]
        assert node["resources"]["CPU"] == (0 if name == "head" else cpus)
        assert node["resources"].get("GPU", 0) == gpus
        assert node["min_workers"] == 0
        assert (node["node_config"].get("InstanceMarketOptions") == {"MarketType": "spot"}) == name.endswith(".spot")
    assert config["head_node_type"] == "head"
    assert types["head"]["max_workers"] == 0
    assert config["max_workers"] == sum(node["max_workers"] for node in types.values())
    for kind in ("CPU", "GPU"):
        most = sum(node["max_workers"] * node["resources"].get(kind, 0) for node in types.values())
        assert types["head"]["resources"][f"max_{kind.lower()}s"] == most


def test_ray_launches_what_each_stage_asks_for(config: dict[str, Any]) -> None:
    """Decoding on CPU machines, networks and fits on GPU machines; spot first; on demand with the numbers turned."""
    decode, network = {"CPU": 0.5}, {"CPU": 1, "GPU": 1}
    assert launched(config) == {}
    assert launched(config, decode) == {"cpu.spot": 1}
    assert launched(config, *[decode] * 1000) == {"cpu.spot": 2, "gpu.spot": 2}, "no more than the maxima"
    assert launched(config, network) == {"gpu.spot": 1}
    assert launched(config, network, network, *[decode] * 40) == {"gpu.spot": 2}, "their own cores serve first"
    for kind in ("cpu", "gpu"):
        spot, ondemand = (config["available_node_types"][f"{kind}.{market}"] for market in ("spot", "ondemand"))
        spot["max_workers"], ondemand["max_workers"] = 0, spot["max_workers"]
    assert launched(config, decode, network) == {"gpu.ondemand": 1}
    assert launched(config, decode) == {"cpu.ondemand": 1}


def test_commands_are_shell_and_start_ray_with_options_that_it_has(config: dict[str, Any]) -> None:
    from ray.scripts.scripts import start

    keys = ("head_setup_commands", "worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands")
    for key in keys:
        for command in config[key]:
            subprocess.run(["bash", "-n", "-c", command], check=True)
    for key in keys[2:]:
        environment, _, line = config[key][-1].rpartition("; ")
        assert "export RAY_AUTH_MODE=token;" in environment
        words = shlex.split(line)
        assert words[:2] == ["ray", "start"]
        options = start.make_context("ray start", words[2:]).params
        assert options["object_spilling_directory"] == "$HOME/spill"
        assert options["head"] == key.startswith("head")


def test_packages_come_from_pyproject_with_one_ray(config: dict[str, Any]) -> None:
    import tomllib

    (install,) = [command for command in config["worker_setup_commands"] if "pip install" in command]
    for words in ("-r ~/pyproject.toml", "-c ~/requirements.lock"):
        assert words in install
        assert (PROJECT / config["file_mounts"][words[3:]]).is_file()
    wanted = Requirement(next(word for word in shlex.split(install) if word.startswith("ray[")))
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    (allowed,) = [Requirement(line) for line in project["dependencies"] if line.startswith("ray[")]
    (pin,) = wanted.specifier
    assert pin.operator == "=="
    assert allowed.specifier.contains(pin.version)
    assert wanted.extras == allowed.extras


def test_the_token_goes_to_all_nodes_and_no_secret_stands_in_the_file(config: dict[str, Any]) -> None:
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    text = (PROJECT / "cluster.yaml").read_text()
    secrets = r"(AKIA|ASIA)[A-Z0-9]{16}|aws_credentials|BEGIN .*KEY|RAY_AUTH_TOKEN\b|\b[0-9a-f]{32,}\b"
    assert not re.search(secrets, text)
    assert not re.search(r"\b\d{12}\b", text), "an account's number"


def test_aws_accepts_what_ray_makes_of_it(
    written: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ray up`'s bootstrap and one launch of each type, against moto's AWS."""
    moto, boto3 = pytest.importorskip("moto"), pytest.importorskip("boto3")
    from ray.autoscaler._private.commands import _bootstrap_config
    from ray.autoscaler._private.providers import _get_node_provider

    for key, value in {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(key, value)
    region = written["provider"]["region"]
    with moto.mock_aws():
        for profile in ("affine-features-head", "affine-features-worker"):
            boto3.client("iam").create_instance_profile(InstanceProfileName=profile)
        ec2 = boto3.client("ec2", region)
        image = ec2.describe_images()["Images"][0]["ImageId"]  # moto doesn't resolve the public parameter
        config = _bootstrap_config(written, no_config_cache=True)
        provider = _get_node_provider(config["provider"], config["cluster_name"])
        for name, node in config["available_node_types"].items():
            assert node["node_config"]["ImageId"].startswith("resolve:ssm:/aws/service/")
            provider.create_node(node["node_config"] | {"ImageId": image}, {"ray-user-node-type": name}, 1)
        found = {}
        for reservation in ec2.describe_instances()["Reservations"]:
            for instance in reservation["Instances"]:
                (name,) = [tag["Value"] for tag in instance["Tags"] if tag["Key"] == "ray-user-node-type"]
                role = instance["IamInstanceProfile"]["Arn"].rpartition("/")[2]
                found[name] = (instance["InstanceType"], instance.get("InstanceLifecycle"), role)
        groups = ec2.describe_security_groups()["SecurityGroups"]
    worker = "affine-features-worker"
    assert found == {
        "head": ("m7i.xlarge", None, "affine-features-head"),
        "cpu.spot": ("m6id.4xlarge", "spot", worker),
        "cpu.ondemand": ("m6id.4xlarge", None, worker),
        "gpu.spot": ("g6e.4xlarge", "spot", worker),
        "gpu.ondemand": ("g6e.4xlarge", None, worker),
    }
    # AWS's own numbers of cores and GPUs, which Ray looks up, but for the head's.
    for name, node in config["available_node_types"].items():
        assert node["resources"]["CPU"] == (0 if name == "head" else 16)
        assert node["resources"].get("GPU", 0) == (1 if name.startswith("gpu") else 0)
    (group,) = [group for group in groups if group["GroupName"].startswith("ray-autoscaler")]
    open_to_all = [rule for rule in group["IpPermissions"] if rule["IpRanges"]]
    assert [(rule["FromPort"], rule["ToPort"]) for rule in open_to_all] == [(22, 22)]


def test_an_upload_holds_the_code_and_experiments_and_nothing_else(tmp_path: Path) -> None:
    """With Ray's own packaging, of a checkout in use."""
    from ray._private.ray_constants import get_runtime_env_default_excludes
    from ray._private.runtime_env.packaging import _zip_files

    checkout = tmp_path / "checkout"
    for folder in ("jobs", "lib", "tests", ".ci", ".readme"):
        shutil.copytree(PROJECT / folder, checkout / folder)
    for name in (".gitignore", ".rayignore", "README.md", "cluster.yaml", "pyproject.toml"):
        shutil.copy(PROJECT / name, checkout / name)
    code = {str(path.relative_to(PROJECT)) for folder in ("jobs", "lib") for path in (PROJECT / folder).rglob("*.*")}
    code = {name for name in code if "__pycache__" not in name}
    code -= {f"jobs/cluster/{name}" for name in ("entrypoint.sh", "rayjob.yaml", "requirements.lock")}
    assert {"jobs/pipeline.py", "jobs/experiments/paper.toml", "lib/maps/affine.py"} <= code
    for name in (
        ".git/HEAD", ".venv/bin/python", "env/pyvenv.cfg", "runs/demo/results.json", "photos/train/n1/a.JPEG",
        "weights.safetensors", "build/lib/x.py", "affine_features.egg-info/PKG-INFO", ".pytest_cache/x", ".env",
        "lib/__pycache__/maps.cpython-311.pyc", "jobs/experiments/__pycache__/x.pyc", "nohup.out",
    ):  # fmt: skip
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_bytes(os.urandom(2**20))
    (checkout / "mine.toml").write_text("[images]\n")
    package = tmp_path / "package.zip"
    _zip_files(str(checkout), get_runtime_env_default_excludes(), str(package), include_gitignore=False)
    assert set(zipfile.ZipFile(package).namelist()) == code | {"pyproject.toml", "mine.toml"}
    assert package.stat().st_size < 2 * 2**20, "1 MiB is one file that does not belong there; the code has 1.2 MiB"
