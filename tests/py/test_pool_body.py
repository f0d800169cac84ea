"""Request bodies: checked, and passed byte for byte but for `model` and our private fields (issue "The pool" 4)."""

import json

import pytest

from pool import CHAT, COMPLETIONS, EMBEDDINGS, ask, fail, served

MIB = 1 << 20


@pytest.fixture
def mapped(pool):
    """A provider `a` that calls m `real`, and the gateway over it."""
    a = pool.upstream("a", models=None)
    return pool.start(a.provider(model_map={"m": "real"})), a


def sent(gateway, upstream, raw, path=CHAT):
    """What the upstream gets for these bytes."""
    response = ask(gateway, raw, path=path)
    assert response.status == 200, response
    assert upstream.last.value("Content-Length") == str(len(upstream.last.body))
    return upstream.last.body


TEXTS = {
    "plain": '{"model":"m","messages":[{"role":"user","content":"Hi"}]}',
    "odd white space": ' \t\r\n{ "model" \n:\t"m"\r\n ,\n\n"messages" : [ ] , "x":\n 1 }\n\n ',
    "model last": '{"messages":[],"stream":false,"model":"m"}',
    "model alone": '{"model":"m"}',
    "duplicate unknown keys": '{"x":1,"x":{"y":2},"model":"m","x":[],"X":null}',
    "unicode": '{"model":"m","messages":[{"role":"user","content":"grüße 你好 🔥 \\u00e9 \\ud83d\\ude00 \\/ \\\\ \\" "}],"schlüssel":"ü"}',
    "numbers": '{"model":"m","a":1e400,"b":-0,"c":1.0000000000000000001,"d":123456789012345678901234567890,"e":1E+2}',
    "tools": '{"model":"m","messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":'
             '{"name":"f","arguments":"{\\"model\\": \\"m\\"}"}}]},{"role":"tool","tool_call_id":"c1","content":"model"}],"tools":[{"type":'
             '"function","function":{"name":"f","parameters":{"type":"object","properties":{"model":{"type":"string"}}}}}],"tool_choice":"auto"}',
    "images": '{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"?"},{"type":"image_url","image_url":'
              '{"url":"data:image/png;base64,iVBORw0KGgo=","detail":"low"}}]}]}',
    "nested model keys": '{"a":{"model":"m"},"model":"m","b":[{"model":"x","model":"y"}],"metadata":{"hulumanage_approach":"moa"}}',
    "keys like ours": '{"model":"m","hulumanage_approach_":"moa","xproxy_wrap":1,"wrapper":2,"Model":"z","models":["m"]}',
    "empty things": '{"model":"m","":"","a":{},"b":[],"c":"","d":null,"e":false}',
    "lone surrogate escape": '{"model":"m","messages":[{"role":"user","content":"\\ud800"}]}',
    "empty extra_body": '{"model":"m","extra_body":{},"messages":[]}',
    "foreign extra_body": '{"model":"m","extra_body":{ "top_k" : 40 },"messages":[]}',
    "extra_body of another kind": '{"model":"m","extra_body":"text","messages":[]}',
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_only_the_model_changes(mapped, text):
    gateway, a = mapped
    expected = replace_model(text, '"real"').encode()
    assert sent(gateway, a, text.encode()) == expected


def replace_model(text, name):
    """The top-level value of "model" replaced, by a scanner of its own: depth 1, key `model`."""
    depth, at = 0, 0
    last_string, expects_value = None, False
    while at < len(text):
        c = text[at]
        if c == '"':
            end = at + 1
            while text[end] != '"':
                end += 2 if text[end] == "\\" else 1
            literal = text[at:end + 1]
            if expects_value and last_string == "model" and depth == 1:
                return text[:at] + name + text[end + 1:]
            last_string, at = json.loads(literal), end
            if expects_value:
                expects_value, last_string = False, None
        elif c == ":":
            expects_value = True
        elif c in "{[":
            depth, expects_value = depth + 1, False
        elif c in "}]":
            depth -= 1
        elif c == ",":
            expects_value = False
        at += 1
    raise AssertionError("no model")


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_nothing_changes_where_the_name_is_the_same(pool, text):
    a = pool.upstream("a", models=None)
    gateway = pool.start(a)
    assert sent(gateway, a, text.encode()) == text.encode()


@pytest.mark.parametrize("path, text", [
    (COMPLETIONS, '{ "prompt":["a", [1,2]],"model":"m" , "echo":true,"suffix":null}'),
    (EMBEDDINGS, '{"input" : [[1,2,3],[4]],"model":"m","dimensions":8,"encoding_format":"base64"}'),
])
def test_the_other_routes(mapped, path, text):
    gateway, a = mapped
    assert sent(gateway, a, text.encode(), path) == replace_model(text, '"real"').encode()
    assert a.last.target == path


@pytest.mark.parametrize("text, expected", [
    ('{"mod\\u0065l":"m","a":1}', '{"mod\\u0065l":"real","a":1}'),
    ('{"\\u006d\\u006f\\u0064\\u0065\\u006c":"m"}', '{"\\u006d\\u006f\\u0064\\u0065\\u006c":"real"}'),
    ('{"model":"\\u006d"}', '{"model":"real"}'),
])
def test_escaped_keys_and_models(mapped, text, expected):
    gateway, a = mapped
    assert sent(gateway, a, text.encode()) == expected.encode()


def test_a_mapped_name_is_escaped(pool):
    a = pool.upstream("a", models=None)
    gateway = pool.start(a.provider(model_map={"m": 'quote " back \\ ünï\ttab'}))
    assert json.loads(sent(gateway, a, b'{"model":"m"}'))["model"] == 'quote " back \\ ünï\ttab'


@pytest.mark.parametrize("model", ["ünïcode", 'a"b\\c', "with space", "a/b:c@d", "x" * 1000, "日本"])
def test_any_model_name(pool, model):
    a = pool.upstream("up", models=None)
    gateway = pool.start(a)
    raw = json.dumps({"model": model}).encode()
    assert sent(gateway, a, raw) == raw


def test_every_attempt_has_its_own_model(pool):
    a, b = pool.upstream("a", fail(500)), pool.upstream("b")
    gateway = pool.start(a.provider(model_map={"m": "much-longer-name"}), b.provider(model_map={"m": "x"}),
                         routing={"strategy": "failover"})
    assert served(ask(gateway, b'{"messages":[] , "model":"m","z":1}')) == "b"
    assert a.last.body == b'{"messages":[] , "model":"much-longer-name","z":1}'
    assert b.last.body == b'{"messages":[] , "model":"x","z":1}'


# ---- private fields


@pytest.mark.parametrize("text, expected", [
    ('{"hulumanage_approach":"proxy","model":"m","b":2}', '{"model":"m","b":2}'),
    ('{"model":"m","hulumanage_approach":"proxy","b":2}', '{"model":"m","b":2}'),
    ('{"model":"m","b":2,"hulumanage_approach":"proxy"}', '{"model":"m","b":2}'),
    ('{"model":"m","hulumanage_approach":"none"}', '{"model":"m"}'),
    ('{"model":"m","hulumanage_\\u0061pproach":"proxy","b":2}', '{"model":"m","b":2}'),
    ('{"model":"m","extra_body":{"hulumanage_approach":"proxy"},"b":2}', '{"model":"m","b":2}'),
    ('{"model":"m","extra_body":{"hulumanage_approach":"proxy"}}', '{"model":"m"}'),
    ('{"extra_body":{"hulumanage_approach":"proxy"},"model":"m"}', '{"model":"m"}'),
    ('{"model":"m","extra_body":{"hulumanage_approach":"proxy","top_k":4},"b":2}', '{"model":"m","extra_body":{"top_k":4},"b":2}'),
    ('{"model":"m","extra_body":{"top_k":4,"hulumanage_approach":"proxy"},"b":2}', '{"model":"m","extra_body":{"top_k":4},"b":2}'),
    ('{"model":"m","extra_body":{"a":1,"hulumanage_approach":"proxy","z":[2]},"b":2}', '{"model":"m","extra_body":{"a":1,"z":[2]},"b":2}'),
    ('{"hulumanage_approach":"proxy","model":"m","extra_body":{"hulumanage_approach":"proxy"}}', '{"model":"m"}'),
])
def test_private_fields_are_taken_out(pool, text, expected):
    a = pool.upstream("a", models=None)
    gateway = pool.start(a)
    assert sent(gateway, a, text.encode()) == expected.encode()


def test_private_fields_amid_white_space(pool):
    a = pool.upstream("a", models=None)
    gateway = pool.start(a)
    body = sent(gateway, a,
                b'{ "keep" : "a  b" ,\n  "hulumanage_approach" : "proxy" ,\n "model" : "m" ,\t"extra_body" : { "hulumanage_approach" : "none" } }')
    assert list(json.loads(body).items()) == [("keep", "a  b"), ("model", "m")]
    assert b'"keep" : "a  b"' in body and b'"model" : "m"' in body


@pytest.mark.parametrize("text", [
    '{"model":"proxy-m","hulumanage_approach":"proxy","x":1}',
    '{"hulumanage_approach":"proxy","x":1,"model":"proxy-m"}',
])
def test_everything_at_once(mapped, text):
    gateway, a = mapped
    assert list(json.loads(sent(gateway, a, text.encode())).items()) in ([("model", "real"), ("x", 1)], [("x", 1), ("model", "real")])


# ---- what is refused

DEEP = b'{"model":"m","a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
BROKEN = {
    "empty": b"", "white space": b"  \n", "brace": b"{", "no end": b'{"model":"m"', "array": b'["model"]', "string": b'"model"',
    "number": b"17", "null": b"null", "text": b"model=m&x=1", "trailing text": b'{"model":"m"} x',
    "two objects": b'{"model":"m"}{"model":"m"}',
    "trailing comma": b'{"model":"m",}', "trailing comma in array": b'{"model":"m","a":[1,]}', "leading comma": b'{,"model":"m"}',
    "no colon": b'{"model" "m"}', "two colons": b'{"model"::"m"}', "single quotes": b"{'model':'m'}", "bare key": b'{model:"m"}',
    "number as key": b'{1:2,"model":"m"}', "comment": b'{"model":"m"/* */}', "NaN": b'{"model":"m","a":NaN}',
    "infinity": b'{"model":"m","a":Infinity}',
    "True": b'{"model":"m","a":True}', "half a literal": b'{"model":"m","a":tru}', "plus": b'{"model":"m","a":+1}',
    "dot": b'{"model":"m","a":.5}',
    "hex": b'{"model":"m","a":0x10}', "bare minus": b'{"model":"m","a":-}', "bad escape": b'{"model":"m","a":"\\x"}',
    "half an escape": b'{"model":"m","a":"\\u12"}',
    "newline in string": b'{"model":"m","a":"x\ny"}', "NUL in string": b'{"model":"m","a":"x\0y"}',
    "control in key": b'{"model":"m","a\x01":1}',
    "NUL outside": b'{"model":"m"}\0', "open string": b'{"model":"m","a":"', "open array": b'{"model":"m","a":[1',
    "mismatch": b'{"model":"m","a":[1}]',
    "form feed": b'{\x0c"model":"m"}', "byte order mark": b'\xef\xbb\xbf{"model":"m"}', "UTF-16": '{"model":"m"}'.encode("utf-16"),
    "deep": DEEP, "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "deep and open": b"[" * 200_000,
    "lone continuation": b'{"model":"m","a":"\x80"}', "cut sequence": b'{"model":"m","a":"\xc3"}',
    "overlong": b'{"model":"m","a":"\xc0\xaf"}',
    "overlong 3": b'{"model":"m","a":"\xe0\x80\xaf"}', "surrogate": b'{"model":"m","a":"\xed\xa0\x80"}',
    "beyond": b'{"model":"m","a":"\xf4\x90\x80\x80"}',
    "latin-1": b'{"model":"m","a":"gr\xfc\xdfe"}', "0xff": b'{"model":"m","a":"\xff"}', "bad key": b'{"model":"m","\xff":1}',
    "bad nested": b'{"model":"m","messages":[{"role":"user","content":[{"text":"ok\xf0\x9f"}]}]}',
    "too many keys": b'{"model":"m",' + b",".join(b'"k%d":1' % i for i in range(50_000)) + b"}",
}


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN)
def test_what_is_no_json_is_never_forwarded(pool, raw):
    a = pool.upstream("a", models=None)
    gateway = pool.start(a)
    response = ask(gateway, raw)
    assert response.status == 400, response
    assert response.json["error"]["type"] == "invalid_request_error" and response.json["error"]["message"]
    assert response.value("X-Hestia-Error-Source") == "gateway"
    assert a.calls == []
    assert ask(gateway).status == 200


@pytest.mark.parametrize("raw", [
    b'{"messages":[]}', b"{}", b'{"model":null}', b'{"model":5}', b'{"model":["m"]}', b'{"model":{"a":"m"}}', b'{"model":true}',
    b'{"model":""}',
    b'{"model":"a","model":"b"}', b'{"model":"m","x":1,"model":"m"}', b'{"model":"m","mod\\u0065l":"m"}', b'{"model":"m","model":5}',
    b'{"a":{"model":"m"}}', b'{"Model":"m"}',
])
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, EMBEDDINGS])
def test_the_model_must_be_one_string(pool, raw, path):
    a = pool.upstream("a", models=None)
    gateway = pool.start(a)
    response = ask(gateway, raw, path=path)
    assert response.status == 400 and response.json["error"]["param"] == "model", response
    assert response.json["error"]["type"] == "invalid_request_error"
    assert a.calls == []


