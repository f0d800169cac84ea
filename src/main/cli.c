/* Reading the command line, and the commands that only look at the configuration. Main thread. */
#include "main/cli.h"

#include "base/num.h"
#include "config/report.h"
#include "loop/crypto.h"
#include "loop/sock.h"
#include "main/inspect.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

extern char **environ;

struct command {
    const char *name;
    const char *summary;
    const char *usage;
    int (*run)(struct cli_options *options);
    bool takes_words; /* beside options */
};

static int command_serve(struct cli_options *options)
{
    return serve_main(options);
}

static int command_manage(struct cli_options *options)
{
    return manage_main(options);
}

/* ---- looking at the configuration -----------------------------------------------------------------------
 */

static void print(const struct buf *b)
{
    if (b->n)
        fwrite(b->p, 1, b->n, stdout);
}

static void executable_path(char *dst, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", dst, size - 1);
    dst[n > 0 ? n : 0] = '\0';
}

static void sources_from(const struct cli_options *options, struct config_sources *sources, char *executable,
                         size_t executable_size)
{
    executable_path(executable, executable_size);
    *sources = (struct config_sources){
        .files = options->files,
        .file_count = options->file_count,
        .environment = (const char *const *)environ,
        .listen = options->listen,
        .listen_count = options->listen_count,
        .executable = executable,
    };
}

static int command_validate(struct cli_options *options)
{
    char executable[4096];
    struct config_sources sources;
    struct findings findings = {0};
    struct buf out = BUF(0);
    for (size_t i = 0; i < options->rest_count && options->file_count < COUNT_OF(options->files); i++)
        options->files[options->file_count++] = options->rest[i];
    sources_from(options, &sources, executable, sizeof executable);
    struct config *config = config_load(&sources, &findings);
    log_set_level(LOG_ERROR); /* standard output is for the findings */
    if (config)
        inspect_config(config, &sources, &findings);
    if (options->json)
        findings_write_json(&findings, &out);
    else
        findings_write(&findings, &out);
    print(&out);
    bool good = config && !findings.errors && (!options->strict || findings.warnings == 0);
    if (!options->json)
        printf("%s: %zu error%s, %zu warning%s\n", good ? "valid" : "NOT valid", findings.errors,
               findings.errors == 1 ? "" : "s", findings.warnings, findings.warnings == 1 ? "" : "s");
    config_unref(config);
    findings_free(&findings);
    buf_free(&out);
    return good ? EXIT_OK : EXIT_FAILED;
}

static int config_show(const struct cli_options *options)
{
    char executable[4096];
    struct config_sources sources;
    struct findings findings = {0};
    struct buf out = BUF(0), problems = BUF(0);
    sources_from(options, &sources, executable, sizeof executable);
    config_write_merged(&sources, &out, &findings);
    print(&out);
    bool good = findings.errors == 0;
    if (!good) {
        findings_write(&findings, &problems);
        fwrite(problems.p, 1, problems.n, stderr);
    }
    buf_free(&problems);
    buf_free(&out);
    findings_free(&findings);
    return good ? EXIT_OK : EXIT_FAILED;
}

static int command_config(struct cli_options *options)
{
    const char *what = options->rest_count ? options->rest[0] : "";
    struct buf out = BUF(0);
    if (strcmp(what, "show") == 0)
        return config_show(options);
    if (strcmp(what, "doc") == 0)
        config_write_doc(&out);
    else if (strcmp(what, "schema") == 0)
        config_write_schema(&out);
    else {
        fprintf(stderr, "hestia config: what? show, doc or schema\n");
        return EXIT_USAGE;
    }
    print(&out);
    buf_free(&out);
    return EXIT_OK;
}

/* ---- small ones -----------------------------------------------------------------------------------------
 */

