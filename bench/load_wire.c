/*
 * load_wire.c: every byte the generator sends and expects, and the small readers for what comes back. The
 * readers accept what correct gateways send and report the rest as errors; they are no HTTP library.
 */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct wire wire;

#define TEXT_OPENING                                                                                         \
    "{\"messages\":[{\"role\":\"system\",\"content\":\"You are a helpful assistant.\\nAnswer in "            \
    "\\\"plain\\\" text.\"},"                                                                                \
    "{\"role\":\"user\",\"content\":\""
#define MODEL "\"model\":\"bench-model\""
#define TEXT_CLOSING "\"}]," MODEL ",\"temperature\":0.7,\"max_tokens\":256,\"stream\":%s}"

static const char prose[] = "The fire in the hearth is lit when somebody comes home, \\\"not before\\\";\\n"
                            "it goes out when the last one has left. ";

#define ANSWER                                                                                               \
    "{\"id\":\"chatcmpl-9f2c41d07ab84e6c\",\"object\":\"chat.completion\",\"created\":1760000000,"           \
    "\"model\":\"bench-model\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"   \
    "\"%s\"},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":231,"               \
    "\"completion_tokens\":64,\"total_tokens\":295},\"system_fingerprint\":\"fp_44709d6fcb\"}"
#define ANSWER_SIZE 588 /* bytes of the filled-in answer */

#define EVENT                                                                                                \
    "data: {\"id\":\"chatcmpl-%s\",\"object\":\"chat.completion.chunk\",\"created\":1760000000,"             \
    "\"model\":\"bench-model\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" "                         \
    "hearth\"},\"finish_reason\":null}]}\n\n"

#define USAGE                                                                                                \
    "data: "                                                                                                 \
    "{\"id\":\"chatcmpl-9f2c41d07ab84e6c\",\"object\":\"chat.completion.chunk\",\"created\":1760000000,"     \
    "\"model\":\"bench-model\",\"choices\":[],\"usage\":{\"prompt_tokens\":231,\"completion_tokens\":50,"    \
    "\"total_tokens\":281}}\n\n"

#define MODEL_LIST                                                                                           \
    "{\"object\":\"list\",\"data\":[{\"id\":\"bench-model\",\"object\":\"model\",\"created\":1760000000,"    \
    "\"owned_by\":\"bench\"}]}"

static char *must_alloc(size_t size)
{
    char *bytes = calloc(1, size);
    if (!bytes)
        die("calloc");
    return bytes;
}

/* JSON text of exactly length bytes between the two given ends; never cuts an escape in two. */
static void fill_prose(char *at, size_t length)
{
    size_t done = 0;
    while (length - done >= sizeof(prose) - 1) {
        memcpy(at + done, prose, sizeof(prose) - 1);
        done += sizeof(prose) - 1;
    }
    memset(at + done, '.', length - done);
}

static void build_body(char *body, size_t length)
{
    char closing[sizeof(TEXT_CLOSING) + 8];
    size_t opening = sizeof(TEXT_OPENING) - 1;
    size_t end = (size_t)snprintf(closing, sizeof(closing), TEXT_CLOSING, settings.sse ? "true" : "false");

    if (length < opening + end)
        die("--request-bytes is too small for a chat completion");
    memcpy(body, TEXT_OPENING, opening);
    fill_prose(body + opening, length - opening - end);
    memcpy(body + length - end, closing, end);
}

static void build_request(void)
{
    size_t room = 4096 + settings.request_bytes;
    size_t at;

    wire.request = must_alloc(room);
    at = (size_t)snprintf(
        wire.request, 2048,
        "POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: OpenAI/Python 1.51.0\r\n"
        "Accept: application/json\r\nAccept-Encoding: %s\r\n"
        "Content-Type: application/json\r\nAuthorization: Bearer sk-bench-0123456789abcdef\r\n"
        "X-Stainless-Lang: python\r\nContent-Length: %zu\r\n",
        settings.path, settings.host, settings.identity ? "identity" : "gzip, deflate",
        settings.request_bytes);
    if (at >= 2048)
        die("--path or --host is too long");
    if (settings.close)
        at += (size_t)snprintf(wire.request + at, 64, "Connection: close\r\n");
    for (int i = 0; i < settings.header_count; i++) {
        size_t length = strlen(settings.headers[i]);
        if (at + length + 4 > 4096)
            die("the extra headers are too long");
        at += (size_t)sprintf(wire.request + at, "%s\r\n", settings.headers[i]);
    }
    at += (size_t)sprintf(wire.request + at, "\r\n");
    wire.request_body = wire.request + at;
    wire.request_length = at + settings.request_bytes;
    build_body(wire.request + at, settings.request_bytes);
}

