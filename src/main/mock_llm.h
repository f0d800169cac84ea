/*
 * `hestia mock-llm`, a small model server for demos, tests and benches: what its files need of each other.
 * mock_llm.c boots it, mock_llm_routes.c takes a request to its handler, the other files answer. One thread,
 * one loop; a request is one task.
 */
#ifndef HESTIA_MAIN_MOCK_LLM_H
#define HESTIA_MAIN_MOCK_LLM_H

#include "base/json.h"
#include "http/server.h"

#include <jansson.h>

/* ---- options (mock_llm_options.c) -----------------------------------------------------------------------
 */

enum { MOCK_TOKENS_MAX = 1000000 };

struct mock_options {
    struct str listen;   /* HOST:PORT or unix:/path */
    struct str models;   /* comma-separated names, at least one */
    uint64_t load_ms;    /* nothing is served before */
    uint64_t latency_ms; /* before the first byte of a model's answer */
    uint64_t tokens;     /* of one answer */
    double tps;          /* tokens per second in a stream; 0 = no pace */
    double fail_rate;    /* 0..1: share of the model's answers that are a 500 */
    uint64_t seed;       /* of fail_rate */
    uint64_t status;     /* of every model's answer; 0 = as it comes */
    bool quiet, help;
};

/* Reads "--name value" and "--name=value" over the defaults; spans point into argv. ERR_CONFIG with a
   sentence. */
enum err mock_options_parse(struct mock_options *o, int argc, char **argv, struct error *error) MUST_CHECK;
void mock_options_help(struct buf *out);

/* ---- the server -----------------------------------------------------------------------------------------
 */

enum { MOCK_ORDER_MAX = 1000, MOCK_ID_MAX = 64 };

struct mock {
    struct mock_options options;
    struct loop *loop;
    struct server server;
    struct timer load; /* until it is due, everything is answered 503 */
    bool loading;
    uint64_t random;   /* state of fail_rate's generator */
    uint64_t answers;  /* number of the next answer's identifier */
    uint64_t requests; /* all but /health and /stats, as the three below */
    uint64_t concurrent, max_concurrent;
    uint64_t order_count; /* identifiers seen so far; the last MOCK_ORDER_MAX are kept */
    char order[MOCK_ORDER_MAX][MOCK_ID_MAX + 1];
};

struct mock_call {
    struct mock *mock;
    struct conn *conn;
    struct request request;
    const struct mock_route *route; /* NULL until it is found */
    struct str parameter;           /* what stands for the path's "*" */
    json_t *json;                   /* the body of a model's route */
    struct buf out;                 /* the answer, or the part of it that goes out next */
};

/* serve_fn (mock_llm_routes.c). */
void mock_serve(struct task *t, struct conn *c);

/* ---- what handlers use (mock_llm_routes.c) --------------------------------------------------------------
 */

/* Sends call->out as JSON with status 200. */
enum err mock_send(struct task *t, struct mock_call *call) MUST_CHECK;
/* An error in the shape of the route's API. 429 and 503 say Retry-After: 1. */
enum err mock_send_error(struct task *t, struct mock_call *call, int status, const char *code,
                         const char *message) MUST_CHECK;
/* Sends call->out as the next piece of a stream, and empties it. */
enum err mock_write(struct task *t, struct mock_call *call) MUST_CHECK;
/* Waits until the loop's clock says `due` (ns). ERR_CANCELLED when the client leaves. */
enum err mock_wait(struct task *t, struct mock_call *call, uint64_t due) MUST_CHECK;
/* Waits until token number i of a stream that began at `start` (ns) is due; without a pace it lets others run
   from time to time. */
enum err mock_pace(struct task *t, struct mock_call *call, uint64_t start, uint64_t i) MUST_CHECK;

/* ---- words and vectors (mock_llm_text.c), pure ----------------------------------------------------------
 */

/* Runs of anything but white space. */
uint64_t mock_words(struct str text);
/* Words of a prompt: a string, an array of those, messages with `content`, parts with `text`, token numbers.
   NULL and everything else count nothing. */
uint64_t mock_words_json(const json_t *value);
/* The i-th token of every answer, with the space before it. */
void mock_token(struct buf *out, uint64_t i);
/* n numbers that depend on nothing but the text, of length 1 together. */
void mock_vector(struct str text, float *vector, size_t n);
/* ERR_SYNTAX with the place, ERR_LIMIT when it is nested too deep for a task's stack, ERR_NOMEM. The root is
   an object. */
enum err mock_json_parse(struct str text, json_t **json, struct error *error) MUST_CHECK;
/* A string member; empty when absent or no string. */
struct str mock_json_str(const json_t *object, const char *key);
/* A positive integer member, at most `max`; `otherwise` when absent or none. */
uint64_t mock_json_count(const json_t *object, const char *key, uint64_t otherwise, uint64_t max);
/* The name of model i of a comma-separated list; false when there are fewer. */
bool mock_model(struct str models, size_t i, struct str *name);

/* ---- handlers -------------------------------------------------------------------------------------------
 */

typedef enum err mock_handler(struct task *t, struct mock_call *call);

/* mock_llm_openai.c, mock_llm_embeddings.c */
mock_handler openai_chat, openai_completions, openai_embeddings, openai_models, openai_model;
/* mock_llm_ollama.c */
mock_handler ollama_root, ollama_version, ollama_tags, ollama_ps, ollama_show;
mock_handler ollama_generate, ollama_chat, ollama_embed;
/* mock_llm_bytes.c */
mock_handler bytes_echo, bytes_get, bytes_events;

#endif
