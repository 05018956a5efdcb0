"""Map a whole table of vectors: MAP applied to each vector of FEATURES, written as Parquet under --out.

python -m jobs.apply runs/lite/maps/lite0-to-lite2.safetensors "embeddings/*.parquet" --out s3://bucket/mapped
python -m jobs.apply runs/lite/maps/lite0-to-lite2.safetensors "runs/lite/features/val/lite0+lite2" --vector lite0 --out mapped

FEATURES is a file, a folder, or a quoted pattern: Parquet with a column of ids and one of lists of numbers, .npy or a
.safetensors matrix beside a .txt of ids, or .safetensors vectors by id. A run that was stopped goes on.
"""  # noqa: E501 - one command, to be copied

from __future__ import annotations

import argparse
import sys

import pyarrow as pa
import ray
import torch

from jobs.cluster.arguments import add_address
from jobs.cluster.commands import exit_code, refuse_unwritable
from jobs.cluster.progress import wait_for
from jobs.cluster.runs import say
from jobs.cluster.starting import start_ray
from jobs.extraction.vector_pieces import pieces_there
from lib.errors import TableError
from lib.experiment.layout import manifest_in, part_in
from lib.maps.affine import AffineMap
from lib.storage.columns import column_vectors, vector_column
from lib.storage.files import files_below, for_all, read_bytes
from lib.storage.manifests import Artifact
from lib.storage.parquet import write_table
from lib.storage.records import FileRecord
from lib.storage.uris import check_uri, resolve
from lib.storage.vector_files import ID, VECTOR, Piece, file_versions, read_piece, vector_files, vector_size


def apply(map_uri: str, features: str, out: str, key: str = ID, vector: str | None = None) -> int:
    """Write the mapped vectors in parts, one for each piece of the files, and return how many rows were mapped.

    Returns 0 if that is finished. Raises TableError if the vectors have another length than the map takes.
    """
    files = vector_files(features)
    map_record = FileRecord.of(read_bytes(map_uri))
    M = AffineMap.load(map_uri)
    for file, size in zip(files, for_all(lambda file: vector_size(file, key, vector), files), strict=True):
        if size != M.d_A:
            raise TableError(f"{file}: vectors have {size} numbers, but {map_uri} takes {M.d_A}")
    made_from = {
        "map": map_record.digest,
        "files": file_versions(files),
        "key": key,
        "vector": vector,
    }
    artifact = Artifact(manifest_in(out), (out,), made_from)
    if not artifact.begin():
        return 0
    pieces = pieces_there(files, key, vector)
    written = set(files_below(out, ".parquet"))
    left = [number for number in range(len(pieces)) if resolve(part_in(out, number))[1] not in written]
    shared = ray.put(M)
    tasks = [map_piece.remote(shared, pieces[number], part_in(out, number)) for number in left]
    rows = sum(wait_for("apply", "parts", tasks)) if tasks else 0
    total = sum(piece.rows for piece in pieces)
    artifact.finish(total, pa.schema([(ID, pa.string()), (VECTOR, pa.list_(pa.float32(), len(M.bias)))]))
    say("apply", f"{total:,} vectors of {M.d_A} numbers became {len(M.bias)} each, in {out}")
    return rows or total


@ray.remote(num_cpus=1)
def map_piece(M: AffineMap, piece: Piece, uri: str) -> int:
    """Write one piece's mapped vectors, computed in float64, and return how many there are."""
    rows = read_piece(piece)
    vectors = torch.from_numpy(column_vectors(rows, VECTOR).copy()).double()
    mapped = M.to(torch.float64)(vectors).float().numpy()
    write_table(uri, pa.table({ID: rows[ID], VECTOR: vector_column(mapped)}))
    return len(rows)


def main(arguments: list[str] | None = None) -> int:
    """Run the command, and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("map", metavar="MAP", help="a .safetensors file that python -m jobs.fit wrote")
    parser.add_argument("features", metavar="FEATURES", help="files of vectors by id")
    parser.add_argument("--out", required=True, help="the folder to write: part-*.parquet and manifest.json")
    parser.add_argument("--key", default=ID, help="the column of ids, in Parquet (default: %(default)s)")
    parser.add_argument("--vector", help="the column or tensor with the vectors, if there are several")
    add_address(parser)
    options = parser.parse_args(arguments)

    def work() -> None:
        for uri in (options.map, options.features, options.out):
            check_uri(uri)
        refuse_unwritable(options.out)
        start_ray(options.address)
        if not apply(options.map, options.features, options.out, options.key, options.vector):
            print(f"Nothing to do: all of {options.out} is finished.", flush=True)

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