/* The request body with another model in it; a gateway that asks for usage does so right behind the model. */
static struct body rewritten_body(const char *name)
{
    size_t length = settings.request_bytes;
    const char *model = memmem(wire.request_body, length, MODEL, sizeof(MODEL) - 1);
    size_t before = (size_t)(model - wire.request_body);
    const char *usage = settings.stream_usage ? ",\"stream_options\":{\"include_usage\":true}" : "";
    char *bytes = must_alloc(length + 256);
    size_t at = before;

    memcpy(bytes, wire.request_body, before);
    at += (size_t)snprintf(bytes + at, 200, "\"model\":\"%s\"%s", name, usage);
    memcpy(bytes + at, model + sizeof(MODEL) - 1, length - before - (sizeof(MODEL) - 1));
    return (struct body){.bytes = bytes, .length = at + length - before - (sizeof(MODEL) - 1)};
}

static void build_expected(void)
{
    wire.expected[0] = (struct body){.bytes = wire.request_body, .length = settings.request_bytes};
    wire.expected_count = settings.rewrite_count > 0 ? settings.rewrite_count : 1;
    for (int i = 0; i < settings.rewrite_count; i++) {
        wire.expected[i] = rewritten_body(settings.rewrites[i]);
        for (int k = 0; k < i; k++)
            if (wire.expected[k].length == wire.expected[i].length)
                die("the names of --rewrite must differ in length");
    }
}

static void build_model_list(void)
{
    char *text = must_alloc(512);
    wire.model_list_length = (size_t)snprintf(
        text, 512, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
        sizeof(MODEL_LIST) - 1, MODEL_LIST);
    wire.model_list = text;
}

static void build_json_response(void)
{
    char text[ANSWER_SIZE - sizeof(ANSWER) + sizeof("%s") + 1];
    char body[1024];
    size_t length;

    fill_prose(text, sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    length = (size_t)snprintf(body, sizeof(body), ANSWER, text);
    wire.response = must_alloc(2048);
    wire.response_length =
        (size_t)snprintf(wire.response, 2048,
                         "HTTP/1.1 200 OK\r\nDate: Thu, 09 Oct 2025 08:53:20 GMT\r\nServer: uvicorn\r\n"
                         "Content-Type: application/json\r\nOpenAI-Processing-Ms: 12\r\n"
                         "X-Upstream: bench-load-0001\r\nContent-Length: %zu\r\n\r\n%s",
                         length, body);
    wire.response_body = wire.response + wire.response_length - length;
    wire.response_body_length = length;
}

static void build_sse_response(void)
{
    char zeros[STAMP_SIZE + 1];

    memset(zeros, '0', STAMP_SIZE);
    zeros[STAMP_SIZE] = '\0';
    wire.response = must_alloc(512);
    wire.response_length =
        (size_t)snprintf(wire.response, 512,
                         "HTTP/1.1 200 OK\r\nDate: Thu, 09 Oct 2025 08:53:20 GMT\r\nServer: uvicorn\r\n"
                         "Content-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
                         "Transfer-Encoding: chunked\r\n\r\n");
    wire.last_chunks = must_alloc(512);
    if (settings.stream_usage)
        wire.last_chunks_length =
            (size_t)snprintf(wire.last_chunks, 400, "%zx\r\n%s\r\n", sizeof(USAGE) - 1, USAGE);
    wire.last_chunks_length += (size_t)snprintf(wire.last_chunks + wire.last_chunks_length, 64,
                                                "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n");
    wire.event = must_alloc(512);
    wire.event_length = (size_t)snprintf(wire.event, 512, EVENT, zeros);
    wire.stamp_at = (size_t)(strstr(wire.event, zeros) - wire.event);
}

void wire_build(void)
{
    build_request();
    build_expected();
    build_model_list();
    if (settings.sse)
        build_sse_response();
    else
        build_json_response();
}

size_t head_length(const char *bytes, size_t length)
{
    const char *end = memmem(bytes, length, "\r\n\r\n", 4);
    return end ? (size_t)(end - bytes) + 4 : 0;
}

const char *head_field(const char *head, size_t length, const char *name, size_t *value_length)
{
    size_t name_length = strlen(name);
    const char *end = head + length;
    const char *line = memchr(head, '\n', length);

    while (line && ++line < end) {
        const char *stop = memchr(line, '\r', (size_t)(end - line));
        if (!stop)
            return NULL;
        if ((size_t)(stop - line) > name_length && line[name_length] == ':' &&
            strncasecmp(line, name, name_length) == 0) {
            const char *value = line + name_length + 1;
            while (value < stop && *value == ' ')
                value++;
            *value_length = (size_t)(stop - value);
            return value;
        }
        line = memchr(stop, '\n', (size_t)(end - stop));
    }
    return NULL;
}

bool head_says_close(const char *head, size_t length)
{
    size_t n;
    const char *value = head_field(head, length, "connection", &n);
    return value && n == 5 && strncasecmp(value, "close", 5) == 0;
}

int64_t head_content_length(const char *head, size_t length)
{
    size_t n;
    const char *value = head_field(head, length, "content-length", &n);
    int64_t number = 0;

    if (!value || n == 0 || n > 15)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (value[i] < '0' || value[i] > '9')
            return -1;
        number = number * 10 + (value[i] - '0');
    }
    return number;
}

