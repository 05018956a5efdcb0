"""The experiment file: what is allowed is read, everything else is refused by the name of its field."""

from pathlib import Path

import pytest
from project import EXPERIMENTS

from lib.errors import ExperimentError
from lib.experiment.loading import load_experiment, load_network


@pytest.mark.parametrize("name", [path.stem for path in EXPERIMENTS.glob("*.toml")])
def test_experiments_that_come_with_the_project_are_valid(name: str) -> None:
    assert load_experiment(name, [], EXPERIMENTS).name == name


def test_one_network_is_of_an_experiment_or_a_model_of_any_library() -> None:
    assert load_network("lite:lite0", [], EXPERIMENTS)[1].model == "tf_efficientnet_lite0"
    for model in ("resnet18", "torchvision:resnet18", "hf-hub:timm/resnet18.a1_in1k", "open_clip:ViT-B-32"):
        assert load_network(model, ["weights=random"], EXPERIMENTS)[1].model == model
    with pytest.raises(ExperimentError, match="lite has no network 'lite1': it has lite0, lite2"):
        load_network("lite:lite1", [], EXPERIMENTS)


def test_paper_has_the_papers_hyperparameters() -> None:
    fit = load_experiment("paper", [], EXPERIMENTS).fit
    assert (fit.iterations, fit.batch_size, fit.learning_rate, fit.decay) == (100_000, 2048, 0.1, 1e-5)
    assert (fit.beta1, fit.beta2, fit.epsilon) == (0.9, 0.999, 1e-8)


def test_overrides_are_read_as_toml_else_as_strings() -> None:
    experiment = load_experiment(
        "lite", ["fit.iterations=7", "images.train=a/b.csv", "images.train.base=c", "extract.tf32=true"], EXPERIMENTS
    )
    assert experiment.fit.iterations == 7
    assert (experiment.images.train.location, experiment.images.train.base) == ("a/b.csv", "c")
    assert experiment.extract.tf32 is True


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("fit.iterations=0", ["fit.iterations", "greater than or equal to 1"]),
        ("fit.iterations=many", ["fit.iterations", "integer", "many"]),
        ("fit.workers=2049", ["fit", "workers: at most batch_size, 2048, not 2049"]),
        ("fit.speed=1", ["fit.speed", "unknown key", "Allowed: families", "iterations"]),
        ("fit.iteration=1", ["fit.iteration: unknown key. Did you mean 'iterations'? Allowed: families"]),
        ("extract.precision=int8", ["extract.precision", "bfloat16"]),
        ("networks.lite0.model=1", ["networks.lite0.model", "string"]),
        ("networks.lite0.preprocessing.crop=1", ["preprocessing.crop", "crop_pct"]),
        ("networks.a-to-b.model=x", ["a-to-b", "not"]),
        ("networks.lite0.title=lite2", ["networks: ['lite2'] would name two of them"]),
        ("networks.lite0.title=''", ["networks.lite0.title", "at least 1 character"]),
        (f"networks.lite0.title={'x' * 41}", ["networks.lite0.title", "at most 40 characters"]),
        ('networks.lite0.title="a\\nb"', ["networks.lite0.title", "one line of printable characters"]),
        ('title="\\u001b[31m"', ["title", "one line of printable characters"]),
        ("networks.lite0.twin_of=lite0", ["networks.lite0.twin_of: one of ['lite2'], not 'lite0'"]),
        (
            "networks.lite0.twin_of=lite2",
            ["networks.lite0.twin_of: 'lite2' is tf_efficientnet_lite2", "one architecture"],
        ),
        ("name=a/b", ["a/b", "letters"]),
        ("fit.iterations", ["key.path=value"]),
        ("seed.x=1", ["seed.x", "not a table"]),
    ],
)
def test_bad_values_are_refused_by_name(override: str, words: list[str]) -> None:
    overrides = ["seed=1", override]
    with pytest.raises(ExperimentError) as refusal:
        load_experiment("lite", overrides, EXPERIMENTS)
    for word in words:
        assert word in str(refusal.value)


def test_one_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.toml"
    path.write_text('[images]\ntrain = "a"\nval = "b"\n[networks.a]\nmodel = "resnet18"\n')
    with pytest.raises(ExperimentError, match="two or more"):
        load_experiment(str(path))