static int command_version(struct cli_options *options)
{
    if (options->json)
        printf("{\"name\":\"hestia\",\"version\":\"%s\"}\n", HESTIA_VERSION);
    else
        printf("hestia %s\n", HESTIA_VERSION);
    return EXIT_OK;
}

/* The key comes on standard input, so that it stands in no shell history and no process list. */
static int command_hash_key(struct cli_options *options)
{
    char line[1024], hex[2 * SHA256_SIZE + 1] = "";
    uint8_t hash[SHA256_SIZE];
    if (isatty(STDIN_FILENO))
        fprintf(stderr, "API key: ");
    if (!fgets(line, sizeof line, stdin))
        line[0] = '\0';
    struct str key = str_first(str_from_c(line), str_find(str_from_c(line), '\n'));
    if (!key.n) {
        fprintf(stderr, "hestia hash-key: give the key on standard input, for example\n"
                        "  openssl rand -hex 24 | tee key.txt | hestia hash-key\n");
        return EXIT_USAGE;
    }
    crypto_sha256(key, hash);
    num_to_hex(hash, sizeof hash, hex);
    if (options->json)
        printf("{\"hash\":\"sha256:%s\"}\n", hex);
    else
        printf("sha256:%s\n", hex);
    return EXIT_OK;
}

/* ---- the table ------------------------------------------------------------------------------------------
 */

#define MANAGE_USAGE                                                                                         \
    "      --url URL         where the gateway listens (else HESTIA_URL, else http://127.0.0.1:8080)\n"      \
    "      --json            the gateway's answer as it is\n\n"                                              \
    "HESTIA_ADMIN_KEY holds the key: one of auth.admin_keys, else of auth.api_keys.\n"

static const struct command commands[] = {
    {"serve", "Run the gateway (the default)",
     "hestia [serve] [options]\n\n"
     "  -c, --config FILE     configuration file; several are merged\n"
     "                        (else HESTIA_CONFIG_PATH, ./hestia_config.yml, $XDG_CONFIG_HOME/hestia/*.yml)\n"
     "      --listen ADDR     HOST:PORT or unix:/path, instead of server.listen; port 0 takes any free one\n"
     "      --port N          the same as --listen 127.0.0.1:N\n"
     "      --host HOST       with --port: the address to listen on\n"
     "      --log-format F    json (default) or text\n"
     "      --log-level L     DEBUG, INFO (default), WARNING, ERROR\n"
     "      --approach A      none or proxy; without an address it listens on 127.0.0.1:8000\n\n"
     "HULUMANAGE_HOST, HULUMANAGE_PORT, HULUMANAGE_LOG and HULUMANAGE_APPROACH stand for the options of "
     "these "
     "names.\n"
     "SIGHUP or a changed file reloads the configuration; SIGTERM drains and stops.\n",
     command_serve},
    {"validate-config", "Check configuration files",
     "hestia validate-config [--strict] [--json] FILE...\n\n"
     "Checks the files, merged in this order, and the certificates, price list and user that they name; "
     "tells\n"
     "everything that is wrong at once.\n"
     "      --strict          warnings count as errors\n"
     "      --json            findings as JSON\n",
     command_validate, .takes_words = true},
    {"config", "Show the configuration, its documentation or its schema",
     "hestia config show|doc|schema [-c FILE]\n\n"
     "  show      the merged configuration with secrets masked\n"
     "  doc       every key, as Markdown\n"
     "  schema    JSON Schema for editors\n",
     command_config, .takes_words = true},
    {"clients", "Holders of API keys, in a running gateway",
     "hestia clients [list] | show ID | create NAME [--strategy ID] | rename ID NAME | enable ID | disable "
     "ID |\n"
     "               assign ID STRATEGY | rotate ID | delete ID\n\n"
     "ID is a client's id, or its name where no other has it. create and rotate print the key: it is shown "
     "this\nonce. Without --strategy the client gets one of its own.\n"
     "      --data FILE       create: the whole client as JSON (- is standard input)\n" MANAGE_USAGE,
     command_manage, .takes_words = true},
    {"strategies", "What clients may use, in a running gateway",
     "hestia strategies [list] | show ID | create NAME | rename ID NAME | update ID --data FILE | clients ID "
     "|\n"
     "                  delete ID\n\n"
     "update takes the keys that change, as JSON; null takes one away. For example\n"
     "  echo '{\"rate_limits\":[{\"limit_type\":\"requests\",\"value\":60,\"time_window\":\"minute\"}]}' |\n"
     "    hestia strategies update default --data -\n"
     "      --data FILE       create, update: JSON (- is standard input)\n" MANAGE_USAGE,
     command_manage, .takes_words = true},
    {"usage", "What was used, and what is left, in a running gateway",
     "hestia usage [show] [--scope S --id ID] [--range R] | ids --scope S | limits | requests [--limit N]\n\n"
     "show leaves out the minutes (hours, days) without a request, --json has them all.\n"
     "      --scope S         global (default), client, provider, model, strategy\n"
     "      --id ID           of which one\n"
     "      --range R         hour, day, week, month\n" MANAGE_USAGE,
     command_manage, .takes_words = true},
    {"hash-key", "Hash an API key for auth.api_keys",
     "hestia hash-key [--json]\n\nReads a key from standard input and prints sha256:HEX for auth.api_keys.\n",
     command_hash_key},
    {"version", "Print the version", "hestia version [--json]\n", command_version},
    {"mock-llm", "A small LLM server for demos and tests", NULL, NULL},
};

