"""An S3 server on this machine, and a proxy before it that answers some requests with errors."""

from __future__ import annotations

import http.client
import http.server
import itertools
import logging
import threading
from collections.abc import Callable
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

KEY, SECRET = "AKIAPROJECTTESTS0001", "top/secret+of/these/tests0123456789abcdef"  # a key of AWS's look
HOPS = {"connection", "content-length", "date", "server", "transfer-encoding", "expect"}  # not to be passed on
DENIED = (403, "AccessDenied")
BUSY = itertools.cycle([(503, "SlowDown"), (500, "InternalError")])

Answer = tuple[int, str]  # HTTP status, S3's code
Rule = Callable[[str, str], Answer | None]  # of method and path; None passes the request on


class Store:
    """`endpoint` is the proxy's; `client` (boto3) goes to the server itself. `rule` decides over each request."""

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self.server.start()
        host, self.port = self.server.get_host_and_port()
        self.client: Any = boto3.client(
            "s3", region_name="us-east-1", endpoint_url=f"http://{host}:{self.port}",
            aws_access_key_id=KEY, aws_secret_access_key=SECRET,
        )  # fmt: skip
        self.client.create_bucket(Bucket="bucket")
        self.rule: Rule = passed
        self.log: list[tuple[str, str, int]] = []  # method, path, status
        self.sent = 0  # bytes of all answers
        self.proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Proxy,), {"store": self}))
        self.proxy.daemon_threads = True
        threading.Thread(target=self.proxy.serve_forever, daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self.proxy.server_port}"

    def environment(self) -> dict[str, str]:
        """What a process needs to work with it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def keys(self, prefix: str = "") -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def get(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket="bucket", Key=key)["Body"].read())

    def put(self, key: str, data: bytes, **more: str) -> None:
        self.client.put_object(Bucket="bucket", Key=key, Body=data, **more)

    def clear(self) -> None:
        self.rule = passed
        for key in self.keys():
            self.client.delete_object(Bucket="bucket", Key=key)
        self.log.clear()
        self.sent = 0

    def stop(self) -> None:
        self.proxy.shutdown()
        self.proxy.server_close()
        self.client.close()
        self.server.stop()


def passed(method: str, path: str) -> Answer | None:
    return None


def every(n: int) -> Rule:
    """Each n-th request is answered with 503 SlowDown or 500, in turn."""
    count = itertools.count(1)
    return lambda method, path: next(BUSY) if next(count) % n == 0 else None


def first(times: int) -> Rule:
    """Each request is refused so many times before it is answered."""
    seen: dict[tuple[str, str], int] = {}

    def rule(method: str, path: str) -> Answer | None:
        seen[method, path] = seen.get((method, path), 0) + 1
        return next(BUSY) if seen[method, path] <= times else None

    return rule


class Proxy(http.server.BaseHTTPRequestHandler):
    """One request: passed on, or answered with the error that the store's rule says."""

    protocol_version = "HTTP/1.1"
    store: Store

    def log_message(self, *arguments: object) -> None:
        pass

    def forward(self) -> None:
        body = self.body()
        refused = self.store.rule(self.command, self.path)
        status, headers, content = error(*refused) if refused else self.passed_on(body)
        self.store.log.append((self.command, self.path, status))
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.store.sent += len(content)
            self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = forward  # noqa: N815 - http.server's names

    def body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def passed_on(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.store.port)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOPS}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in HOPS]
            length = answer.getheader("Content-Length") if self.command == "HEAD" else None
            return answer.status, [*kept, ("Content-Length", length or str(len(content)))], content
        finally:
            connection.close()


def error(status: int, code: str) -> tuple[int, list[tuple[str, str]], bytes]:
    """As S3 says it; the text is longer than many things that are read."""
    text = f"<Message>Please reduce your request rate.</Message><RequestId>{'0' * 300}</RequestId>"
    content = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code>{text}</Error>'.encode()
    return status, [("Content-Type", "application/xml"), ("Content-Length", str(len(content)))], content