def test_unknown_experiment_names_those_that_exist() -> None:
    with pytest.raises(
        ExperimentError,
        match=r"Did you mean 'lite'\? Give a TOML file, or one of these names: demo, foundation, layers, lite, paper, "
        r"shift, sources, vectors",
    ):
        load_experiment("litt", [], EXPERIMENTS)


def test_root_is_put_into_locations_only_when_asked() -> None:
    demo = load_experiment("demo", [], EXPERIMENTS)
    assert demo.images.train.location == "{root}/pictures/train"
    assert demo.located("s3://b/demo").images.train.location == "s3://b/demo/pictures/train"
    assert demo.located("/r").networks["resnet"].weights == "/r/networks/resnet.safetensors"


def test_networks_cannot_have_the_names_of_other_columns() -> None:
    with pytest.raises(ExperimentError, match=r"\['label'\] are names of the tables' other columns"):
        load_experiment("lite", ['networks.label={model="test_resnet"}'], EXPERIMENTS)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("limit=true", ["limit", "integer"]),
        ("networks.lite0.preprocessing.input_size=1000000000", ["input_size", "8192"]),
        ("networks.lite0.preprocessing.std=[0.2, 0.0, 0.2]", ["std", "greater than 0"]),
        ("networks.lite0.preprocessing.mean=[nan, 0.0, 0.2]", ["mean", "finite"]),
        (f"fit.ranks={'[' * 5000}{']' * 5000}", ["fit.ranks", "nested too deep"]),
    ],
)
def test_values_that_would_fail_late_are_refused(override: str, words: list[str]) -> None:
    with pytest.raises(ExperimentError) as refusal:
        load_experiment("lite", [override], EXPERIMENTS)
    for word in words:
        assert word in str(refusal.value)


def test_a_file_that_is_nested_too_deep_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.toml"
    path.write_text(f"seed = {'[' * 5000}{']' * 5000}\n")
    with pytest.raises(ExperimentError, match=r"deep\.toml is nested too deep"):
        load_experiment(str(path))


@pytest.mark.parametrize("second", ["lite0.least_squares", "lite0.classifiers.x", "lite0.curve", "lite0.manifest"])
def test_networks_whose_files_would_have_one_name_are_refused(second: str) -> None:
    with pytest.raises(ExperimentError, match=rf"files of 'lite0' would have the names of those of '{second}'"):
        load_experiment("lite", [f'networks={{lite0={{model="a"}}, "{second}"={{model="b"}}}}'], EXPERIMENTS)


def test_dots_in_names_are_allowed_elsewhere() -> None:
    names = ["resnet50.a1_in1k", "resnet50", "resnet50.a2.least_squares"]
    networks = ", ".join(f'"{name}"={{model="a"}}' for name in names)
    assert list(load_experiment("lite", [f"networks={{{networks}}}"], EXPERIMENTS).networks) == names


def test_a_demo_with_twins_trains_each_network_twice() -> None:
    experiment = load_experiment("demo", ["demo.twins=true", "networks.resnet.title=Small"], EXPERIMENTS)
    assert list(experiment.networks) == ["inception", "resnet", "inception_twin", "resnet_twin"]
    twin = experiment.networks["resnet_twin"]
    assert (twin.twin_of, twin.model, twin.title) == ("resnet", "small_resnet", None)
    assert twin.weights == "{root}/networks/resnet_twin.safetensors"
    assert experiment.located("/r").networks.keys() == experiment.networks.keys()
    both = [("resnet", "resnet_twin"), ("resnet_twin", "resnet")]
    assert [pair for pair in experiment.twins() if "resnet" in pair] == both
    assert len(experiment.twins()) == 4
    assert load_experiment("demo", [], EXPERIMENTS).twins() == []


def test_a_twin_of_a_twin_is_refused() -> None:
    again = ['networks.third={model="small_resnet", options={num_classes=12}, twin_of="resnet_twin"}']
    with pytest.raises(ExperimentError, match="'resnet_twin' is a twin itself: name 'resnet'"):
        load_experiment("demo", ["demo.twins=true", *again], EXPERIMENTS)


def test_what_a_file_does_not_set_stays_unset_in_the_run(tmp_path: Path) -> None:
    experiment = load_experiment(
        "demo", ["images.eval.more={location='{root}/more', classes='{root}/names'}"], EXPERIMENTS
    )
    located = experiment.located("/r")
    assert located.images.val.model_fields_set == {"location"}
    assert located.images.eval["more"].classes == "/r/names"
    assert located.located("/other") == located
