"""Images of a data set on the Hugging Face Hub: the real client, and a server on this machine."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from project import PROJECT
from web import IMAGES, Web, serving

COMMIT = "1" * 40
READ = """
import sys
from jobs.cluster.ending import end
from lib.experiment.settings import Split
from lib.images.fetching import read_images
from lib.images.listing import list_images
from lib.storage.probes import check_readable
check_readable(sys.argv[1])
listing = list_images(Split(location=sys.argv[1]))
images = read_images(listing)
print(sorted(image.hex() if isinstance(image, bytes) else repr(image) for image in images))
assert listing["version"].null_count == 0 and listing["path"][0].as_py().startswith("hf://"), listing
end(0)  # as commands end
"""


class Hub(Web):
    """The part of the Hub's interface by which its client lists a data set and reads files."""

    def answer(self, found: Any, status: HTTPStatus = HTTPStatus.OK) -> None:
        """Send JSON."""
        body = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def entries(self, folder: str, recursive: bool) -> list[dict[str, Any]]:
        """What lies in a folder: files with size and digest, and folders."""
        below = f"{folder}/" if folder else ""
        found = {}
        for name, data in self.files.items():
            first, *rest = name.removeprefix(below).split("/")
            if name.startswith(below) and (recursive or not rest):
                found[name] = self.file(name, data)
            elif name.startswith(below):
                found[below + first] = {"type": "directory", "path": below + first, "oid": COMMIT, "size": 0}
        return list(found.values())

    @staticmethod
    def file(name: str, data: bytes) -> dict[str, Any]:
        """What the Hub says of a file."""
        return {"type": "file", "path": name, "oid": f"{hash(data) % 16**40:040x}", "size": len(data)}

    def do_GET(self) -> None:
        """Answer what the client asks; reading is a web server's."""
        asked = urlsplit(self.path)
        path = unquote(asked.path).replace(f"/{COMMIT}", "/main")
        if self.headers.get("Authorization") != "Bearer hf_secret":
            self.answer({"error": "no token"}, HTTPStatus.UNAUTHORIZED)
        elif path in ("/api/datasets/some/set", "/api/datasets/some/set/revision/main"):
            self.answer({"_id": "1", "id": "some/set", "sha": COMMIT, "siblings": [], "tags": []})
        elif path.startswith("/api/datasets/some/set/tree/main"):
            folder = path.removeprefix("/api/datasets/some/set/tree/main").strip("/")
            found = self.entries(folder, parse_qs(asked.query).get("recursive") == ["true"])
            self.answer(found or {"error": "none"}, HTTPStatus.OK if found else HTTPStatus.NOT_FOUND)
        elif path.startswith("/datasets/some/set/resolve/main/"):
            self.path = path.removeprefix("/datasets/some/set/resolve/main")
            super().do_GET()
        else:
            self.answer({"error": path}, HTTPStatus.NOT_FOUND)

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        """Answer what lies at some paths."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.headers["Content-Type"].startswith("application/json"):
            names = json.loads(body)["paths"]
        else:
            names = parse_qs(body)["paths"]
        found = []
        for name in names:
            if name in self.files:
                found.append(self.file(name, self.files[name]))
            elif self.entries(name, True):
                found.append({"type": "directory", "path": name, "oid": COMMIT, "size": 0})
        self.answer(found)


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    """The server's address."""
    with serving(Hub) as (address, _):
        yield address


@pytest.mark.parametrize("place", ["tree", "shards", "parquet/*.parquet", "list.csv"])
def test_a_data_set_on_the_hub_is_listed_and_read(hub: str, place: str) -> None:
    environment = os.environ | {"HF_ENDPOINT": hub, "HF_TOKEN": "hf_secret", "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-c", READ, f"hf://datasets/some/set/{place}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == str(sorted(image.hex() for image in IMAGES.values()))


def test_a_data_set_that_asks_for_a_token_is_told(hub: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "HF_TOKEN"} | {"HF_ENDPOINT": hub}
    command = [sys.executable, "-c", READ, "hf://datasets/some/set/tree"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, env=environment, timeout=120)
    assert done.returncode
    assert "StorageError: cannot read hf://datasets/some/set/tree: Client error '401 Unauthorized'" in done.stderr
    assert "Check that you may list and read" in done.stderr
