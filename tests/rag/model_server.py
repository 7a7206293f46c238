"""A model server on this machine that answers as the test says.

Speaks enough of OpenAI's API over real HTTP for the real client: chat, streams,
embeddings, and every way of failing.
"""

import base64
import json
import struct
import sys
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Quiet(ThreadingHTTPServer):
    """A client that hangs up is what some tests are about, and no error here."""

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class ModelServer:
    """Serves scripted replies, then sensible ones; keeps what was asked."""

    def __init__(self):
        self.requests = []
        self.headers = []
        self.script = deque()
        self.dim = 4
        self.floats_only = False
        self.shuffle = False
        self._lock = threading.Lock()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                size = int(self.headers["content-length"])
                body = json.loads(self.rfile.read(size))
                with owner._lock:
                    owner.requests.append((self.path, body))
                    owner.headers.append(
                        {name.lower(): value for name, value in self.headers.items()}
                    )
                    reply = owner.script.popleft() if owner.script else None
                (reply or owner.sensible(self.path, body))(self)

            def log_message(self, *args):
                pass

        self._http = _Quiet(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def close(self):
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def then(self, *replies):
        """Answer the next requests so, one after the other."""
        self.script.extend(replies)

    def sensible(self, path, body):
        if path.endswith("/embeddings"):
            return self._embeddings(body)
        asked = body["messages"][-1]["content"]
        if body.get("stream"):
            return stream(["You ", "asked: ", asked])
        return chat(f"You asked: {asked}")

    def _embeddings(self, body):
        if self.floats_only and body.get("encoding_format") == "base64":
            return failure(400, "encoding_format base64 is not supported")
        data = []
        for index, text in enumerate(body["input"]):
            vector = vector_of(text, self.dim)
            packed = struct.pack(f"<{self.dim}f", *vector)
            as_text = body.get("encoding_format") == "base64"
            data.append(
                {
                    "object": "embedding",
                    "index": index,
                    "embedding": base64.b64encode(packed).decode()
                    if as_text
                    else vector,
                }
            )
        if self.shuffle:
            data.reverse()
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        return reply(
            200, {"object": "list", "model": "m", "data": data, "usage": usage}
        )


def vector_of(text, dim=4):
    """The vector the server gives a text: it tells lengths and first letters."""
    values = [float(len(text)), float(ord(text[0])) / 128, 1.0, -1.0]
    return (values * dim)[:dim]


def reply(status, body, headers=None):
    def send(handler):
        data = json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)

    return send


def failure(status, message, headers=None):
    return reply(status, {"error": {"message": message, "type": "x"}}, headers)


def raw(body, kind="application/json", status=200):
    """Send bytes as they are."""

    def send(handler):
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return send


def tool_call(id, name, arguments):
    """A call of a tool, as a model asks for it; arguments are text or data."""
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments)
    function = {"name": name, "arguments": arguments}
    return {"id": id, "type": "function", "function": function}


def chat(text, usage=(7, 3), calls=(), refusal=None):
    """Answer with a text, or with tools to call."""
    message = {"role": "assistant", "content": text}
    if refusal:
        message["refusal"] = refusal
    if calls:
        message["tool_calls"] = list(calls)
    body = {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
    }
    if usage:
        body["usage"] = {
            "prompt_tokens": usage[0],
            "completion_tokens": usage[1],
            "total_tokens": sum(usage),
        }
    return reply(200, body)


def stream(pieces, cut=False, usage=(5, 3), stall=None):
    """Send pieces as a stream that ends with the usage, or breaks off.

    A piece is a text, a whole ``delta``, or bytes to send as they are. With `stall`,
    an event, nothing more comes until it is set.
    """

    def event(choices, usage=None):
        body = {
            "id": "1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
            "choices": choices,
            "usage": usage,
        }
        return f"data: {json.dumps(body)}\n\n".encode()

    def send(handler):
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()

        def chunk(data):
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            handler.wfile.flush()

        for piece in pieces:
            if isinstance(piece, bytes):
                chunk(piece)
                continue
            delta = {"content": piece} if isinstance(piece, str) else piece
            chunk(event([{"index": 0, "delta": delta}]))
        if stall is not None:
            stall.wait(30)
        if cut or stall is not None:
            # No closing chunk: for the client the connection is lost.
            handler.close_connection = True
            return
        if usage:
            counted = {
                "prompt_tokens": usage[0],
                "completion_tokens": usage[1],
                "total_tokens": sum(usage),
            }
            chunk(event([], counted))
        chunk(b"data: [DONE]\n\n")
        handler.wfile.write(b"0\r\n\r\n")

    return send


def hang(release):
    """Answer only after `release` is set: to the client, a server gone silent."""

    def send(handler):
        release.wait(30)
        handler.close_connection = True

    return send