static void print_help(FILE *out)
{
    fprintf(out, "Hestia: an on-demand gateway for AI services.\n\nusage: hestia [COMMAND] [options]\n\n");
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        fprintf(out, "  %-16s %s\n", commands[i].name, commands[i].summary);
    fprintf(out, "\n`hestia COMMAND --help` tells more. Without a command it serves.\n"
                 "Exit codes: 0 done, 1 failed, 2 wrong usage.\n");
}

static const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

/* ---- options --------------------------------------------------------------------------------------------
 */

struct parse {
    struct cli_options *options;
    const struct command *command;
    int argc, at;
    char **argv;
    const char *host, *port;
    bool help, wrong;
    char address[300];
};

static int usage_error(struct parse *p, const char *text, const char *word)
{
    fprintf(stderr, "hestia %s: %s%s\nTry: hestia %s --help\n", p->command->name, text, word,
            p->command->name);
    p->wrong = true;
    return 0;
}

/* "--name value" or "--name=value". */
static const char *option_value(struct parse *p, const char *name)
{
    const char *word = p->argv[p->at];
    size_t n = strlen(name);
    if (strncmp(word, name, n) != 0 || (word[n] != '\0' && word[n] != '='))
        return NULL;
    if (word[n] == '=')
        return word + n + 1;
    if (p->at + 1 >= p->argc) {
        usage_error(p, "a value is missing after ", name);
        return "";
    }
    return p->argv[++p->at];
}

static void list_add(struct parse *p, const char **list, size_t *count, size_t max, const char *value)
{
    if (*count < max)
        list[(*count)++] = value;
    else
        usage_error(p, "too many values: ", value);
}

static bool parse_managing(struct parse *p)
{
    struct cli_options *o = p->options;
    const struct {
        const char *name, **place;
    } known[] = {
        {"--url", &o->url}, {"--strategy", &o->strategy}, {"--data", &o->data},  {"--scope", &o->scope},
        {"--id", &o->id},   {"--range", &o->range},       {"--limit", &o->limit}};
    const char *value;
    for (size_t i = 0; i < COUNT_OF(known) && p->command->run == command_manage; i++)
        if ((value = option_value(p, known[i].name))) {
            *known[i].place = value;
            return true;
        }
    return false;
}

