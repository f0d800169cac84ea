/*
 * Messages from which the tests of this folder (fuzz_test.c, llhttp_test.c) and fuzzers make others: good
 * ones that use every rule, and the shapes that smuggling is made of.
 */
#ifndef HESTIA_HTTP_CORPUS_H
#define HESTIA_HTTP_CORPUS_H

#include "base/str.h"

#define CORPUS(text)                                                                                         \
    {                                                                                                        \
        text, sizeof(text) - 1                                                                               \
    }

static const struct str corpus_requests[] = {
    CORPUS("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    CORPUS("\r\n\r\nGET / HTTP/1.0\r\n\r\n"),
    CORPUS("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: python-httpx/0.27\r\n"
           "Accept: */*\r\nAccept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\n"
           "Content-Type: application/json\r\nAuthorization: Bearer hk_0123456789abcdef\r\n"
           "Content-Length: 1024\r\n\r\n"),
    CORPUS("PUT /a%20b/../c?d=e&f HTTP/1.1\r\nHost: [::1]:80\r\nTransfer-Encoding: chunked\r\n\r\n"
           "5;a=\"b\"\r\nhello\r\n0\r\nA: b\r\n\r\n"),
    CORPUS("GET http://a:80/b?c HTTP/1.1\r\nHost: a:80\r\nConnection: close, x-foo\r\nX-Foo:\t1 \r\n\r\n"),
    CORPUS("OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n"),
    CORPUS("DELETE /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc"),
    CORPUS("GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
           "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"),
    CORPUS("HEAD /\xc3\xa4 HTTP/1.1\r\nHost: a\r\nX: \xff\x80\r\n\r\n"),
    CORPUS("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    CORPUS("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    CORPUS("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
    CORPUS("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n"),
    CORPUS("GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n"),
    CORPUS("GET / HTTP/1.1\nHost: a\n\n"),
    CORPUS("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    CORPUS("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
};

static const struct str corpus_responses[] = {
    CORPUS("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
    CORPUS("HTTP/1.1 200 OK\r\nDate: Tue, 09 Sep 2025 05:30:00 GMT\r\nServer: uvicorn\r\n"
           "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nCache-Control: no-store\r\n\r\n"
           "10\r\ndata: [DONE]\r\n\r\n\r\n0\r\n\r\n"),
    CORPUS("HTTP/1.0 404 Not Found\r\n\r\nbody until close"),
    CORPUS("HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n"),
    CORPUS("HTTP/1.1 304\r\nContent-Length: 5\r\n\r\n"),
    CORPUS("HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
    CORPUS("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
    CORPUS("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    CORPUS("HTTP/2 200\r\nA: b\r\n\r\n"),
};

static const struct str corpus_chunked[] = {
    CORPUS("0\r\n\r\n"),
    CORPUS("5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\n"),
    CORPUS("a;b;c=\"d e\"\r\n0123456789\r\n0;f\r\nA: b\r\nC:\r\n\r\n"),
    CORPUS("0000000000000003\r\n\r\n0\r\n0000\r\n\r\n"),
};

/* What a mutation likes to put in. */
static const struct str corpus_tokens[] = {
    CORPUS("\r\n"),
    CORPUS("\n"),
    CORPUS("\r"),
    CORPUS("\r\n\r\n"),
    CORPUS(" "),
    CORPUS("\t"),
    CORPUS(":"),
    CORPUS(","),
    CORPUS(";"),
    CORPUS("\0"),
    CORPUS("\x7f"),
    CORPUS("\x80"),
    CORPUS("chunked"),
    CORPUS("HTTP/1.1"),
    CORPUS("HTTP/1.0"),
    CORPUS("0"),
    CORPUS("%2e"),
    CORPUS("/../"),
    CORPUS("%"),
    CORPUS("\""),
    CORPUS("Host: b\r\n"),
    CORPUS("Content-Length: 1\r\n"),
    CORPUS("Transfer-Encoding: chunked\r\n"),
    CORPUS("Connection: host\r\n"),
    CORPUS("X_Api_Key: a\r\n"),
    CORPUS("_"),
};

#endif
