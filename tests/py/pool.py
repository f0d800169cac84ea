"""The pool as tests see it: upstreams that speak OpenAI's API and remember exactly what they were sent, a gateway over
them, and a stream as its client reads it."""

import json
import random
import threading

from backend import Backend
from ports import unused_port
from waiting import DEADLINE, eventually
from wire import Closed

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
EMBEDDINGS = "/v1/embeddings"
USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
DONE = b"data: [DONE]\n\n"
SSE = [("Content-Type", "text/event-stream")]
WORDS = ["Hello", ", ", "wörld", "!"]


def chat(model="m", content="Hello", **more):
    """The body of a chat completion."""
    return {"model": model, "messages": [{"role": "user", "content": content}], **more}


def event(data):
    """One event of a stream."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return f"data: {text}\n\n".encode()


def chunk(delta, finish=None, **more):
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000, "model": "real",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}


FIRST = event(chunk({"role": "assistant", "content": "Hel"}))
SECOND = event(chunk({"content": "lo"}))
USAGE_CHUNK = event({**chunk({}), "choices": [], "usage": USAGE})


# ---- what an upstream does with a request


def answer(peer, request):
    """As a well-behaved provider: by route, plain or streamed, with usage where it was asked for."""
    asked = json.loads(request.body)
    if request.target.partition("?")[0].endswith("/embeddings"):
        peer.respond(200, {"object": "list", "model": asked["model"], "usage": {"prompt_tokens": 2, "total_tokens": 2},
                           "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -0.25]}]})
    elif asked.get("stream"):
        send_stream(peer, asked)
    elif "prompt" in asked:
        peer.respond(200, {"id": "cmpl-1", "object": "text_completion", "created": 1700000000, "model": asked["model"],
                           "choices": [{"index": 0, "text": "".join(WORDS), "finish_reason": "stop", "logprobs": None}],
                           "usage": USAGE})
    else:
        message = {"role": "assistant", "content": "".join(WORDS)}
        peer.respond(200, {"id": "chatcmpl-1", "object": "chat.completion", "created": 1700000000, "model": asked["model"],
                           "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": USAGE})


def send_stream(peer, asked):
    peer.begin_chunked(SSE)
    for word in WORDS:
        if "prompt" in asked:
            peer.chunk(event({"id": "cmpl-1", "object": "text_completion", "created": 1700000000, "model": asked["model"],
                              "choices": [{"index": 0, "text": word, "finish_reason": None, "logprobs": None}]}))
        else:
            peer.chunk(event(chunk({"content": word})))
    if "prompt" not in asked:
        peer.chunk(event(chunk({}, "stop")))
    if (asked.get("stream_options") or {}).get("include_usage"):
        peer.chunk(USAGE_CHUNK)
    peer.chunk(DONE)
    peer.send(b"0\r\n\r\n")


def fail(status, message="it does not work", fields=(), **more):
    """An error answer in OpenAI's shape."""

    def handler(peer, request):
        peer.respond(status, {"error": {"message": message, "type": "some_error", "param": None, "code": None, **more}}, fields)

    return handler


def streams(*events, end=True):
    """A stream of these events, then its proper end; or with end=False a connection that breaks."""

    def handler(peer, request):
        peer.begin_chunked(SSE)
        for one in events:
            peer.chunk(one)
        if end:
            peer.send(b"0\r\n\r\n")
        else:
            peer.reset()

    return handler


def drop(peer, request):
    """Closes without a byte."""
    peer.close()


def reset(peer, request):
    peer.reset()


def hang(peer, request):
    """Never answers; returns when the gateway gives up."""
    peer.is_closed()
    peer.close()


def in_turn(*handlers):
    """The first request gets the first of them, and so on; the last stays."""
    left = list(handlers)

    def handler(peer, request):
        (left.pop(0) if len(left) > 1 else left[0])(peer, request)

    return handler


