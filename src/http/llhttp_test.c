/* Mutated messages, read by our parsers and by llhttp: llhttp_compare.h. */
#include "http/test.h"
#include "http/llhttp_compare.h"
#include "http/mutate.h"

enum { ROUNDS = 60000, RARELY = ROUNDS / 100 };

/* Whether ours took it. */
static bool check(struct str bytes, bool is_request)
{
    const char *difference;
    bool taken = llhttp_compare(bytes, is_request, &difference);
    if (!difference)
        return taken;
    print_error("%s differs for: ", difference);
    for (size_t i = 0; i < bytes.n; i++)
        print_error(bytes.p[i] >= 0x20 && bytes.p[i] < 0x7f ? "%c" : "\\x%02x", (uint8_t)bytes.p[i]);
    print_error("\n");
    fail();
    return taken;
}

static void run(const struct str *seeds, size_t count, bool is_request)
{
    static struct mutant m;
    int taken = 0;
    for (size_t i = 0; i < count; i++)
        check(seeds[i], is_request);
    m.seed = 0x2545f4914f6cdd1du;
    for (int i = 0; i < ROUNDS; i++) {
        mutant_make(&m, seeds, count);
        taken += check(str_make(m.bytes, m.n), is_request);
    }
    assert_in_range(taken, RARELY, ROUNDS); /* both sides of the question were asked */
}

static void test_requests(void **state)
{
    run(corpus_requests, COUNT_OF(corpus_requests), true);
}

static void test_responses(void **state)
{
    run(corpus_responses, COUNT_OF(corpus_responses), false);
}

/* Chunked bodies behind a head that is good. */
static void test_chunked(void **state)
{
    static struct mutant m;
    static const struct str head = CORPUS("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    int taken = 0;
    m.seed = 0x2545f4914f6cdd1du;
    for (int i = 0; i < ROUNDS; i++) {
        mutant_make(&m, corpus_chunked, COUNT_OF(corpus_chunked));
        if (m.n + head.n > MUTANT_MAX)
            continue;
        mutant_splice(&m, 0, 0, head);
        taken += check(str_make(m.bytes, m.n), true);
    }
    assert_in_range(taken, RARELY, ROUNDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_responses),
        cmocka_unit_test(test_chunked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