@pytest.mark.parametrize("model", ["m\\u0000x", "m\\tx", "m\\r\\nX-Evil: 1", "\\u007f"])
def test_a_model_with_control_characters(pool, model):
    """No model is called like that; and the name goes into header fields and URLs."""
    a = pool.upstream("a", models=None)
    gateway = pool.start(a.provider(model_map={"m": "real"}))
    response = ask(gateway, f'{{"model":"{model}"}}'.encode())
    assert response.status == 400 and response.json["error"]["param"] == "model"
    assert a.calls == []


@pytest.mark.parametrize("depth", [10, 50])
def test_depth_that_real_bodies_have(pool, depth):
    a = pool.upstream("a", models=None)
    gateway = pool.start(a)
    raw = b'{"model":"m","a":' + b'{"b":[' * (depth // 2) + b"1" + b"]}" * (depth // 2) + b"}"
    assert sent(gateway, a, raw) == raw


def test_errors_are_told_for_streams_too(pool):
    a = pool.upstream("a", models=None)
    gateway = pool.start(a)
    response = ask(gateway, b'{"stream":true,"model":7}')
    assert response.status == 400 and response.value("Content-Type").startswith("application/json")


# ---- size


def padded(size):
    """A body of exactly that many bytes."""
    head, tail = b'{"model":"m","messages":[{"role":"user","content":"', b'"}]}'
    return head + b"x" * (size - len(head) - len(tail)) + tail


@pytest.mark.parametrize("size", [64 << 10, (64 << 10) + 1, 256 << 10, MIB, 16 * MIB, 32 * MIB])
def test_large_bodies_pass(mapped, size):
    gateway, a = mapped
    raw = padded(size)
    assert sent(gateway, a, raw) == raw.replace(b'"m"', b'"real"', 1)


def test_limit_by_length(pool):
    a = pool.upstream("a", models=None)
    gateway = pool.start(a, server={"limits": {"llm_body": "1MiB"}})
    assert sent(gateway, a, padded(MIB)) == padded(MIB)
    response = ask(gateway, padded(MIB + 1))
    assert response.status == 413 and response.code == "body_too_large"
    assert len(a.calls) == 1


def test_limit_of_a_chunked_body(pool):
    a = pool.upstream("a", models=None)
    gateway = pool.start(a, server={"limits": {"llm_body": "1MiB"}})
    for size, status in ((MIB, 200), (MIB + 1, 413)):
        with gateway.connect() as connection:
            raw = padded(size)
            connection.request("POST", CHAT, [("Content-Type", "application/json"), ("Transfer-Encoding", "chunked")])
            for at in range(0, len(raw), 100_000):
                part = raw[at:at + 100_000]
                connection.send(b"%x\r\n%s\r\n" % (len(part), part))
            connection.send(b"0\r\n\r\n")
            assert connection.read_response().status == status
    assert len(a.calls) == 1 and a.last.body == padded(MIB)
    assert a.last.value("Content-Length") == str(MIB) and a.last.values("Transfer-Encoding") == []


def test_default_limit_is_32_mib(pool):
    a = pool.upstream("a", models=None)
    gateway = pool.start(a)
    with gateway.connect() as connection:
        connection.request("POST", CHAT, [("Content-Type", "application/json"), ("Content-Length", str(32 * MIB + 1))])
        assert connection.read_response().status == 413
    assert a.calls == []


def test_expect_continue(pool):
    a = pool.upstream("a", models=None)
    gateway = pool.start(a)
    with gateway.connect() as connection:
        raw = padded(5000)
        connection.request("POST", CHAT, [("Expect", "100-continue"), ("Content-Length", str(len(raw)))])
        assert connection.read_head().status == 100
        connection.send(raw)
        assert connection.read_response().status == 200
    assert a.last.body == raw and a.last.values("Expect") == []


def test_a_body_that_breaks_off_is_not_forwarded(pool):
    a = pool.upstream("a", models=None)
    gateway = pool.start(a)
    with gateway.connect() as connection:
        connection.request("POST", CHAT, [("Content-Length", "1000")])
        connection.send(padded(999))
    gateway.wait_event("request_end", path=CHAT)
    assert a.calls == []


def test_a_pipelined_request_behind_a_body(pool):
    a = pool.upstream("a", models=None)
    gateway = pool.start(a)
    with gateway.connect() as connection:
        raw = padded(100)
        connection.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n" + raw
                        + b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 23\r\n\r\n" + b'{"model":"m","input":1}')
        assert connection.read_response().status == 200
        assert connection.read_response().json["object"] == "list"
    assert [request.body for request in a.calls] == [raw, b'{"model":"m","input":1}']


# ---- answers


def test_the_answer_passes_byte_for_byte(pool):
    raw = ' {"id" : "x",\n"choices":[ ],"usage":{"prompt_tokens":1},"x":1,"x":2,"ü":"\\u00e9"}\r\n\r\n'.encode()

    def plain(peer, request):
        peer.respond(200, raw, [("Content-Type", "application/json; charset=utf-8"), ("X-Their-Own", "kept"),
                     ("openai-processing-ms", "12")])

    def chunked(peer, request):
        peer.begin_chunked([("Content-Type", "application/json")])
        for byte in raw:
            peer.chunk(bytes([byte]))
        peer.send(b"0\r\n\r\n")

    def until_close(peer, request):
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + raw)
        peer.close()

    for handler in (plain, chunked, until_close):
        a = pool.upstream("a", handler, models=None)
        gateway = pool.start(a)
        response = ask(gateway)
        assert response.status == 200 and response.complete and response.body == raw
        if handler is plain:
            assert response.value("Content-Type") == "application/json; charset=utf-8"
            assert response.value("X-Their-Own") == "kept" and response.value("openai-processing-ms") == "12"


