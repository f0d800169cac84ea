/* The command line of `hestia mock-llm`: one table, from which --help is made too. Pure. */
#include "main/mock_llm.h"

#include "base/num.h"

#include <math.h>

enum kind { KIND_TEXT, KIND_DURATION, KIND_COUNT, KIND_RATE, KIND_FLAG };

struct row {
    const char *name;  /* with its dashes */
    const char *value; /* as --help names it; NULL = none */
    enum kind kind;
    size_t at;       /* where in struct mock_options */
    double min, max; /* KIND_COUNT, KIND_RATE */
    const char *help;
};

#define AT(member) offsetof(struct mock_options, member)

static const struct row rows[] = {
    {"--listen", "HOST:PORT", KIND_TEXT, AT(listen), 0, 0,
     "or unix:/path (default 127.0.0.1:11435); port 0 takes any free one"},
    {"--models", "A,B", KIND_TEXT, AT(models), 0, 0, "names to list (default mock-small,mock-large)"},
    {"--load-time", "DURATION", KIND_DURATION, AT(load_ms), 0, 0,
     "answer everything with 503 for so long, e.g. 2s or 500ms (default 0)"},
    {"--latency", "DURATION", KIND_DURATION, AT(latency_ms), 0, 0,
     "wait so long before the first byte of a model's answer (default 0)"},
    {"--tokens", "N", KIND_COUNT, AT(tokens), 0, MOCK_TOKENS_MAX, "tokens of an answer (default 16)"},
    {"--tps", "N", KIND_RATE, AT(tps), 0, 1e9,
     "tokens per second of a stream (default 0: as fast as possible)"},
    {"--fail-rate", "P", KIND_RATE, AT(fail_rate), 0, 1,
     "share of the model's answers, 0 to 1, that are a 500 (default 0)"},
    {"--seed", "N", KIND_COUNT, AT(seed), 0, 1e15,
     "which ones: the same seed, the same failures (default 1)"},
    {"--status", "N", KIND_COUNT, AT(status), 200, 599,
     "status of every model's answer; from 400 on with an error body"},
    {"--quiet", NULL, KIND_FLAG, AT(quiet), 0, 0, "log nothing but the address"},
    {"--help", NULL, KIND_FLAG, AT(help), 0, 0, "show this"},
};

static const struct row *row_find(struct str name)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (str_eq(name, str_from_c(rows[i].name)))
            return &rows[i];
    return str_eq(name, STR("-h")) ? row_find(STR("--help")) : NULL;
}

static bool in_range(const struct row *row, double number)
{
    return number >= row->min && number <= row->max;
}

static bool value_parse(const struct row *row, struct str text, void *member)
{
    double rate;
    switch (row->kind) {
    case KIND_TEXT:
        *(struct str *)member = text;
        return str_trim(text).n > 0;
    case KIND_DURATION:
        return num_parse_duration_ms(text, 1000, member);
    case KIND_COUNT:
        return num_parse_u64(text, member) && in_range(row, (double)*(uint64_t *)member);
    case KIND_RATE:
        if (!num_parse_double(text, &rate) || !isfinite(rate) || !in_range(row, rate))
            return false;
        *(double *)member = rate;
        return true;
    case KIND_FLAG:
        *(bool *)member = true;
        return true;
    }
    return false;
}

static enum err word_parse(struct mock_options *o, int argc, char **argv, int *at, struct error *error)
{
    struct str word = str_from_c(argv[*at]), value = STR_NONE;
    size_t equals = str_find(word, '=');
    struct str name = str_first(word, equals);
    const struct row *row = row_find(name);
    if (!row)
        return error_set(error, ERR_CONFIG, "unknown option %.*s", STR_ARG(name));
    if (row->kind == KIND_FLAG && equals < word.n)
        return error_set(error, ERR_CONFIG, "%s takes no value", row->name);
    if (row->kind != KIND_FLAG && equals < word.n)
        value = str_from(word, equals + 1);
    else if (row->kind != KIND_FLAG) {
        if (*at + 1 >= argc)
            return error_set(error, ERR_CONFIG, "a value is missing after %s", row->name);
        value = str_from_c(argv[++*at]);
    }
    if (!value_parse(row, value, (char *)o + row->at))
        return error_set(error, ERR_CONFIG, "%s: '%.*s' is no %s", row->name, STR_ARG(value), row->value);
    return OK;
}

enum err mock_options_parse(struct mock_options *o, int argc, char **argv, struct error *error)
{
    struct str first;
    *o = (struct mock_options){
        .listen = STR("127.0.0.1:11435"),
        .models = STR("mock-small,mock-large"),
        .tokens = 16,
        .seed = 1,
    };
    for (int i = 1; i < argc; i++)
        TRY(word_parse(o, argc, argv, &i, error));
    if (!mock_model(o->models, 0, &first))
        return error_set(error, ERR_CONFIG, "--models: '%.*s' names none", STR_ARG(o->models));
    return OK;
}

void mock_options_help(struct buf *out)
{
    buf_add_c(out,
              "hestia mock-llm [options]\n\n"
              "A model server without a model, for demos, tests and benches. It speaks the APIs of OpenAI\n"
              "(/v1/chat/completions, /v1/completions, /v1/embeddings, /v1/models) and of Ollama\n"
              "(/api/generate, /api/chat, /api/embed, /api/tags, /api/show, /api/version), and has /health,\n"
              "/stats, /echo, /bytes/N and /sse/N?interval=MS.\n\n");
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        buf_addf(out, "  %-12s%-10s %s\n", rows[i].name, rows[i].value ? rows[i].value : "", rows[i].help);
    buf_add_c(out,
              "\nTry:  hestia mock-llm --load-time 2s --tps 20\n"
              "      curl -N localhost:11435/v1/chat/completions -H 'Content-Type: application/json' \\\n"
              "        -d '{\"model\":\"mock-small\",\"stream\":true,"
              "\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}'\n"
              "Exit codes: 0 ended by a signal, 1 cannot listen, 2 wrong usage.\n");
}
