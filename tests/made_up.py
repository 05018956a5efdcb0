"""Findings with every number, counted from made-up predictions, so that all counts fit each other."""

from __future__ import annotations

import io
from itertools import combinations, permutations
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image
from scipy import stats

from lib.evaluation.chance import accuracy_interval, chance_p
from lib.evaluation.classes import count_by_class
from lib.evaluation.losses import Pairing
from lib.evaluation.regions import count_regions
from lib.evaluation.result_tables import CLASSES as CLASSES_TABLE
from lib.evaluation.result_tables import DIRECTIONS, EXAMPLES, MAPS, SUBSETS
from lib.experiment.variants import SHARES, Variant
from lib.report.findings import Findings

CLASSES, IMAGES = 40, 3000
FAMILIES = ("least_squares", "orthogonal", "classifiers")
Pair = tuple[str, str]


def findings(accuracies: dict[str, float], useless: str = "", class_name: str = "kind {}", each: int = 3) -> Findings:
    """Networks of these accuracies; what is mapped from `useless` is guessed. `each` examples of a kind for a pair."""
    random = np.random.default_rng(0)
    label = random.integers(0, CLASSES, IMAGES)
    hard = random.random(IMAGES)
    own = {name: hard + 0.2 * random.standard_normal(IMAGES) < accuracy for name, accuracy in accuracies.items()}
    mapped = {}
    for source, target in permutations(accuracies, 2):
        mixed = np.where(random.random(IMAGES) < 0.6, own[target], own[source]) & (random.random(IMAGES) < 0.97)
        mapped[source, target] = random.random(IMAGES) < 1 / CLASSES if source == useless else mixed
    noise = {pair: random.normal(0, 0.15, 3) for pair in mapped}
    mappings = [_mapping(pair, own, right, noise[pair]) for pair, right in mapped.items()]
    loss = {(mapping["source"], mapping["target"]): mapping["loss"] for mapping in mappings}
    results: Any = {
        "experiment": "made-up",
        "images": {"val": {"listed": IMAGES + 1, "extracted": IMAGES, "rejected": 1, "reasons": {"truncated": 1}}},
        "networks": {
            name: {
                "feature_size": 32 if name == useless else 64,
                "classes": CLASSES,
                **counted(right),
                "from_itself": _control(right, 0.0, 0.01),
                "gives": float(np.mean([points for pair, points in loss.items() if pair[0] == name])),
                "takes": float(np.mean([points for pair, points in loss.items() if pair[1] == name])),
            }
            for name, right in own.items()
        },
        "mappings": mappings,
        "order": sorted(accuracies, key=lambda name: accuracies[name]),
        "measures": [
            {
                "a": a,
                "b": b,
                "cka": 0.71,
                "cka_unbiased": 0.69,
                "neighbours": 0.31,
                "neighbours_by_chance": 0.005,
                "procrustes_angle": 0.9,
                "cka_calibrated": {"value": 0.68, "p": 0.01, "threshold": 0.1, "calibrated": 0.64, "rows": 1000},
                "neighbours_calibrated": None,
                "k": 10,
                "rows": IMAGES,
            }
            for a, b in combinations(accuracies, 2)
        ],
        "published": [],
        "settings": {"seed": 1, "networks": {name: {"model": f"{name}.tv_in1k"} for name in accuracies}},
        "versions": {"ray": "2.60"},
    }
    names = [class_name.format(k) for k in range(CLASSES)]
    classes = {pair: count_by_class(pair, label, own[pair[1]], right, names) for pair, right in mapped.items()}
    shown = examples(mappings, each, class_name)
    place = {(mapping["source"], mapping["target"]): k for k, mapping in enumerate(mappings)}
    return Findings(
        results,
        pa.Table.from_pylist([row for mapping in mappings for row in _maps(mapping)], schema=MAPS),
        shown,
        {
            f"val/{kind}-{k:05d}.jpg": jpeg((40 * k % 255, 90, 160) if kind == "fixed" else (180, 40 * k % 255, 60))
            for kind in ("fixed", "broken")
            for k in range(each)
        },
        lambda target: pa.concat_tables(
            [CLASSES_TABLE.empty_table(), *(table for pair, table in classes.items() if pair[1] == target)]
        ),
        lambda source, target: error_curve(place[source, target]),
        subsets=pa.Table.from_pylist([row for mapping in mappings for row in _subsets(mapping)], schema=SUBSETS),
        bands=pa.Table.from_pylist([row for mapping in mappings for row in _bands(mapping)], schema=DIRECTIONS),
    )


def counted(right: np.ndarray) -> dict[str, Any]:
    return {"correct": int(right.sum()), "total": len(right), "accuracy": float(right.mean())}


