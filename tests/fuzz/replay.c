/*
 * Runs a fuzz target without libFuzzer, for ./test: every seed and every regression as it is, then changes of
 * them, the same ones each time, until the processor time that was granted is used up.
 *
 *     fuzz_TARGET [--cpu-ms N] [--dictionary FILE] PATH…
 *
 * A PATH is an input, or a folder of them; one that is not there has none.
 *
 * The input at which it dies is left in the file failed-TARGET.
 */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { INPUTS_MAX = 1024, TOKENS_MAX = 256, MUTANT_MAX = 8192, FILE_MAX = 1 << 20 };

static const char *program;
static struct str inputs[INPUTS_MAX], tokens[TOKENS_MAX];
static size_t input_count, token_count;
static struct str present; /* what the target is looking at */

/* ---- dying --------------------------------------------------------------------------------------------- */

/* Sanitizers shall die by a signal, so that the input can be kept. Other options come from the environment.
 */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "abort_on_error=1";
}

const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void)
{
    return "abort_on_error=1:halt_on_error=1:print_stacktrace=1";
}

static void keep_input(int signal_number)
{
    char name[256];
    snprintf(name, sizeof name, "failed-%s", program);
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd >= 0 && write(fd, present.p, present.n) == (ssize_t)present.n)
        dprintf(STDERR_FILENO, "The input is in %s; see \"Fuzzing\" in CONTRIBUTING.md.\n", name);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static _Noreturn void die(const char *what, const char *name)
{
    fprintf(stderr, "%s: %s: %s\n", program, name, what);
    exit(1);
}

/* ---- inputs -------------------------------------------------------------------------------------------- */

static struct str file_read(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *bytes = mem_alloc(FILE_MAX);
    ssize_t n = fd >= 0 && bytes ? read(fd, bytes, FILE_MAX) : -1;
    if (n < 0)
        die(strerror(errno), path);
    close(fd);
    char *exact = exact_copy(str_make(bytes, (size_t)n));
    mem_free(bytes);
    return str_make(exact, (size_t)n);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name); /* in any locale */
}

