"""`hestia mock-llm`, the built-in model server for demos, tests and benches."""

import json
import subprocess
import time

import pytest

from gateway import SANITIZER_REPORTS, environment, find_binary, run_cli
from waiting import eventually
from wire import Connection

CHAT = {"model": "mock", "messages": [{"role": "user", "content": "Hello"}]}


class Mock:
    def __init__(self, folder, *options):
        self.stderr = open(folder / "mock-stderr", "w+")
        self.process = subprocess.Popen([find_binary(), "mock-llm", "--listen", "127.0.0.1:0", *map(str, options)], cwd=folder,
                                        env=environment(folder, {}), stdout=subprocess.PIPE, stderr=self.stderr, text=True)
        self.port = None

    def wait_port(self):
        self.port = int(json.loads(self.process.stdout.readline())["listen"].rsplit(":", 1)[1])
        return self

    def request(self, method, path, body=None):
        with Connection(self.port) as connection:
            connection.request(method, path, [("Content-Type", "application/json")], json.dumps(body).encode() if body is not None else None)
            return connection.read_response(method)

    def stop(self):
        self.process.terminate()
        assert self.process.wait(20) == 0
        self.stderr.seek(0)
        said = self.stderr.read()
        assert not [report for report in SANITIZER_REPORTS if report in said], said


@pytest.fixture
def mock(tmp_path):
    started = []

    def start(*options):
        started.append(Mock(tmp_path, *options))
        return started[-1].wait_port()

    yield start
    for one in started:
        one.stop()


def sse(response):
    """The data of every event."""
    assert response.value("Content-Type").startswith("text/event-stream")
    assert response.complete
    return [event.removeprefix("data: ") for event in response.text.split("\n\n") if event]


def test_health_and_models(mock):
    server = mock()
    assert server.request("GET", "/health").status == 200
    models = server.request("GET", "/v1/models").json
    assert models["object"] == "list" and models["data"]
    assert all(model["object"] == "model" and model["id"] for model in models["data"])
    tags = server.request("GET", "/api/tags").json
    assert tags["models"] and all(model["name"] for model in tags["models"])


def test_loading(mock):
    before = time.monotonic()
    server = mock("--load-time", "1.5s")
    assert server.request("GET", "/health").status == 503
    assert server.request("POST", "/v1/chat/completions", CHAT).status == 503
    eventually(lambda: server.request("GET", "/health").status == 200, "it is loaded")
    assert time.monotonic() - before >= 1.5


def test_chat(mock):
    server = mock("--tokens", 7)
    answer = server.request("POST", "/v1/chat/completions", CHAT).json
    assert answer["object"] == "chat.completion" and answer["id"] and answer["model"] == "mock"
    choice = answer["choices"][0]
    assert choice["message"]["role"] == "assistant" and choice["message"]["content"]
    assert choice["finish_reason"] == "stop" and choice["index"] == 0
    usage = answer["usage"]
    assert usage["completion_tokens"] == 7 and usage["prompt_tokens"] > 0
    assert usage["total_tokens"] == usage["prompt_tokens"] + 7


def test_chat_stream(mock):
    server = mock("--tokens", 5)
    plain = server.request("POST", "/v1/chat/completions", CHAT).json["choices"][0]["message"]["content"]
    events = sse(server.request("POST", "/v1/chat/completions", {**CHAT, "stream": True}))
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    assert all(chunk["object"] == "chat.completion.chunk" and chunk["id"] == chunks[0]["id"] for chunk in chunks)
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])
    assert text == plain
    assert [chunk for chunk in chunks if chunk["choices"] and chunk["choices"][0]["finish_reason"] == "stop"]


def test_chat_stream_with_usage(mock):
    server = mock("--tokens", 5)
    events = sse(server.request("POST", "/v1/chat/completions", {**CHAT, "stream": True, "stream_options": {"include_usage": True}}))
    last = json.loads(events[-2])
    assert last["usage"]["completion_tokens"] == 5 and last["choices"] == []


def test_completions_and_embeddings(mock):
    server = mock("--tokens", 3)
    answer = server.request("POST", "/v1/completions", {"model": "m", "prompt": "Hello"}).json
    assert answer["object"] == "text_completion" and answer["choices"][0]["text"]
    assert answer["usage"]["completion_tokens"] == 3
    events = sse(server.request("POST", "/v1/completions", {"model": "m", "prompt": "Hello", "stream": True}))
    assert events[-1] == "[DONE]" and json.loads(events[0])["object"] == "text_completion"
    answer = server.request("POST", "/v1/embeddings", {"model": "m", "input": ["a", "b"]}).json
    assert answer["object"] == "list" and [item["index"] for item in answer["data"]] == [0, 1]
    assert all(isinstance(number, float) for number in answer["data"][0]["embedding"])
    assert len(server.request("POST", "/v1/embeddings", {"model": "m", "input": "a"}).json["data"]) == 1


@pytest.mark.parametrize("path, body, text", [
    ("/api/generate", {"model": "m", "prompt": "Hello"}, lambda part: part["response"]),
    ("/api/chat", {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}, lambda part: part["message"]["content"]),
])
def test_ollama(mock, path, body, text):
    server = mock("--tokens", 4)
    plain = server.request("POST", path, {**body, "stream": False}).json
    assert plain["done"] is True and plain["model"] == "m" and text(plain)
    assert plain["eval_count"] == 4
    response = server.request("POST", path, body)
    assert response.value("Content-Type") == "application/x-ndjson"
    parts = [json.loads(line) for line in response.text.splitlines()]
    assert [part["done"] for part in parts] == [False] * (len(parts) - 1) + [True]
    assert "".join(text(part) for part in parts) == text(plain)


def test_latency(mock):
    server = mock("--latency", "300ms", "--tokens", 1)
    before = time.monotonic()
    assert server.request("POST", "/v1/chat/completions", CHAT).status == 200
    assert time.monotonic() - before >= 0.3


def test_tokens_per_second(mock):
    server = mock("--tokens", 10, "--tps", 20)
    before = time.monotonic()
    sse(server.request("POST", "/v1/chat/completions", {**CHAT, "stream": True}))
    assert time.monotonic() - before >= 0.4


@pytest.mark.parametrize("options, status", [(["--fail-rate", "1"], 500), (["--fail-rate", "1", "--status", "429"], 429)])
def test_failures(mock, options, status):
    server = mock(*options)
    response = server.request("POST", "/v1/chat/completions", CHAT)
    assert response.status == status and response.json["error"]["message"]
    assert server.request("GET", "/health").status == 200


@pytest.mark.parametrize("path, body", [("/nowhere", {}), ("/v1/nothing", {})])
def test_unknown_routes(mock, path, body):
    assert mock().request("POST", path, body).status == 404


def test_body_that_is_not_json(mock):
    server = mock()
    with Connection(server.port) as connection:
        connection.request("POST", "/v1/chat/completions", body=b"{broken")
        assert connection.read_response().status == 400


def test_help(tmp_path):
    done = run_cli("mock-llm", "--help", cwd=tmp_path)
    assert done.returncode == 0
    for flag in ("--listen", "--load-time", "--latency", "--tokens", "--tps", "--fail-rate", "--status"):
        assert flag in done.stdout
    assert run_cli("mock-llm", "--nonsense", cwd=tmp_path).returncode == 2
