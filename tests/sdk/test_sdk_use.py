"""What users do with their client library, unmodified: over the pool, on a model server that Hestia starts for them."""

import pytest

from clients import Failed
from pool import pool_config

WHOLE = "This answer comes from a"
POOL = ["openai-python", "langchain-chat", "langchain-legacy", "openai-node", "ai-sdk"]
CHAT = ["openai-python", "langchain-chat", "openai-node", "ai-sdk"]
OLLAMA = ["ollama-js"]
MOCK = {"command": ["${HESTIA}", "mock-llm", "--listen", "127.0.0.1:${PORT}", "--tokens", "5", "--models", "m,org/model"],
        "base_url": "http://127.0.0.1:${PORT}", "health_url": "http://127.0.0.1:${PORT}/health"}


def each(*names):
    return pytest.mark.parametrize("client", [name for group in names for name in group], indirect=True)


@pytest.fixture
def base(hestia, client):
    """The base URL of a gateway whose only provider stands on a cold model server."""
    gateway = hestia(pool_config({"name": "local", "service": "llm"}, services={"llm": MOCK}))
    return f"{gateway.url}/services/llm" if client.name in OLLAMA else f"{gateway.url}/v1"


@each(POOL, OLLAMA)
def test_plain(client, base):
    assert client.plain(base) == {"text": WHOLE, "tokens": 5}


@each(POOL, OLLAMA)
def test_stream(client, base):
    answer = client.stream(base)
    assert "".join(answer["pieces"]) == WHOLE and len(answer["pieces"]) == 5


@each(["langchain-chat", "ai-sdk"], OLLAMA)
def test_usage_of_a_stream(client, base):
    """These ask for it by themselves."""
    assert client.stream(base)["tokens"] == 5


@each(["openai-python", "openai-node"])
def test_usage_of_a_stream_is_told_only_when_asked(client, base):
    assert client.stream(base)["tokens"] is None
    asked = {"stream_options": {"include_usage": True}}
    more = asked if client.name == "openai-python" else {"extra": asked}
    assert client.stream(base, **more)["tokens"] == 5


@each(CHAT)
def test_tools(client, base):
    assert client.tools(base) == {"name": "weather", "arguments": {}, "finish": "tool_calls"}


@each(CHAT)
def test_tools_in_a_stream(client, base):
    assert client.tools_stream(base) == {"name": "weather", "arguments": {}}


@each(CHAT, OLLAMA)
def test_embeddings(client, base):
    one, two = client.embeddings(base)
    assert len(one) == len(two) == 64 and one != two
    assert all(isinstance(number, float) for number in one + two)


@each(["openai-python", "langchain-legacy", "openai-node", "ai-sdk"], OLLAMA)
def test_text_completion(client, base):
    assert client.completion(base) == WHOLE


@each(["openai-python", "openai-node"])
def test_models(client, hestia, backend):
    gateway = hestia(pool_config({"name": "a", "base_url": backend.url, "api_key": "k", "models": ["m", "org/model"]}))
    base = f"{gateway.url}/v1"
    assert sorted(client.models(base)) == ["m", "org/model"]
    assert client.model(base, id="m") == "m" and client.model(base, id="org/model") == "org/model"
    with pytest.raises(Failed) as failed:
        client.model(base, id="nothing")
    assert (failed.value.name, failed.value.status, failed.value.code) == ("NotFoundError", 404, "model_not_found")


@each(OLLAMA)
def test_ollamas_models(client, base):
    assert client.models(base) == ["m", "org/model"]


@each(OLLAMA)
def test_ollamas_tools(client, hestia, backend):
    """The mock calls no tools in Ollama's dialect, so this upstream does."""
    call = {"model": "m", "message": {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "weather",
            "arguments": {}}}]},
            "done": True}
    backend.handler = lambda peer, request: peer.respond(200, call, [("Content-Type", "application/x-ndjson")])
    base = f"{hestia({'services': {'llm': {'base_url': backend.url}}}).url}/services/llm"
    assert client.tools(base) == {"name": "weather", "arguments": {}, "finish": "tool_calls"}
    assert client.tools_stream(base) == {"name": "weather", "arguments": {}}


@each(["openai-python", "openai-node"])
@pytest.mark.parametrize("approach", [None, "proxy"])
def test_the_seeds_methods(client, hestia, approach):
    """base_url, prefix, extra_body, wrapping: the proxy's own examples."""
    arguments = ("--listen", "127.0.0.1:0", *(("--approach", approach) if approach else ()))
    gateway = hestia(pool_config({"name": "local", "service": "llm", "model_map": {"gpt-4": "m"}}, services={"llm": MOCK}),
                     arguments=arguments)
    base = f"{gateway.url}/v1"

    def body(**fields):
        if client.name == "openai-python":
            return {"extra_body": fields}
        return {"extra": {"extra_body": fields}}  # the Node library has no such option: it goes out as it is

    assert client.plain(base, model="gpt-4")["text"] == WHOLE
    assert client.plain(base, model="proxy-gpt-4")["text"] == WHOLE
    assert client.plain(base, model="gpt-4", **body(hulumanage_approach="proxy"))["text"] == WHOLE
    with pytest.raises(Failed) as failed:
        client.plain(base, model="gpt-4", **body(hulumanage_approach="proxy", proxy_wrap="moa"))
    assert failed.value.status == 501 and "moa" in failed.value.message
    with pytest.raises(Failed) as failed:
        client.plain(base, model="gpt-4", **body(hulumanage_approach="nonsense"))
    assert (failed.value.name, failed.value.param) == ("BadRequestError", "hulumanage_approach")


def test_openais_async_client(hestia):
    """The same library, the other half of it: many at once over one client."""
    import asyncio
    import openai

    gateway = hestia(pool_config({"name": "local", "service": "llm"}, services={"llm": MOCK}))

    async def run():
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="dummy", max_retries=0) as client:
            async def one(number):
                stream = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": str(number)}], stream=True)
                return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

            return await asyncio.gather(*(one(number) for number in range(20)))

    assert asyncio.run(run()) == [WHOLE] * 20
