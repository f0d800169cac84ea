/* Request heads: found at the same place however they arrive, read strictly, written down and read again. */
#include "heads.h"

static void check_written(const struct head *h)
{
    static struct head again;
    CLEANUP(buf_free) struct buf out = BUF(0);
    struct error error = {0};
    buf_addf(&out, "%.*s %.*s HTTP/1.%d\r\n", STR_ARG(h->method_text), STR_ARG(h->target), h->minor);
    heads_print_fields(&out, h);
    REQUIRE(heads_find_end(buf_str(&out)) == out.n);
    REQUIRE(head_parse_request(buf_str(&out), &wide_limits, &again, &error) == OK);
    REQUIRE(again.method == h->method && again.minor == h->minor);
    REQUIRE(str_eq(again.method_text, h->method_text) && str_eq(again.target, h->target));
    heads_require_same(h, &again, false);
}

static void check_taken(struct head *h, struct str block)
{
    struct error error = {0};
    for (size_t i = 0; i <= block.n; i++)
        REQUIRE(head_may_be_request(str_first(block, i)));
    heads_check_fields(h, block);
    REQUIRE(h->minor == 0 || h->minor == 1);
    REQUIRE(str_eq(method_name(h->method), h->method_text));
    REQUIRE(h->method != METHOD_TRACE && h->method != METHOD_CONNECT);
    REQUIRE(h->target.n > 0 && h->target.n <= narrow_limits.target && lies_in(h->target, block));
    for (size_t i = 0; i < h->target.n; i++)
        REQUIRE(h->target.p[i] > 0x20 && h->target.p[i] < 0x7f);
    REQUIRE(h->minor == 0 || h->first[FIELD_HOST]);
    REQUIRE(!h->first[FIELD_HOST] || head_next(h, FIELD_HOST, h->first[FIELD_HOST] - 1) < 0);
    check_written(h);
    (void)head_keeps_alive(h);
    enum err err = head_mark_hops(h, true, &error);
    REQUIRE(err == OK || err == ERR_HTTP_SYNTAX);
    if (err == OK)
        heads_check_forwarded(h);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static struct head h, again;
    struct error error = {0}, error_again = {0};
    size_t end = heads_find_end(input_str(bytes, n));
    if (!end)
        return 0;
    char *copy = exact_copy(input_str(bytes, end)); /* so that a byte too many is seen */
    struct str block = str_make(copy, end);
    enum err err = head_parse_request(block, &narrow_limits, &h, &error);
    if (err == OK) {
        REQUIRE(block.n <= narrow_limits.head && h.field_count <= narrow_limits.fields);
        REQUIRE(head_parse_request(block, &wide_limits, &again, &error_again) == OK);
        REQUIRE(head_parse_request(str_first(block, end - 1), &wide_limits, &again, &error_again) != OK);
        if (n > end)
            REQUIRE(head_parse_request(input_str(bytes, end + 1), &wide_limits, &again, &error_again) != OK);
        check_taken(&h, block);
    } else {
        REQUIRE(err == ERR_HTTP_SYNTAX || err == ERR_VERSION || err == ERR_NOT_IMPLEMENTED ||
                err == ERR_METHOD_NOT_ALLOWED || err == ERR_TARGET_TOO_LONG || err == ERR_FIELDS_TOO_LARGE);
        require_sentence(err, &error);
    }
    mem_free(copy);
    return 0;
}