static int is_input(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void inputs_add(const char *path)
{
    struct stat st;
    struct dirent **entries;
    if (stat(path, &st) != 0) {
        if (errno == ENOENT) /* as yet there is no regression of this target */
            return;
        die(strerror(errno), path);
    }
    if (!S_ISDIR(st.st_mode)) {
        if (input_count == INPUTS_MAX)
            die("too many inputs", path);
        inputs[input_count++] = file_read(path);
        return;
    }
    int count = scandir(path, &entries, is_input, by_name);
    for (int i = 0; i < count; i++) {
        char name[4096];
        snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
        inputs_add(name);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

/* One line of a dictionary, name="text" with \\, \" and \xNN; what is no such line is skipped. */
static void token_add(struct str line)
{
    size_t start = str_find(line, '"');
    char text[256];
    size_t n = 0;
    line = str_from(line, start + 1);
    if (!line.n || token_count == TOKENS_MAX)
        return;
    while (line.n && line.p[0] != '"' && n < sizeof text) {
        unsigned byte = (uint8_t)line.p[0];
        size_t used = 1;
        if (byte == '\\' && line.n >= 4 && line.p[1] == 'x' && sscanf(line.p + 2, "%2x", &byte) == 1)
            used = 4;
        else if (byte == '\\' && line.n >= 2)
            byte = (uint8_t)line.p[used++];
        text[n++] = (char)byte;
        line = str_from(line, used);
    }
    if (n)
        tokens[token_count++] = str_make(exact_copy(str_make(text, n)), n);
}

static void dictionary_read(const char *path)
{
    struct str all = file_read(path), rest = all;
    while (rest.n) {
        struct str line = str_cut(&rest, '\n');
        if (!str_starts(line, STR("#")))
            token_add(line);
    }
    mem_free((char *)(uintptr_t)all.p);
}

/* ---- changes ------------------------------------------------------------------------------------------- */

struct mutant {
    uint64_t seed;
    size_t n;
    char bytes[MUTANT_MAX];
};

/* A number below `limit`, which is not 0. */
static size_t below(struct mutant *m, size_t limit)
{
    m->seed ^= m->seed << 13;
    m->seed ^= m->seed >> 7;
    m->seed ^= m->seed << 17;
    return (size_t)(m->seed >> 11) % limit;
}

/* Replaces `gone` bytes at `at`; what does not fit is left out. */
static void replace(struct mutant *m, size_t at, size_t gone, struct str in)
{
    static char copy[MUTANT_MAX];
    if (m->n - gone + in.n > MUTANT_MAX)
        return;
    if (in.n)
        memcpy(copy, in.p, in.n);
    memmove(m->bytes + at + in.n, m->bytes + at + gone, m->n - at - gone);
    memcpy(m->bytes + at, copy, in.n);
    m->n += in.n - gone;
}

/* A part of another input, or a token. */
static struct str borrow(struct mutant *m)
{
    if (token_count && below(m, 4))
        return tokens[below(m, token_count)];
    struct str other = inputs[below(m, input_count)];
    size_t at = below(m, other.n + 1);
    return str_first(str_from(other, at), below(m, 64) + 1);
}

static void change(struct mutant *m)
{
    size_t at = below(m, m->n + 1), rest = m->n - at, part = rest ? below(m, MIN(rest, (size_t)32) + 1) : 0;
    char byte = (char)below(m, 256);
    switch (below(m, 8)) {
    case 0:
    case 1:
        replace(m, at, 0, borrow(m));
        break;
    case 2:
        replace(m, at, part, borrow(m));
        break;
    case 3:
        replace(m, at, rest ? 1 : 0, str_make(&byte, 1));
        break;
    case 4:
        replace(m, at, part, STR_NONE);
        break;
    case 5:
        replace(m, below(m, m->n + 1), 0, str_make(m->bytes + at, part));
        break;
    case 6:
        m->n = below(m, 8) ? m->n : at;
        break;
    default:
        if (rest)
            m->bytes[at] = (char)(m->bytes[at] ^ (1 << below(m, 8)));
    }
}

static void mutate(struct mutant *m)
{
    struct str input = str_first(inputs[below(m, input_count)], MUTANT_MAX);
    m->n = input.n;
    if (input.n)
        memcpy(m->bytes, input.p, input.n);
    for (size_t changes = below(m, 5) + 1; changes > 0; changes--)
        change(m);
}

/* ---- running ------------------------------------------------------------------------------------------- */

static void run(struct str input)
{
    char *copy = exact_copy(input);
    present = str_make(copy, input.n);
    LLVMFuzzerTestOneInput((const uint8_t *)copy, input.n);
    present = STR_NONE;
    mem_free(copy);
}

/* By the processor's clock: a busy machine gets as many as an idle one. */
static size_t run_mutants(long cpu_ms)
{
    static struct mutant m = {.seed = 0x9e3779b97f4a7c15u};
    clock_t end = clock() + cpu_ms * (CLOCKS_PER_SEC / 1000);
    size_t rounds = 0;
    while (clock() < end) {
        for (int i = 0; i < 16; i++, rounds++) {
            mutate(&m);
            run(str_make(m.bytes, m.n));
        }
    }
    return rounds;
}

int main(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/');
    long cpu_ms = 0;
    program = slash ? slash + 1 : argv[0];
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--cpu-ms") == 0 && i + 1 < argc)
            cpu_ms = strtol(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--dictionary") == 0 && i + 1 < argc)
            dictionary_read(argv[++i]);
        else
            inputs_add(argv[i]);
    }
    if (input_count == 0)
        die("no input", "nothing to do");
    signal(SIGABRT, keep_input);
    for (size_t i = 0; i < input_count; i++)
        run(inputs[i]);
    run(STR_NONE);
    size_t rounds = run_mutants(cpu_ms);
    printf("%zu inputs, %zu changes of them\n", input_count, rounds);
    for (size_t i = 0; i < input_count; i++)
        mem_free((char *)(uintptr_t)inputs[i].p);
    for (size_t i = 0; i < token_count; i++)
        mem_free((char *)(uintptr_t)tokens[i].p);
    return 0;
}