void stamp_write(char *digits, int64_t time)
{
    uint64_t rest = (uint64_t)time;
    for (int i = STAMP_SIZE - 1; i >= 0; i--, rest >>= 4)
        digits[i] = "0123456789abcdef"[rest & 15];
}

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    digit |= 0x20;
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

int64_t stamp_read(const char *digits)
{
    uint64_t time = 0;
    for (int i = 0; i < STAMP_SIZE; i++)
        time = time << 4 | (uint64_t)(hex_value(digits[i]) & 15);
    return (int64_t)time;
}

enum { AT_SIZE, AT_EXTENSION, AT_DATA, AT_DATA_CR, AT_DATA_LF, AT_LAST_LINE, AT_LAST_LF, AT_TRAILER };

/* One byte outside of chunk data. */
static enum chunk_result chunk_byte(struct chunk_decoder *decoder, char byte)
{
    int digit = hex_value(byte);

    switch (decoder->state) {
    case AT_SIZE:
        if (digit >= 0 && decoder->left < UINT64_C(1) << 32) {
            decoder->left = decoder->left << 4 | (uint64_t)digit;
            return CHUNK_MORE;
        }
        decoder->state = AT_EXTENSION;
        return byte == '\r' || byte == ';' ? CHUNK_MORE : CHUNK_BAD;
    case AT_EXTENSION:
        if (byte == '\n')
            decoder->state = decoder->left > 0 ? AT_DATA : AT_LAST_LINE;
        return CHUNK_MORE;
    case AT_DATA_CR:
        decoder->state = AT_DATA_LF;
        return byte == '\r' ? CHUNK_MORE : CHUNK_BAD;
    case AT_DATA_LF:
        decoder->state = AT_SIZE;
        return byte == '\n' ? CHUNK_MORE : CHUNK_BAD;
    case AT_LAST_LINE:
        decoder->state = byte == '\r' ? AT_LAST_LF : AT_TRAILER;
        return CHUNK_MORE;
    case AT_TRAILER:
        if (byte == '\n')
            decoder->state = AT_LAST_LINE;
        return CHUNK_MORE;
    default: /* AT_LAST_LF */
        decoder->state = AT_SIZE;
        return byte == '\n' ? CHUNK_END : CHUNK_BAD;
    }
}

enum chunk_result chunk_next(struct chunk_decoder *decoder, const char **bytes, size_t *length,
                             const char **span, size_t *span_length)
{
    while (*length > 0) {
        if (decoder->state == AT_DATA) {
            *span = *bytes;
            *span_length = *length < decoder->left ? *length : (size_t)decoder->left;
            *bytes += *span_length;
            *length -= *span_length;
            decoder->left -= *span_length;
            if (decoder->left == 0)
                decoder->state = AT_DATA_CR;
            return CHUNK_DATA;
        }
        enum chunk_result result = chunk_byte(decoder, **bytes);
        ++*bytes;
        --*length;
        if (result != CHUNK_MORE)
            return result;
    }
    return CHUNK_MORE;
}
