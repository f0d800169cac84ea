/* WebSocket frames: the meter knows where they end, whatever the parts in which they come. */
#include "fuzz.h"
#include "http/websocket.h"

/* The length of the frame at `at`, its head included; 0 = its head is not complete. */
static uint64_t frame_length(struct str all, size_t at, bool *close, bool *huge)
{
    const uint8_t *p = (const uint8_t *)all.p + at;
    size_t have = all.n - at, head = 2;
    uint64_t length;
    if (have < 2)
        return 0;
    unsigned said = p[1] & 0x7f;
    head += said == 126 ? 2 : said == 127 ? 8 : 0;
    head += p[1] & 0x80 ? 4 : 0;
    if (have < head)
        return 0;
    length = said;
    if (said == 126)
        length = (uint64_t)p[2] << 8 | p[3];
    for (int i = 0; said == 127 && i < 8; i++)
        length = (i ? length << 8 : 0) | p[2 + i];
    *close |= (p[0] & 0x0f) == 8;
    *huge = length > UINT64_MAX - head;
    return *huge ? UINT64_MAX : head + length;
}

/* What the meter ought to say at the end of these bytes. */
static bool may_close(struct str all)
{
    bool close = false, huge = false;
    size_t at = 0;
    while (at < all.n) {
        uint64_t length = frame_length(all, at, &close, &huge);
        if (length == 0 || huge || length > all.n - at)
            return false;
        at += length;
    }
    return !close;
}

static void require_same(const struct frame_meter *a, const struct frame_meter *b)
{
    REQUIRE(a->left == b->left && a->have == b->have && a->closed == b->closed);
    REQUIRE(memcmp(a->head, b->head, a->have) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct str all = input_str(bytes, n);
    struct frame_meter whole = {0}, bytewise = {0};
    frame_meter_feed(&whole, all);
    for (size_t i = 0; i < n; i++) {
        frame_meter_feed(&bytewise, str_make(all.p + i, 1));
        REQUIRE(bytewise.have < sizeof bytewise.head);
        if (i < CUTS_ALL)
            REQUIRE(frame_meter_may_close(&bytewise) == may_close(str_first(all, i + 1)));
    }
    require_same(&whole, &bytewise);
    REQUIRE(frame_meter_may_close(&whole) == may_close(all));
    for (struct cuts c = cuts_of(all); cuts_next(&c);) {
        struct frame_meter two = {0};
        frame_meter_feed(&two, str_first(all, c.at));
        frame_meter_feed(&two, str_from(all, c.at));
        require_same(&whole, &two);
    }
    return 0;
}
