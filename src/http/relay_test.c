/* The relay over socket pairs, at moments that no test from outside can choose: an upstream that is gone when
   the request is sent, a body that was read and not yet used up. */
#include "http/relay.h"
#include "loop/test.h"

struct scene {
    struct server server;
    struct conn client;
    struct request request;
    struct upstream up;
    struct origin origin;
    struct relay relay;
    struct buf replay;
    struct head response;
    int client_fd, up_fd; /* the other ends */
};

/* A request of that framing, its head already read. */
static void scene_open(struct task *t, struct scene *s, struct framing framing)
{
    *s = (struct scene){.server.settings = {.stream_idle_ms = 5000, .abort_on_half_close = true},
                        .origin.name = STR("test")};
    s->server.loop = t->loop;
    s->client_fd = sock_pair(t, &s->client.sock);
    s->up_fd = sock_pair(t, &s->up.sock);
    s->client.server = &s->server;
    s->client.in.sock = s->client.out.sock = &s->client.sock;
    s->up.in.sock = s->up.out.sock = &s->up.sock;
    s->up.origin = &s->origin;
    s->client.keep = true;
    s->request.head.minor = 1;
    body_begin(&s->request.body, framing, framing.kind == BODY_CHUNKED);
    s->relay = (struct relay){.client = &s->client,
                              .request = &s->request,
                              .up = &s->up,
                              .replay = &s->replay,
                              .replay_complete = true,
                              .first_byte_ms = 5000,
                              .idle_ms = 5000};
}

static void scene_close(struct scene *s)
{
    inflow_free(&s->client.in);
    inflow_free(&s->up.in);
    outflow_free(&s->client.out);
    outflow_free(&s->up.out);
    sock_close(&s->client.sock);
    sock_close(&s->up.sock);
    buf_free(&s->replay);
    if (s->client_fd >= 0)
        close(s->client_fd);
    if (s->up_fd >= 0)
        close(s->up_fd);
}

static void client_sends(struct task *t, struct scene *s, const char *text)
{
    assert_int_equal(write(s->client_fd, text, strlen(text)), strlen(text));
    assert_int_equal(inflow_fill(t, &s->client.in, SCRATCH_SIZE, task_deadline(t, 5000)), OK);
}

static struct str upstream_got(struct scene *s)
{
    static char text[1000];
    ssize_t n = read(s->up_fd, text, sizeof text);
    assert_true(n >= 0);
    return str_make(text, (size_t)n);
}

/* The upstream is gone at the first byte. The body that was read counts as used: it must not be read as the
   next request, and another attempt finds all of it in the replay. */
static void upstream_gone_at_the_head(struct task *t, void *argument)
{
    struct scene s;
    struct error error;
    scene_open(t, &s, (struct framing){BODY_LENGTH, 5});
    client_sends(t, &s, "helloGET /next");
    close(s.up_fd);
    s.up_fd = -1;
    assert_int_equal(relay_send_head(t, &s.relay, STR("POST / HTTP/1.1\r\n\r\n"), &error), ERR_RESET);
    assert_true(s.request.body.done && s.request.body.begun);
    assert_true(str_eq(str_make(s.client.in.p, s.client.in.n), STR("GET /next")));
    assert_true(relay_is_retryable_body(&s.relay));
    assert_true(str_eq(buf_str(&s.replay), STR("hello")));

    sock_close(&s.up.sock); /* again, to one that is there */
    s.up_fd = sock_pair(t, &s.up.sock);
    assert_int_equal(relay_send_head(t, &s.relay, STR("POST / HTTP/1.1\r\n\r\n"), &error), OK);
    assert_true(str_eq(upstream_got(&s), STR("POST / HTTP/1.1\r\n\r\nhello")));
    assert_true(s.relay.request_sent);
    scene_close(&s);
}

/* Chunk framing is used up like data, though it is none. */
static void framing_alone_makes_a_body_begun(struct task *t, void *argument)
{
    struct scene s;
    struct error error;
    scene_open(t, &s, (struct framing){BODY_CHUNKED, 0});
    s.relay.replay = NULL;
    assert_true(relay_is_retryable_body(&s.relay));
    client_sends(t, &s, "5\r\n");
    assert_int_equal(relay_send_head(t, &s.relay, STR("H\r\n\r\n"), &error), OK);
    assert_true(str_eq(upstream_got(&s), STR("H\r\n\r\n5\r\n")));
    assert_int_equal(s.request.body.received, 0);
    assert_false(relay_is_retryable_body(&s.relay));
    scene_close(&s);
}

static void body_beyond_the_replay_is_not_retryable(struct task *t, void *argument)
{
    static char block[REPLAY_MAX + 1];
    struct scene s;
    struct error error;
    scene_open(t, &s, (struct framing){BODY_LENGTH, sizeof block});
    assert_int_equal(inflow_settle(&s.client.in), OK);
    buf_add(&s.client.in.kept, block, sizeof block);
    s.client.in.p = s.client.in.kept.p;
    s.client.in.n = s.client.in.kept.n;
    assert_int_equal(relay_send_head(t, &s.relay, STR("H\r\n\r\n"), &error), OK);
    assert_false(relay_is_retryable_body(&s.relay));
    assert_int_equal(s.replay.n, 0);
    scene_close(&s);
}

/* The client goes while its request is on the way. */
static void client_gone(struct task *t, void *argument)
{
    struct scene s;
    struct error error;
    scene_open(t, &s, (struct framing){BODY_NONE, 0});
    assert_int_equal(relay_send_head(t, &s.relay, STR("H\r\n\r\n"), &error), OK);
    close(s.client_fd);
    s.client_fd = -1;
    assert_int_equal(relay_await_response(t, &s.relay, &s.response, &error), ERR_CANCELLED);
    scene_close(&s);
}

/* Not a byte: the caller may try again. After an interim answer it may not. */
static void end_before_and_after_an_interim_answer(struct task *t, void *argument)
{
    static const struct {
        const char *sent;
        enum err want;
    } rows[] = {{"", ERR_RESET},
                {"H", ERR_UPSTREAM_PROTOCOL},
                {"HTTP/1.1 102 Processing\r\n\r\n", ERR_UPSTREAM_PROTOCOL}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct scene s;
        struct error error;
        scene_open(t, &s, (struct framing){BODY_NONE, 0});
        assert_int_equal(relay_send_head(t, &s.relay, STR("H\r\n\r\n"), &error), OK);
        assert_int_equal(write(s.up_fd, rows[i].sent, strlen(rows[i].sent)), strlen(rows[i].sent));
        shutdown(s.up_fd, SHUT_WR);
        assert_int_equal(relay_await_response(t, &s.relay, &s.response, &error), rows[i].want);
        scene_close(&s);
    }
}

#define TASK_TEST(name)                                                                                      \
    static void test_##name(void **state)                                                                    \
    {                                                                                                        \
        run_task(name, NULL);                                                                                \
    }
TASK_TEST(upstream_gone_at_the_head)
TASK_TEST(framing_alone_makes_a_body_begun)
TASK_TEST(body_beyond_the_replay_is_not_retryable)
TASK_TEST(client_gone)
TASK_TEST(end_before_and_after_an_interim_answer)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_upstream_gone_at_the_head),
        cmocka_unit_test(test_framing_alone_makes_a_body_begun),
        cmocka_unit_test(test_body_beyond_the_replay_is_not_retryable),
        cmocka_unit_test(test_client_gone),
        cmocka_unit_test(test_end_before_and_after_an_interim_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