def _mapping(pair: Pair, own: dict[str, np.ndarray], right: np.ndarray, noise: np.ndarray) -> dict[str, Any]:
    source, target = pair
    pairing = Pairing.count(own[target], right)
    p = float(stats.binomtest(pairing.fixed, pairing.fixed + pairing.broken).pvalue)
    return {
        "source": source, "target": target, **counted(right), "loss": pairing.loss,
        "loss_ci95": list(pairing.interval()), "loss_ci90": list(pairing.interval(0.1)),
        "loss_ci95_all": list(pairing.interval(0.05 / 12)), "p_equivalent": 0.3, "p_equivalent_holm": 0.6,
        "chance": 1 / CLASSES, "p_chance": chance_p(int(right.sum()), IMAGES, 1 / CLASSES),
        "p_chance_holm": min(1.0, 12 * chance_p(int(right.sum()), IMAGES, 1 / CLASSES)),
        "accuracy_ci95": list(accuracy_interval(int(right.sum()), IMAGES)), "undirected": 0, "skill": 0.7,
        "outcome": "different" if 12 * p < 0.05 else "undecided",
        "fixed": pairing.fixed, "broken": pairing.broken, "fit_error": 0.11,
        "validation_error": 0.1234, "length_ratio": 1.23, "regions": count_regions(own[target], own[source], right),
        "family": "affine", "p_value": p, "p_holm": min(1.0, 12 * p), "cosine": 0.94, "r2": 0.81, "agreement": 0.85,
        "agreement_by_chance": 0.58, "consistency": 0.87, "consistency_by_chance": 0.6, "kappa": None,
        "kappa_ci95": None,
        "loss_sd": float(noise.std(ddof=1)), "noise": noise.tolist(),
        "feature_fit": {
            "recall_at_1": 0.4, "recall_at_10": 0.8, "mean_rank": 5.2, "rows": IMAGES, "within_class_r2": 0.35,
        },
        "label_only": _control(right, pairing.loss, 0.9),
        "loss_variance": {"evaluation": 0.25, "training": 0.09, "seeds": None, "total": 0.34},
        "validation_error_variance": {"evaluation": 1e-6, "training": 4e-6, "seeds": None, "total": 5e-6},
    }  # fmt: skip


def _maps(mapping: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of maps.parquet of one pair: every family, three seeds, ranks, and a learning curve."""
    noise = mapping.pop("noise")
    main = {key: value for key, value in mapping.items() if key in MAPS.names}
    errors = dict(zip(FAMILIES, (0.13, 0.2, 1.4), strict=True))
    seeds = [_map(main, Variant("affine", seed=k), loss=main["loss"] + move) for k, move in enumerate(noise)]
    families = [
        _map(
            main, Variant(family), validation_error=error, cosine=1 - error / 2, length_ratio=1.0,
            fit_error=None, r2=None if family == "classifiers" else 0.8, rows=20_000,
        )
        for family, error in errors.items()
    ]  # fmt: skip
    ranks = [_map(main, Variant("least_squares", rank=k), loss=main["loss"] + 70 / k) for k in (1, 2, 4, 8, 16, 32)]
    shares = [
        _map(main, Variant("least_squares", share=share), rows=int(20_000 * share), loss=main["loss"] + 1 / share)
        for share in SHARES[:-1]
    ]
    return [*seeds, *families, *ranks, *shares]


def _subsets(mapping: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of subsets.parquet: four draws of each share of the training rows."""
    return [
        {key: mapping[key] for key in ("source", "target", "correct", "total", "accuracy", "validation_error")}
        | {"share": share, "subset": k, "rows": int(20_000 * share), "loss": mapping["loss"] + 1 / share + k}
        for share in SHARES[:-1]
        for k in range(4)
    ]


def _bands(mapping: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of directions.parquet: R² falls from 0.9 to below the figure."""
    return [
        {"source": mapping["source"], "target": mapping["target"], "first": last // 2 + 1, "last": last}
        | {"variance": 0.2, "r2": 0.9 - 0.4 * k}
        for k, last in enumerate((1, 2, 4, 8, 16, 24))
    ]


def _control(right: np.ndarray, loss: float, error: float) -> dict[str, Any]:
    return {**counted(right), "loss": loss, "validation_error": error}


def _map(main: dict[str, Any], variant: Variant, **others: Any) -> dict[str, Any]:
    described = {
        "variant": variant.name, "family": variant.family, "rank": variant.rank, "share": variant.share, "rows": None,
        "seed": variant.seed if variant.family == "affine" else None,
    }  # fmt: skip
    return main | described | others


def examples(mappings: list[dict[str, Any]], each: int, word: str) -> pa.Table:
    """Fixed and broken images of each direction."""
    rows = [
        {
            "source": mapping["source"], "target": mapping["target"], "kind": kind,
            "image_id": f"val/{kind}-{k:05d}.jpg",
            "label": k, "own": k + 1, "mapped": k,
            "label_name": word.format(k) if k else None,
            "own_name": word.format(k + 1) if k else None,
            "mapped_name": word.format(k) if k else None,
        }
        for mapping in mappings
        for kind in ("fixed", "broken")
        for k in range(each)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=EXAMPLES)


def jpeg(colour: tuple[int, int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (96, 72), colour).save(file, format="JPEG")
    return file.getvalue()


def error_curve(k: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(k)
    iterations = np.arange(1, 5001)
    errors = 0.1 + 0.02 * (k % 9) + 1.5 * iterations**-0.5 + 0.01 * random.standard_normal(5000)
    return iterations, errors.astype(np.float32)
