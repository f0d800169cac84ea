/* Strategies as the API takes them: refused with a sentence, or the same again after they were written down.
 */
#include "fuzz.h"
#include "strategy/book_inside.h"

static void check_limits(const struct strategy_config *s)
{
    for (size_t i = 0; i < s->limit_count; i++) {
        REQUIRE(s->limits[i].value >= 1);
        REQUIRE((int)s->limits[i].kind < LIMIT_KINDS && s->limits[i].window <= WINDOW_DAY);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    CLEANUP(arena_free) struct arena arena = {0};
    CLEANUP(buf_free) struct buf text = BUF(0), text_again = BUF(0);
    struct strategy_config s, again;
    struct error error = {0};
    enum err err = config_read_strategy(&arena, input_str(bytes, n), &s, &error);
    if (err != OK) {
        REQUIRE(err == ERR_BAD_REQUEST);
        require_sentence(err, &error);
        return 0;
    }
    check_limits(&s);
    if (!s.id.n) /* then the gateway makes one */
        s.id = STR("made");
    strategy_print(&text, &s, NULL);
    REQUIRE(buf_err(&text) == OK);
    REQUIRE(config_read_strategy(&arena, buf_str(&text), &again, &error) == OK);
    check_limits(&again);
    strategy_print(&text_again, &again, NULL);
    REQUIRE(buf_err(&text_again) == OK && str_eq(buf_str(&text), buf_str(&text_again)));
    return 0;
}
