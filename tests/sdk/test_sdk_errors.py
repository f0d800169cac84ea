"""Errors as the libraries' own exception classes, failover that they do not notice, and leaving mid-stream."""

import hashlib
import json
import time

import pytest

from clients import Failed
from pool import DONE, FIRST, SECOND, chunk, event, fail, streams
from test_sdk_use import CHAT, OLLAMA, POOL, each
from waiting import SCALE, eventually, mostly_within

CLASSES = {400: "BadRequestError", 401: "AuthenticationError", 403: "PermissionDeniedError", 404: "NotFoundError", 409: "ConflictError",
           422: "UnprocessableEntityError", 429: "RateLimitError", 500: "InternalServerError", 501: "InternalServerError",
           503: "InternalServerError"}
OPENAI = ["openai-python", "langchain-chat", "langchain-legacy", "openai-node"]  # those with OpenAI's classes


def expected_name(client, status):
    return {"ai-sdk": "APICallError", "ollama-js": "ResponseError"}.get(client.name, CLASSES[status])


def failure(call, *arguments, **options):
    with pytest.raises(Failed) as failed:
        call(*arguments, **options)
    return failed.value


@each(POOL)
@pytest.mark.parametrize("call", ["plain", "stream"])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429, 500, 503])
def test_an_upstreams_error(client, pool, status, call):
    a = pool.upstream("a", fail(status, "that is why", code="their_code", param="their_param"), models=None)
    failed = failure(getattr(client, call), f"{pool.start(a).url}/v1")
    assert (failed.name, failed.status) == (expected_name(client, status), status)
    assert failed.code == "their_code" and "that is why" in failed.message
    assert len(a.calls) == 1


@each(CHAT)
@pytest.mark.parametrize("status", [400, 401, 429, 503])
def test_an_upstreams_error_at_embeddings(client, pool, status):
    a = pool.upstream("a", fail(status, "that is why"), models=None)
    failed = failure(client.embeddings, f"{pool.start(a).url}/v1")
    assert (failed.name, failed.status) == (expected_name(client, status), status)


@each(OLLAMA)
@pytest.mark.parametrize("call", ["plain", "stream", "embeddings"])
@pytest.mark.parametrize("status", [400, 404, 429, 500])
def test_ollamas_errors(client, hestia, backend, status, call):
    backend.handler = lambda peer, request: peer.respond(status, {"error": "that is why"})
    failed = failure(getattr(client, call), f"{hestia({'services': {'llm': {'base_url': backend.url}}}).url}/services/llm")
    assert (failed.name, failed.status, failed.message) == ("ResponseError", status, "that is why")


@each(POOL, OLLAMA)
def test_a_wrong_key(client, pool):
    a = pool.upstream("a", models=None)
    gateway = pool.start(a, auth={"api_keys": ["sha256:" + hashlib.sha256(b"right").hexdigest()]}, services={"llm": {"base_url": a.url}})
    base = gateway.url + ("/services/llm" if client.name in OLLAMA else "/v1")
    failed = failure(client.plain, base, api_key="wrong")
    assert (failed.name, failed.status) == (expected_name(client, 401), 401)
    if client.name not in OLLAMA:
        assert failed.code == "invalid_api_key"
        assert client.plain(base, api_key="right")["text"] == "Hello, wörld!"
    assert "wrong" not in failed.message


@each(POOL)
@pytest.mark.parametrize("call", ["plain", "stream"])
def test_an_unknown_model(client, pool, call):
    a = pool.upstream("a")
    failed = failure(getattr(client, call), f"{pool.start(a.provider(models=['m'])).url}/v1", model="nothing")
    assert (failed.name, failed.status, failed.code) == (expected_name(client, 404), 404, "model_not_found")
    assert a.calls == []


@each(POOL)
def test_all_failed(client, pool):
    a, b = pool.upstream("a", fail(500)), pool.upstream("b", fail(429))
    failed = failure(client.plain, f"{pool.start(a, b).url}/v1")
    assert (failed.name, failed.status, failed.code) == (expected_name(client, 503), 503, "all_providers_failed")


@each(POOL)
def test_not_built_yet(client, pool):
    failed = failure(client.plain, f"{pool.start(pool.upstream('a', models=None)).url}/v1", model="moa-m")
    assert (failed.name, failed.status, failed.code) == (expected_name(client, 501), 501, "not_available")


@each(POOL)
@pytest.mark.parametrize("call", ["plain", "stream"])
def test_failover_goes_unnoticed(client, pool, call):
    a, b = pool.upstream("a", fail(500)), pool.upstream("b")
    gateway = pool.start(a, b, routing={"strategy": "failover"})
    answer = getattr(client, call)(f"{gateway.url}/v1")
    assert answer.get("text", "".join(answer.get("pieces", []))) == "Hello, wörld!"
    assert len(a.calls) == len(b.calls) == 1


@each(["openai-python", "langchain-chat", "openai-node", "ai-sdk"])
def test_a_stream_that_breaks_raises(client, pool):
    """Half an answer must not look like a whole one."""
    a = pool.upstream("a", streams(FIRST, SECOND, end=False), models=None)
    failed = failure(client.stream, f"{pool.start(a).url}/v1")
    assert failed.message


@each(["openai-python", "langchain-chat", "openai-node", "ai-sdk"])
def test_comments_do_no_harm(client, pool):
    comment = b": waiting\n\n"
    a = pool.upstream("a", streams(comment, FIRST, comment, comment, SECOND, event(chunk({}, "stop")), DONE), models=None)
    assert client.stream(f"{pool.start(a).url}/v1")["pieces"] == ["Hel", "lo"]


# ---- leaving mid-stream


def text_event(text):
    return event({"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m",
                  "choices": [{"index": 0, "text": text, "finish_reason": None, "logprobs": None}]})


def first_of(request):
    """The first piece of a stream, in the dialect that was asked for."""
    if request.target.endswith("/api/chat"):
        return "application/x-ndjson", json.dumps({"model": "m", "message": {"role": "assistant", "content": "Hel"},
                "done": False}).encode() + b"\n"
    return "text/event-stream", FIRST if request.target.endswith("/chat/completions") else text_event("Hel")


@each(POOL, OLLAMA)
def test_leaving_mid_stream_reaches_the_upstream(client, pool):
    """Within 100 ms."""
    seen = []

    def handler(peer, request):
        kind, piece = first_of(request)
        peer.begin_chunked([("Content-Type", kind)])
        peer.chunk(piece)
        peer.is_closed()
        seen.append(time.time())
        peer.close()

    a = pool.upstream("a", handler, models=None)
    gateway = pool.start(a, services={"llm": {"base_url": a.url}})
    base = gateway.url + ("/services/llm" if client.name in OLLAMA else "/v1")

    def leave():
        number = len(seen) + 1
        answer = client.cancel(base)
        assert answer["piece"] == "Hel"
        eventually(lambda: len(seen) == number, "the upstream sees it")
        return seen[-1] - answer["left"] / 1000

    mostly_within(0.1 * SCALE, leave)


def test_who_gives_up_on_a_cold_service_cancels_its_start(pool):
    """The library's own time-out, while the model server still starts."""
    import openai

    entry = {"command": ["sleep", "600"], "base_url": "http://127.0.0.1:${PORT}", "health_url": "http://127.0.0.1:${PORT}/health"}
    gateway = pool.start({"name": "local", "service": "llm"}, services={"llm": entry})
    with pytest.raises(openai.APITimeoutError):
        openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="dummy", max_retries=0, timeout=0.5).chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Hello"}])
    gateway.wait_event("service_start", service_id="llm")
    gateway.wait_state("llm", "cold")