class Hold:
    """A handler that keeps its requests until they are let go, and counts how many it had at once."""

    def __init__(self, then=answer):
        self.then = then
        self.changed = threading.Condition()
        self.inside = self.most = self.arrived = self.allowed = 0

    def __call__(self, peer, request):
        with self.changed:
            self.arrived += 1
            number = self.arrived
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.allowed >= number, DEADLINE * 3)
            self.inside -= 1
        self.then(peer, request)

    def wait(self, count):
        """`count` requests have come so far."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.arrived >= count, DEADLINE), f"{self.arrived} came, not {count}"

    def let_go(self, count=1):
        """The next `count` of them, in the order in which they came."""
        with self.changed:
            self.allowed += count
            self.changed.notify_all()

    def open(self):
        self.let_go(1 << 30)


# ---- upstreams


class Routes(dict):
    """Handlers by path; what ends in /models is the list, unless a test says otherwise."""

    def get(self, path, otherwise=None):
        known = self["/v1/models"] if path.endswith("/models") else otherwise
        return super().get(path, known)


class Upstream(Backend):
    """The server of one provider. `models`: what it lists; None = it has no such route."""

    def __init__(self, name, handler=answer, models=("m",), **options):
        super().__init__(handler, **options)
        self.name, self.models = name, models
        self.key = f"key-of-{name}"
        self.handlers = Routes({"/v1/models": self._list})

    def _list(self, peer, request):
        if self.models is None:
            peer.respond(404, {"error": {"message": "no such route"}})
        else:
            peer.respond(200, {"object": "list", "data": [{"id": model, "object": "model", "created": 1700000001,
                                                           "owned_by": self.name} for model in self.models]})

    def provider(self, **more):
        """Its entry in the configuration."""
        return {"name": self.name, "base_url": f"{self.url}/v1", "api_key": self.key, **more}

    @property
    def calls(self):
        """Requests for completions; lists and checks aside."""
        return [request for request in list(self.requests) if request.method != "GET"]

    @property
    def lists(self):
        return [request for request in list(self.requests) if request.method == "GET"]

    def wait_calls(self, count):
        return eventually(lambda: len(self.calls) >= count and self.calls, f"{count} calls of {self.name}")

    @property
    def last(self):
        return self.calls[-1]


class Pool:
    """Upstreams and the gateway over them."""

    def __init__(self, hestia):
        self.hestia = hestia
        self.opened = []

    def upstream(self, name="a", handler=answer, **options):
        self.opened.append(Upstream(name, handler, **options))
        return self.opened[-1]

    def upstreams(self, *names):
        return [self.upstream(name) for name in names]

    def start(self, *providers, env=None, arguments=("--listen", "127.0.0.1:0"), wait=True, **config):
        """A gateway over these upstreams or entries. Checks are off unless the configuration says otherwise."""
        return self.hestia(pool_config(*providers, **config), env=env, arguments=arguments, wait=wait)


def pool_config(*providers, routing=None, **config):
    entries = [one.provider() if isinstance(one, Upstream) else one for one in providers]
    return {**config, "providers": entries, "routing": {"health_check": {"enabled": False}, **(routing or {})}}


def closed_url():
    """Where nobody listens."""
    return f"http://127.0.0.1:{unused_port()}/v1"


def refusing(name="refusing", **more):
    """The entry of a provider that refuses connections."""
    return {"name": name, "base_url": closed_url(), "api_key": "key", **more}


# ---- the client's side


def ask(gateway, body=None, fields=(), path=CHAT):
    """One completion; `body` is a dict, or the exact bytes."""
    if isinstance(body, bytes):
        fields = [("Content-Type", "application/json"), *fields]
    return gateway.post(path, chat() if body is None else body, fields)


def served(response):
    """The provider that did."""
    assert response.status == 200, response
    return response.value("X-Hestia-Provider")


def providers(gateway):
    """GET /v1/providers by name."""
    response = gateway.get("/v1/providers")
    assert response.status == 200, response
    return {one["name"]: one for one in response.json["providers"]}


def wait_provider(gateway, name, what, condition):
    def reached():
        status = providers(gateway)[name]
        return status if condition(status) else None

    return eventually(reached, f"{name} {what}")


def models(gateway):
    response = gateway.get("/v1/models")
    assert response.status == 200, response
    return [model["id"] for model in response.json["data"]]


def wait_models(gateway, *wanted):
    """Until these, and no others, are listed (lists are fetched in the background)."""
    eventually(lambda: sorted(models(gateway)) == sorted(wanted), f"the models are {wanted}")


def events_of(response):
    """The data of every event of a whole stream; comments are left out."""
    assert response.value("Content-Type").startswith("text/event-stream"), response
    found = []
    for block in response.body.decode().replace("\r\n", "\n").split("\n\n"):
        lines = [line.partition(":")[2].removeprefix(" ") for line in block.split("\n") if line.startswith("data:")]
        if lines:
            found.append("\n".join(lines))
    return found


class Stream:
    """A streamed answer as its client reads it, event by event."""

    def __init__(self, gateway, body=None, fields=(), path=CHAT, connection=None):
        self.connection = connection or gateway.connect()
        body = json.dumps({**chat(), "stream": True} if body is None else body).encode()
        self.connection.request("POST", path, [("Content-Type", "application/json"), *fields], body)
        self.response = None
        self.text = b""
        self.ended = False

    def head(self):
        if self.response is None:
            self.response = self.connection.read_head()
        return self.response

    def next(self):
        """The next event or comment without its empty line; None at the end, complete or not."""
        head = self.head()
        assert head.value("Transfer-Encoding") == "chunked", head
        while b"\n\n" not in self.text and not self.ended:
            try:
                size = int(self.connection.read_until(b"\r\n"), 16)
                self.text += self.connection.read_exactly(size)
                self.connection.read_exactly(2)
                head.complete = self.ended = size == 0
            except Closed:
                self.ended = True
        if not self.text:
            return None
        found, _, self.text = self.text.partition(b"\n\n")
        return found

    def rest(self):
        """Everything up to the end."""
        found = []
        while (one := self.next()) is not None:
            found.append(one)
        return found

    def next_event(self):
        """The next that is no comment."""
        while (one := self.next()) is not None and one.startswith(b":"):
            pass
        return one

    def leave(self):
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()


def is_error_event(one):
    """The error in an event, or None."""
    for line in (one or b"").split(b"\n"):
        if line.startswith(b"data: {"):
            return json.loads(line[6:]).get("error")
    return None


def many(count, call, threads=16):
    """call(i) for every i below count, from several threads at once; the results in order."""
    results, errors, left = [None] * count, [], list(range(count - 1, -1, -1))

    def work():
        try:
            while True:
                try:
                    i = left.pop()
                except IndexError:
                    return
                results[i] = call(i)
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(min(threads, count))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(DEADLINE * 5)
        assert not worker.is_alive(), "a call did not end"
    if errors:
        raise errors[0]
    return results


def at_times(rate, bad, otherwise=answer, seed=7):
    """A handler that is `bad` for that share of the requests."""
    chance, lock = random.Random(seed), threading.Lock()

    def handler(peer, request):
        with lock:
            hit = chance.random() < rate
        (bad if hit else otherwise)(peer, request)

    return handler
