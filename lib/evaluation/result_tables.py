"""Tables beside results.json: they hold what grows with pairs of networks x kinds of map, classes or images."""

from __future__ import annotations

import pyarrow as pa

from lib.evaluation.regions import REGIONS

PAIR = [("source", pa.string()), ("target", pa.string())]

# maps.parquet: a row for every map, the main ones included. Each column is what lib.evaluation.results.MapResults says.
MAPS = pa.schema(
    [
        *PAIR,
        ("variant", pa.string()),
        ("family", pa.string()),
        ("seed", pa.int64()),  # added to the experiment's; null unless the map is fitted with random numbers
        ("rank", pa.int64()),  # null for full rank
        ("share", pa.float64()),  # of the training rows
        ("rows", pa.int64()),  # training rows; null if the map is not fitted to rows, or in batches
        ("correct", pa.int64()),
        ("total", pa.int64()),
        ("accuracy", pa.float64()),
        ("accuracy_ci95", pa.list_(pa.float64(), 2)),
        ("chance", pa.float64()),
        ("p_chance", pa.float64()),
        ("p_chance_holm", pa.float64()),  # corrected p are null for points of curves and for seeds beside the first
        ("loss", pa.float64()),
        ("loss_ci95", pa.list_(pa.float64(), 2)),
        ("loss_ci90", pa.list_(pa.float64(), 2)),
        ("p_value", pa.float64()),
        ("p_holm", pa.float64()),
        ("p_equivalent", pa.float64()),
        ("p_equivalent_holm", pa.float64()),
        ("fixed", pa.int64()),
        ("broken", pa.int64()),
        ("fit_error", pa.float64()),
        ("validation_error", pa.float64()),
        ("length_ratio", pa.float64()),
        ("undirected", pa.int64()),
        ("cosine", pa.float64()),
        ("r2", pa.float64()),
        ("skill", pa.float64()),
        ("regions", pa.struct([(region, pa.int64()) for region in REGIONS])),
    ]
)
# classes/<target>.parquet: a row for each class of each source. own and mapped are images that are right.
CLASSES = pa.schema(
    [
        *PAIR,
        ("label", pa.int32()),
        ("name", pa.string()),
        ("total", pa.int32()),
        ("own", pa.int32()),
        ("mapped", pa.int32()),
        ("p_value", pa.float64()),
        ("q_value", pa.float64()),  # corrected for all classes of the pair
        ("shrunken_loss", pa.float64()),  # points
    ]
)
# examples.parquet: images that a mapping fixed or broke.
EXAMPLES = pa.schema(
    [
        *PAIR,
        ("kind", pa.string()),  # "fixed" or "broken"
        ("image_id", pa.string()),
        ("label", pa.int32()),
        ("own", pa.int32()),  # class predicted with the target's own features
        ("mapped", pa.int32()),  # class predicted with mapped features
        ("label_name", pa.string()),
        ("own_name", pa.string()),
        ("mapped_name", pa.string()),
    ]
)
# thumbnails.parquet: the images of the examples, each once. jpeg is null if an image can't be read any more.
THUMBNAILS = pa.schema([("image_id", pa.string()), ("jpeg", pa.binary())])
# directions.parquet: a row for each band of the target's principal directions, under a pair's main map.
DIRECTIONS = pa.schema(
    [
        *PAIR,
        ("first", pa.int64()),  # direction of the band, from 1, that with the most variance
        ("last", pa.int64()),
        ("variance", pa.float64()),  # the band's share, 0..1
        ("r2", pa.float64()),
    ]
)
# retrieval.parquet: a row for each map whose queries were looked up in the target's index, of the same images for all.
RETRIEVAL = pa.schema(
    [
        *PAIR,
        ("variant", pa.string()),
        ("training_rows", pa.int64()),  # null if the map is fitted in batches of all rows
        ("recall_at_1", pa.float64()),  # as lib.evaluation.results.Retrieval says
        ("recall_at_10", pa.float64()),
        ("mean_rank", pa.float64()),
        ("neighbours_at_1", pa.float64()),
        ("neighbours_at_10", pa.float64()),
        ("rows", pa.int64()),  # images that are ranked
    ]
)
# subsets.parquet: a row for each draw of a share of the training rows, least_squares; number 0 is that of maps.parquet.
SUBSETS = pa.schema(
    [
        *PAIR,
        ("share", pa.float64()),
        ("subset", pa.int64()),
        ("rows", pa.int64()),
        ("correct", pa.int64()),
        ("total", pa.int64()),
        ("accuracy", pa.float64()),
        ("loss", pa.float64()),
        ("validation_error", pa.float64()),
    ]
)
