"""A web server on this machine, and images in each of the formats that it may serve."""

from __future__ import annotations

import http.server
import io
import os
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

IMAGES = {f"n{k % 2}/{k}.jpg": os.urandom(2000) for k in range(6)}


def contents() -> dict[str, bytes]:
    """A tree, a listing, a shard and a Parquet file of the same images."""
    tar, parquet = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for name, data in IMAGES.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    pq.write_table(pa.table({"image": list(IMAGES.values()), "label": range(6)}), parquet)
    return {
        **{f"tree/{name}": data for name, data in IMAGES.items()},
        "list.csv": ("path,label\n" + "".join(f"tree/{name},0\n" for name in IMAGES)).encode(),
        "shards/0.tar": tar.getvalue(),
        "parquet/0.parquet": parquet.getvalue(),
    }


class Web(http.server.BaseHTTPRequestHandler):
    """Answers with files, whole or by range, as web servers do."""

    files: dict[str, bytes]
    ranges: list[str]

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        data = self.files.get(self.path.lstrip("/"))
        if data is None:
            self.send_error(404)
            return
        asked, tag = self.headers.get("Range"), f'"{hash(data)}"'
        if asked and self.command == "GET":
            first, last = (int(part) for part in asked.removeprefix("bytes=").split("-"))
            self.ranges.append(asked)
            piece = data[first : last + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{first + len(piece) - 1}/{len(data)}")
        else:
            piece = data
            self.send_response(200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(piece)))
        self.send_header("ETag", tag)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(piece)

    do_HEAD = do_GET  # noqa: N815


@contextmanager
def serving(kind: type[Web]) -> Iterator[tuple[str, type[Web]]]:
    """A server with these files: its address, and the handler that knows what was asked."""
    handler = type("Handler", (kind,), {"files": contents(), "ranges": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler
    finally:
        server.shutdown()
        server.server_close()