static bool parse_valued(struct parse *p)
{
    struct cli_options *o = p->options;
    const char *value;
    if ((value = option_value(p, "-c")) || (value = option_value(p, "--config")))
        list_add(p, o->files, &o->file_count, COUNT_OF(o->files), value);
    else if ((value = option_value(p, "--listen")))
        list_add(p, o->listen, &o->listen_count, COUNT_OF(o->listen), value);
    else if ((value = option_value(p, "--port")))
        p->port = value;
    else if ((value = option_value(p, "--host")))
        p->host = value;
    else if ((value = option_value(p, "--log-format")))
        o->log_format = value;
    else if ((value = option_value(p, "--log-level")))
        o->log_level = value;
    else if ((value = option_value(p, "--approach")))
        o->approach = value;
    else
        return parse_managing(p);
    return true;
}

static void parse_word(struct parse *p)
{
    struct cli_options *o = p->options;
    const char *word = p->argv[p->at];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        p->help = true;
    else if (strcmp(word, "--strict") == 0)
        o->strict = true;
    else if (strcmp(word, "--json") == 0)
        o->json = true;
    else if (word[0] == '-' && word[1] && !parse_valued(p))
        usage_error(p, "unknown option ", word);
    else if (word[0] != '-' || !word[1])
        list_add(p, o->rest, &o->rest_count, COUNT_OF(o->rest), word);
}

/* Then config_load() knows where to listen. */
static bool has_listen_variable(void)
{
    static const char *const names[] = {"HULUMANAGE_HOST", "hulumanage_HOST", "HULUMANAGE_PORT",
                                        "hulumanage_PORT"};
    const char *value;
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if ((value = getenv(names[i])) && *value)
            return true;
    return false;
}

static void finish_address(struct parse *p)
{
    struct cli_options *o = p->options;
    if (o->approach && !p->port && !p->host && !o->listen_count && !has_listen_variable())
        p->port = "8000";
    if (!p->port && !p->host)
        return;
    snprintf(p->address, sizeof p->address, "%s:%s", p->host ? p->host : "127.0.0.1",
             p->port ? p->port : "8080");
    list_add(p, o->listen, &o->listen_count, COUNT_OF(o->listen), p->address);
}

static void check_addresses(struct parse *p)
{
    struct address address;
    for (size_t i = 0; i < p->options->listen_count; i++)
        if (!address_parse(str_from_c(p->options->listen[i]), &address))
            usage_error(p,
                        "no address, write HOST:PORT, [ADDRESS]:PORT or unix:/path: ", p->options->listen[i]);
}

static void check_rest(struct parse *p)
{
    if (p->options->rest_count && !p->command->takes_words)
        usage_error(p, "unexpected argument ", p->options->rest[0]);
}

int cli_run(int argc, char **argv)
{
    static struct cli_options options;
    const char *first = argc > 1 ? argv[1] : "serve";
    if (argc > 1 &&
        (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0 || strcmp(first, "help") == 0)) {
        print_help(stdout);
        return EXIT_OK;
    }
    if (argc > 1 && (strcmp(first, "--version") == 0 || strcmp(first, "-V") == 0))
        first = "version";
    bool named = argc > 1 && (first[0] != '-');
    const struct command *command = command_find(named ? first : "serve");
    if (!command) {
        fprintf(stderr, "hestia: unknown command %s\n\n", first);
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (!command->run)
        return mock_llm_main(argc - 1, argv + 1);
    options.command = command->name;
    static struct parse p;
    p = (struct parse){
        .options = &options, .command = command, .argc = argc, .argv = argv, .at = named ? 2 : 1};
    for (; p.at < argc && !p.wrong; p.at++)
        parse_word(&p);
    if (p.help) {
        fputs(command->usage, stdout);
        return EXIT_OK;
    }
    check_rest(&p);
    finish_address(&p);
    check_addresses(&p);
    return p.wrong ? EXIT_USAGE : command->run(&options);
}
