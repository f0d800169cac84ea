/* Clients as the API takes them: refused with a sentence, or the same again after they were written down. */
#include "fuzz.h"
#include "strategy/book_inside.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    CLEANUP(arena_free) struct arena arena = {0};
    CLEANUP(buf_free) struct buf text = BUF(0), text_again = BUF(0);
    struct client_config c, again;
    struct error error = {0};
    enum err err = config_read_client(&arena, input_str(bytes, n), &c, &error);
    if (err != OK) {
        REQUIRE(err == ERR_BAD_REQUEST);
        require_sentence(err, &error);
        return 0;
    }
    REQUIRE(c.key_count == 0); /* keys are made by the gateway, not sent to it */
    if (!c.id.n)               /* then the gateway makes one */
        c.id = STR("made");
    client_print(&text, &c, NULL, NULL);
    REQUIRE(buf_err(&text) == OK);
    REQUIRE(config_read_client(&arena, buf_str(&text), &again, &error) == OK);
    client_print(&text_again, &again, NULL, NULL);
    REQUIRE(buf_err(&text_again) == OK && str_eq(buf_str(&text), buf_str(&text_again)));
    return 0;
}
