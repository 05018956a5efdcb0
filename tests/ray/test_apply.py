"""A whole table of vectors through a map, as a Ray job: each id gets its own mapped vector; a stopped run goes on."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from jobs.apply import apply
from lib.errors import ManifestMismatch, TableError
from lib.maps.affine import AffineMap


def test_each_id_gets_its_mapped_vector_and_what_is_written_stays(tmp_path: Path, local_ray: None) -> None:
    draw = np.random.default_rng(0)
    F, ids = draw.normal(size=(50, 6)).astype(np.float32), [f"t{k}" for k in range(50)]
    for part in range(2):
        table = pa.table({"id": ids[part::2], "e": pa.array(F[part::2].tolist(), pa.list_(pa.float32()))})
        pq.write_table(table, tmp_path / f"v{part}.parquet", row_group_size=10)
    M = AffineMap(torch.from_numpy(draw.normal(size=(4, 6))).float(), torch.arange(4.0))
    M.save(str(tmp_path / "m.safetensors"))
    named = (str(tmp_path / "m.safetensors"), str(tmp_path / "v*.parquet"), str(tmp_path / "out"), "id")
    assert apply(*named) == 50
    found = pa.concat_tables(map(pq.read_table, sorted((tmp_path / "out").glob("*.parquet"))))
    places = [ids.index(name) for name in found["image_id"].to_pylist()]
    assert sorted(places) == list(range(50))
    expected = F.astype(np.float64) @ M.weight.numpy().T.astype(np.float64) + M.bias.numpy()
    np.testing.assert_allclose(np.stack(found["vector"].to_numpy()), expected[places], rtol=1e-5, atol=1e-5)
    assert apply(*named) == 0, "finished"
    parts = sorted((tmp_path / "out").glob("part-*"))
    before = {part: part.stat().st_mtime_ns for part in parts}
    (tmp_path / "out" / "manifest.json").rename(tmp_path / "out" / "started.json")
    parts[2].unlink()
    assert apply(*named) == 5, "only what was missing: the last 5 of 25 rows, in row groups of 10"
    assert [part for part in parts if part.stat().st_mtime_ns != before[part]] == [parts[2]]
    AffineMap(2 * M.weight, M.bias).save(named[0])
    with pytest.raises(ManifestMismatch, match="map was"):
        apply(*named)
    AffineMap(torch.ones(4, 5), M.bias).save(str(tmp_path / "n.safetensors"))
    with pytest.raises(TableError, match=r"vectors have 6 numbers, but .* takes 5"):
        apply(str(tmp_path / "n.safetensors"), *named[1:])
