"""What copies come from and go to: `python sink.py [delay_ms]` serves bytes of any number, and takes all that is put.

It plays the host of the outputs and as much of S3 as writing an object takes, so that a copy is not measured by what
an emulator of AWS can do. It prints its port, and ends with its standard input. It imports nothing of ours.
"""

import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DELAY_S = float(sys.argv[1]) / 1000 if len(sys.argv) > 1 else 0.0
BLOCK = bytes(1024 * 1024)
_PARTS = b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
_WHOLE = b'<CompleteMultipartUploadResult><ETag>"1"</ETag></CompleteMultipartUploadResult>'


class Handler(BaseHTTPRequestHandler):
    """Answers at once, or after the delay."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Give as many bytes as the last part of the path says, or as are wanted of them."""
        time.sleep(DELAY_S)
        left = int(self.path.rpartition("/")[2])
        self.send_response(200)
        self.send_header("Content-Length", str(left))
        self.end_headers()
        with suppress(ConnectionError):
            while left:
                left -= self.wfile.write(BLOCK[: min(left, len(BLOCK))])

    def do_PUT(self) -> None:
        """Take an object, or a part of one."""
        self._take(b"")

    def do_POST(self) -> None:
        """Begin an object in parts, or end it; or hear something."""
        self._take(_PARTS if "uploads" in self.path else _WHOLE)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _take(self, answer: bytes) -> None:
        left = int(self.headers.get("Content-Length", 0))
        while left:
            left -= len(self.rfile.read(min(left, len(BLOCK))))
        time.sleep(DELAY_S)
        self.send_response(200)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.server_port, flush=True)
        sys.stdin.read()
