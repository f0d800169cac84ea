/* Response heads: found at the same place however they arrive, read strictly, written down and read again. */
#include "heads.h"

static void check_written(const struct head *h)
{
    static struct head again;
    CLEANUP(buf_free) struct buf out = BUF(0);
    struct error error = {0};
    buf_addf(&out, "HTTP/1.%d %03d %.*s\r\n", h->minor, h->status, STR_ARG(h->reason));
    heads_print_fields(&out, h);
    REQUIRE(heads_find_end(buf_str(&out)) == out.n);
    REQUIRE(head_parse_response(buf_str(&out), &wide_limits, &again, &error) == OK);
    REQUIRE(again.status == h->status && again.minor == h->minor && str_eq(again.reason, h->reason));
    heads_require_same(h, &again, false);
}

static void check_taken(struct head *h, struct str block)
{
    struct error error = {0};
    heads_check_fields(h, block);
    REQUIRE(h->status >= 100 && h->status <= 599);
    REQUIRE(h->minor == 0 || h->minor == 1);
    REQUIRE(lies_in(h->reason, block));
    for (size_t i = 0; i < h->reason.n; i++)
        REQUIRE(h->reason.p[i] != '\r' && h->reason.p[i] != '\n' && h->reason.p[i] != '\0');
    check_written(h);
    (void)head_keeps_alive(h);
    if (head_mark_hops(h, false, &error) != OK)
        return;
    /* Its framing is told anew, whatever Connection says of it. */
    for (int i = 0; i < h->field_count; i++)
        if (h->fields[i].id == FIELD_TRANSFER_ENCODING)
            REQUIRE(h->fields[i].hop);
    heads_check_forwarded(h);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static struct head h, again;
    struct error error = {0}, error_again = {0};
    size_t end = heads_find_end(input_str(bytes, n));
    if (!end)
        return 0;
    char *copy = exact_copy(input_str(bytes, end));
    struct str block = str_make(copy, end);
    enum err err = head_parse_response(block, &narrow_limits, &h, &error);
    if (err == OK) {
        REQUIRE(block.n <= narrow_limits.head && h.field_count <= narrow_limits.fields);
        REQUIRE(head_parse_response(block, &wide_limits, &again, &error_again) == OK);
        REQUIRE(head_parse_response(str_first(block, end - 1), &wide_limits, &again, &error_again) != OK);
        if (n > end)
            REQUIRE(head_parse_response(input_str(bytes, end + 1), &wide_limits, &again, &error_again) != OK);
        check_taken(&h, block);
    } else {
        REQUIRE(err == ERR_UPSTREAM_PROTOCOL);
        require_sentence(err, &error);
    }
    mem_free(copy);
    return 0;
}
