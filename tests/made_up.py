"""A results.json with every key, counted from made-up predictions, so that all its counts fit each other."""

from __future__ import annotations

import io
from itertools import combinations, permutations
from typing import Any

import numpy as np
from PIL import Image
from scipy import stats

from lib.evaluation.losses import Pairing
from lib.evaluation.regions import count_regions

CLASSES, IMAGES = 40, 3000
FAMILIES = ("least_squares", "orthogonal", "classifiers")
Pair = tuple[str, str]


def results(accuracies: dict[str, float], useless: str = "", class_name: str = "kind {}") -> dict[str, Any]:
    """Networks of these accuracies; what is mapped from `useless` is guessed."""
    random = np.random.default_rng(0)
    label = random.integers(0, CLASSES, IMAGES)
    hard = random.random(IMAGES)
    own = {name: hard + 0.2 * random.standard_normal(IMAGES) < accuracy for name, accuracy in accuracies.items()}
    mapped = {}
    for source, target in permutations(accuracies, 2):
        mixed = np.where(random.random(IMAGES) < 0.6, own[target], own[source]) & (random.random(IMAGES) < 0.97)
        mapped[source, target] = random.random(IMAGES) < 1 / CLASSES if source == useless else mixed
    mappings = [_mapping(pair, own, right, label, class_name, random) for pair, right in mapped.items()]
    loss = {(mapping["source"], mapping["target"]): mapping["loss"] for mapping in mappings}
    return {
        "experiment": "made-up",
        "images": {"val": {"listed": IMAGES + 1, "extracted": IMAGES, "rejected": 1, "reasons": {"truncated": 1}}},
        "networks": {
            name: {
                "feature_size": 32 if name == useless else 64,
                "classes": CLASSES,
                **counted(right),
                "gives": float(np.mean([points for pair, points in loss.items() if pair[0] == name])),
                "takes": float(np.mean([points for pair, points in loss.items() if pair[1] == name])),
            }
            for name, right in own.items()
        },
        "mappings": mappings,
        "families": [_family(mapping, family, k) for mapping in mappings for k, family in enumerate(FAMILIES)],
        "ranks": [
            entry(mapping, loss=mapping["loss"] + 70 / k, rank=k) for mapping in mappings for k in (1, 2, 4, 8, 16, 32)
        ],
        "learning_curve": [
            entry(mapping, loss=mapping["loss"] + 20_000 / rows, rows=rows, family="affine")
            for mapping in mappings
            for rows in (1250, 2500, 5000, 10_000, 20_000)
        ],
        "order": sorted(accuracies, key=lambda name: accuracies[name]),
        "measures": [
            {"a": a, "b": b, "cka": 0.71, "neighbours": 0.31, "neighbours_by_chance": 0.005, "k": 10, "rows": IMAGES}
            for a, b in combinations(accuracies, 2)
        ],
        "published": [],
        "settings": {"seed": 1, "networks": {name: {"model": f"{name}.tv_in1k"} for name in accuracies}},
        "versions": {"ray": "2.60"},
    }


def counted(right: np.ndarray) -> dict[str, Any]:
    return {"correct": int(right.sum()), "total": len(right), "accuracy": float(right.mean())}


def _mapping(
    pair: Pair, own: dict[str, np.ndarray], right: np.ndarray, label: np.ndarray, name: str, random: np.random.Generator
) -> dict[str, Any]:
    source, target = pair
    pairing = Pairing.count(own[target], right)
    p = float(stats.binomtest(pairing.fixed, pairing.fixed + pairing.broken).pvalue)
    noise = random.normal(0, 0.15, 3)
    return {
        "source": source, "target": target, **counted(right), "loss": pairing.loss,
        "loss_ci95": list(pairing.interval95()), "fixed": pairing.fixed, "broken": pairing.broken, "fit_error": 0.11,
        "validation_error": 0.1234, "length_ratio": 1.23, "regions": count_regions(own[target], own[source], right),
        "family": "affine", "p_value": p, "p_holm": min(1.0, 12 * p), "cosine": 0.94, "r2": 0.81, "agreement": 0.85,
        "agreement_by_chance": 0.58, "consistency": 0.87, "consistency_by_chance": 0.6, "kappa": None,
        "seeds": [
            {
                "seed": k, "correct": 1, "total": IMAGES, "accuracy": 0.5, "loss": pairing.loss + move,
                "validation_error": 0.12,
            }
            for k, move in enumerate(noise)
        ],
        "loss_sd": float(noise.std(ddof=1)),
        "classes": [
            {
                "label": k,
                "name": None if k == 3 else name.format(k),
                "total": int((label == k).sum()),
                "own": int(own[target][label == k].sum()),
                "mapped": int(right[label == k].sum()),
            }
            for k in range(CLASSES)
        ],
    }  # fmt: skip


def entry(mapping: dict[str, Any], loss: float, **more: Any) -> dict[str, Any]:
    """One number of a curve."""
    kept = {key: mapping[key] for key in ("source", "target", "correct", "total", "accuracy", "validation_error")}
    return kept | {"loss": loss} | more


def _family(mapping: dict[str, Any], family: str, k: int) -> dict[str, Any]:
    keys = (
        "source",
        "target",
        "correct",
        "total",
        "accuracy",
        "loss",
        "loss_ci95",
        "fixed",
        "broken",
        "p_value",
        "p_holm",
    )
    error = (0.13, 0.2, 1.4)[k]
    kept = {key: mapping[key] for key in keys}
    fit_error = None if family == "classifiers" else error
    return kept | {
        "family": family, "fit_error": fit_error, "validation_error": error, "length_ratio": 1.0,
        "cosine": 1 - error / 2, "r2": float("nan") if k == 2 else 0.8,
    }  # fmt: skip


def examples(found: dict[str, Any], each: int = 3, word: str = "kind") -> list[dict[str, Any]]:
    """Fixed and broken images of each direction, coloured squares."""
    return [
        {
            "source": mapping["source"], "target": mapping["target"], "kind": kind, "image_id": f"val/{k:05d}.jpg",
            "label": k, "own": k + 1, "mapped": k,
            "label_name": f"{word} {k}" if k else None,
            "own_name": f"{word} {k + 1}" if k else None,
            "mapped_name": f"{word} {k}" if k else None,
            "jpeg": jpeg((40 * k, 90, 160) if kind == "fixed" else (180, 40 * k, 60)),
        }
        for mapping in found["mappings"]
        for kind in ("fixed", "broken")
        for k in range(each)
    ]  # fmt: skip


def jpeg(colour: tuple[int, int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (96, 72), colour).save(file, format="JPEG")
    return file.getvalue()


def curves(found: dict[str, Any]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    random = np.random.default_rng(1)
    iterations = np.arange(1, 5001)
    return {
        f"{mapping['source']} -> {mapping['target']}": (
            iterations,
            (0.1 + 0.02 * k + 1.5 * iterations**-0.5 + 0.01 * random.standard_normal(5000)).astype(np.float32),
        )
        for k, mapping in enumerate(found["mappings"])
    }
