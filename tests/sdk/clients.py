"""The client libraries behind one face: what each calls `plain`, `stream`, `tools`…, and how it reports an error. Every
method takes the base URL first. Nothing is retried, so that a test sees each answer."""

import json
import subprocess
import time
from pathlib import Path

import langchain_openai
import openai

from waiting import SCALE

FOLDER = Path(__file__).parent / "node"
QUESTION = [{"role": "user", "content": "Hello"}]
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "The weather.",
                                           "parameters": {"type": "object", "properties": {}}}}]


class Failed(Exception):
    """What a library raised: the name of its class, and what it carries."""

    def __init__(self, name, status=None, code=None, param=None, message="", **_):
        super().__init__(f"{name} {status} {code} {param}: {message}")
        self.name, self.status, self.code, self.param, self.message = name, status, code, param, message


def caught(error):
    """An exception of OpenAI's Python library, by its class there (LangChain raises subclasses of its own)."""
    name = next(kind.__name__ for kind in type(error).__mro__ if kind.__module__.startswith("openai"))
    return Failed(name, getattr(error, "status_code", None), getattr(error, "code", None),
                  getattr(error, "param", None), str(error))


def reported(function):
    def call(*arguments, **options):
        try:
            return function(*arguments, **options)
        except openai.OpenAIError as error:
            raise caught(error) from error

    return call


# ---- Python