def test_what_is_no_json_passes_too(pool):
    raw = bytes(range(256)) * 1000
    a = pool.upstream("a", lambda peer, request: peer.respond(200, raw, [("Content-Type", "application/octet-stream")]), models=None)
    assert ask(pool.start(a)).body == raw


def test_a_compressed_answer_passes(pool):
    """Nobody asked for it, but that is no reason to break it."""
    import gzip
    raw = gzip.compress(b'{"choices":[]}')
    a = pool.upstream("a", lambda peer, request: peer.respond(200, raw, [("Content-Encoding", "gzip"), ("Content-Type",
                      "application/json")]), models=None)
    response = ask(pool.start(a))
    assert response.body == raw and response.value("Content-Encoding") == "gzip"


def test_a_large_answer(pool):
    raw = b'{"data":"' + b"y" * (20 * MIB) + b'","usage":{"prompt_tokens":3,"completion_tokens":4}}'
    a = pool.upstream("a", lambda peer, request: peer.respond(200, raw, [("Content-Type", "application/json")]), models=None)
    assert ask(pool.start(a)).body == raw


@pytest.mark.parametrize("end", ["length", "chunked"])
def test_a_truncated_answer_is_not_whole(pool, end):
    def handler(peer, request):
        if end == "length":
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"a\":")
        else:
            peer.begin_chunked([("Content-Type", "application/json")])
            peer.chunk(b'{"a":')
        peer.reset()

    a = pool.upstream("a", handler, models=None)
    response = ask(pool.start(a))
    assert not (response.status == 200 and response.complete)
