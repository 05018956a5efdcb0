"""Every kind of network that timm has, on the meta device: split, a source only, or refused in words.

timm's names fall into kinds by their module, the layers that their configs call the classifier, and whether they have
classes at all. The network with the smallest-sounding name stands for its kind.
"""

import pytest
import timm
import torch
from timm.models._registry import _model_to_module

from lib.errors import NetworkError
from lib.experiment.network_settings import NetworkSettings
from lib.networks.costs import network_cost
from lib.networks.timm_networks import timm_backbone

SMALL = ("test", "femto", "atto", "pico", "nano", "xxt", "tiny", "_t", "xxs", "xs", "small", "_s", "18", "b0", "base")
Kind = tuple[str, str, bool]


def kinds() -> dict[Kind, list[str]]:
    """All of timm's names by kind."""
    found: dict[Kind, list[str]] = {}
    for name in timm.list_models():
        config = timm.models.get_pretrained_cfg(name)
        kind = (_model_to_module[name], str(config and config.classifier), bool(config) and config.num_classes == 0)
        found.setdefault(kind, []).append(name)
    return found


def smallest(names: list[str]) -> str:
    """The name that sounds smallest."""
    ranked = [
        (next((k for k, word in enumerate(SMALL) if word in name), len(SMALL)), len(name), name) for name in names
    ]
    return min(ranked)[2]


def outcome(name: str) -> str:
    """ "split", or why not; "refused: ..." if it gives no features either."""
    settings = NetworkSettings(model=name, weights="random")
    try:
        with torch.device("meta"):
            backbone = timm_backbone(name, settings)
            size = network_cost(name, settings).feature_size
    except NetworkError as error:
        return f"refused: {error}"
    if backbone.head is None:
        return backbone.headless
    backbone.model.eval()
    with torch.inference_mode():
        output = backbone.output(torch.empty(2, *backbone.config["input_size"], device="meta"))
    weight = backbone.head.weight
    assert tuple(weight.shape[:2]) == (output.shape[1], size), name
    return "split"


PROJECTIONS = {"resnet50_clip", "vitamin_small_224"}
SEVERAL = {
    "crossvit_tiny_240", "deit_tiny_distilled_patch16_224", "efficientformer_l1", "efficientformerv2_s0",
    "efficientvim_m1", "efficientvim_m1_dist", "levit_128", "levit_384_s8", "pit_ti_distilled_224", "swiftformer_xs",
}  # fmt: skip
NOT_LINEAR = {"caformer_s18", "cpubone_nano", "iformer_l_distilled", "iformer_t", "repvit_m1"}
NO_FEATURES = {"deepseek_vit_412m_enc", "qwen3_vit_88m_enc"}  # encoders for language models, which pool nothing


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_each_kind_of_timms_networks_is_split_or_a_source_or_refused_in_words() -> None:
    """120 kinds of all names, of timm 1.0.31; other versions may have more."""
    every = kinds()
    found = {smallest(names): outcome(smallest(names)) for names in every.values()}
    none = {smallest(names) for kind, names in every.items() if kind[2]} - NO_FEATURES
    expected = {
        "projection into": PROJECTIONS,
        "classifiers, whose scores it averages": SEVERAL,
        "must be one Linear layer": NOT_LINEAR,
        "it has no classifier (num_classes = 0)": none,
        "refused: ": NO_FEATURES,
    }
    for words, names in expected.items():
        assert {name for name, why in found.items() if words in why} == names & set(found)
    others = set().union(*expected.values())
    assert {name for name, why in found.items() if why == "split"} == set(found) - others


@pytest.mark.parametrize("name", ["pit_ti_224", "tnt_s_patch16_224", "deit_tiny_distilled_patch16_224"])
def test_a_dry_run_counts_networks_whose_tensors_are_made_of_parameters(name: str) -> None:
    assert network_cost(name, NetworkSettings(model=name, weights="random", classifier="none")).multiply_adds > 1e8