class OpenAIPython:
    """OpenAI's own library."""

    name = "openai-python"

    def make(self, base_url, api_key):
        return openai.OpenAI(base_url=base_url, api_key=api_key, max_retries=0)

    @reported
    def plain(self, base_url, model="m", api_key="dummy", **extra):
        answer = self.make(base_url, api_key).chat.completions.create(model=model, messages=QUESTION, **extra)
        return {"text": answer.choices[0].message.content, "tokens": answer.usage.completion_tokens}

    @reported
    def stream(self, base_url, model="m", api_key="dummy", **extra):
        pieces, tokens = [], None
        for chunk in self.make(base_url, api_key).chat.completions.create(model=model, messages=QUESTION, stream=True, **extra):
            if chunk.choices and chunk.choices[0].delta.content:
                pieces.append(chunk.choices[0].delta.content)
            tokens = chunk.usage.completion_tokens if chunk.usage else tokens
        return {"pieces": pieces, "tokens": tokens}

    @reported
    def tools(self, base_url, model="m", api_key="dummy"):
        answer = self.make(base_url, api_key).chat.completions.create(model=model, messages=QUESTION, tools=TOOLS, tool_choice="required")
        call = answer.choices[0].message.tool_calls[0].function
        return {"name": call.name, "arguments": json.loads(call.arguments), "finish": answer.choices[0].finish_reason}

    @reported
    def tools_stream(self, base_url, model="m", api_key="dummy"):
        name = given = ""
        for chunk in self.make(base_url, api_key).chat.completions.create(model=model, messages=QUESTION, tools=TOOLS,
                                                                           tool_choice="required", stream=True):
            for call in (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []:
                name, given = name + (call.function.name or ""), given + (call.function.arguments or "")
        return {"name": name, "arguments": json.loads(given)}

    @reported
    def embeddings(self, base_url, model="m", api_key="dummy"):
        answer = self.make(base_url, api_key).embeddings.create(model=model, input=["one", "two"])
        return [item.embedding for item in answer.data]

    @reported
    def completion(self, base_url, model="m", api_key="dummy"):
        return self.make(base_url, api_key).completions.create(model=model, prompt="Hello").choices[0].text

    @reported
    def models(self, base_url, api_key="dummy"):
        return [model.id for model in self.make(base_url, api_key).models.list()]

    @reported
    def model(self, base_url, id, api_key="dummy"):
        return self.make(base_url, api_key).models.retrieve(id).id

    @reported
    def cancel(self, base_url, model="m", api_key="dummy"):
        stream = self.make(base_url, api_key).chat.completions.create(model=model, messages=QUESTION, stream=True)
        piece = next(iter(stream)).choices[0].delta.content
        left = time.time()
        stream.close()
        return {"piece": piece, "left": left * 1000}


class LangChainChat:
    """LangChain's chat model and its embeddings."""

    name = "langchain-chat"

    def make(self, base_url, model, api_key, **more):
        return langchain_openai.ChatOpenAI(base_url=base_url, model=model, api_key=api_key, max_retries=0, **more)

    @reported
    def plain(self, base_url, model="m", api_key="dummy", extra_body=None):
        answer = self.make(base_url, model, api_key, **({"extra_body": extra_body} if extra_body else {})).invoke("Hello")
        return {"text": answer.content, "tokens": answer.usage_metadata["output_tokens"]}

    @reported
    def stream(self, base_url, model="m", api_key="dummy"):
        chunks = list(self.make(base_url, model, api_key, stream_usage=True).stream("Hello"))
        usage = [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata]
        return {"pieces": [chunk.content for chunk in chunks if chunk.content], "tokens": usage[-1]["output_tokens"] if usage else None}

    def with_tools(self, base_url, model, api_key):
        return self.make(base_url, model, api_key).bind_tools(TOOLS, tool_choice="required")

    @reported
    def tools(self, base_url, model="m", api_key="dummy"):
        answer = self.with_tools(base_url, model, api_key).invoke("Hello")
        return {"name": answer.tool_calls[0]["name"], "arguments": answer.tool_calls[0]["args"],
                "finish": answer.response_metadata["finish_reason"]}

    @reported
    def tools_stream(self, base_url, model="m", api_key="dummy"):
        whole = None
        for chunk in self.with_tools(base_url, model, api_key).stream("Hello"):
            whole = chunk if whole is None else whole + chunk
        return {"name": whole.tool_calls[0]["name"], "arguments": whole.tool_calls[0]["args"]}

    @reported
    def embeddings(self, base_url, model="m", api_key="dummy"):
        # Else it counts tokens with a table that it downloads.
        return langchain_openai.OpenAIEmbeddings(base_url=base_url, model=model, api_key=api_key, max_retries=0,
                                                 check_embedding_ctx_length=False).embed_documents(["one", "two"])

    @reported
    def cancel(self, base_url, model="m", api_key="dummy"):
        stream = self.make(base_url, model, api_key).stream("Hello")
        piece = next(stream).content
        left = time.time()
        stream.close()
        return {"piece": piece, "left": left * 1000}


class LangChainCompletions:
    """LangChain's legacy class over /v1/completions, as the seed shows it."""

    name = "langchain-legacy"

    def make(self, base_url, model, api_key, **more):
        return langchain_openai.OpenAI(base_url=base_url, model=model, api_key=api_key, max_retries=0, **more)

    @reported
    def plain(self, base_url, model="m", api_key="dummy"):
        answer = self.make(base_url, model, api_key).generate(["Hello"])
        return {"text": answer.generations[0][0].text, "tokens": answer.llm_output["token_usage"]["completion_tokens"]}

    @reported
    def stream(self, base_url, model="m", api_key="dummy"):
        return {"pieces": [piece for piece in self.make(base_url, model, api_key).stream("Hello") if piece], "tokens": None}

    @reported
    def completion(self, base_url, model="m", api_key="dummy"):
        return self.make(base_url, model, api_key).invoke("Hello")

    @reported
    def cancel(self, base_url, model="m", api_key="dummy"):
        llm = self.make(base_url, model, api_key)
        stream = llm.stream("Hello")
        piece = next(stream)
        left = time.time()
        stream.close()
        llm.client._client.close()  # this class leaves the connection of a stream that was left to the garbage collector
        return {"piece": piece, "left": left * 1000}


# ---- Node


class Driver:
    """A process of node/driver.mjs."""

    def __init__(self, library):
        self.process = subprocess.Popen(["node", str(FOLDER / "driver.mjs"), library], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        assert self._read() == {"value": "ready"}

    def _read(self):
        line = self.process.stdout.readline()
        assert line, "the driver ended"
        return json.loads(line)

    def call(self, name, **options):
        self.process.stdin.write(json.dumps({"call": name, **options}) + "\n")
        self.process.stdin.flush()
        answer = self._read()
        if "error" in answer:
            raise Failed(**answer["error"])
        return answer["value"]

    def stop(self):
        self.process.stdin.close()
        assert self.process.wait(20 * SCALE) == 0


class NodeLibrary:
    """A library behind its driver."""

    def __init__(self, name, library, drivers):
        self.name, self.library, self.drivers = name, library, drivers

    def __getattr__(self, call):
        def run(base_url, model="m", api_key="dummy", **more):
            return self.drivers(self.library).call(call, base_url=base_url, model=model, api_key=api_key, **more)

        return run


PYTHON = {one.name: one for one in (OpenAIPython, LangChainChat, LangChainCompletions)}
NODE = {"openai-node": "openai", "ai-sdk": "ai", "ollama-js": "ollama"}


def get(name, drivers):
    return PYTHON[name]() if name in PYTHON else NodeLibrary(name, NODE[name], drivers)
