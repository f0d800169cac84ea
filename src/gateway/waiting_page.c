/* What a browser sees while a service starts, or waits for its next start after a failure: a small page that
   refreshes itself (details.md section 3). */
#include "gateway/exchange.h"

bool waiting_page_wanted(struct exchange *x)
{
    const struct head *h = &x->request.head;
    struct str mode = head_value(h, FIELD_SEC_FETCH_MODE);
    const struct service_config *config = x->route.service->config;
    if (h->method != METHOD_GET || !config->waiting_page || config->disabled || x->websocket)
        return false;
    if (mode.n && !str_eq_nocase(mode, STR("navigate")))
        return false;
    struct str accept = head_value(h, FIELD_ACCEPT);
    if (str_find_str_nocase(accept, STR("text/html")) == accept.n)
        return false;
    return !service_is_hot(x->route.service->service);
}

static void add_escaped(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        switch (c) {
        case '<':
            buf_add_c(out, "&lt;");
            break;
        case '>':
            buf_add_c(out, "&gt;");
            break;
        case '&':
            buf_add_c(out, "&amp;");
            break;
        case '"':
            buf_add_c(out, "&quot;");
            break;
        default:
            buf_add_char(out, (unsigned char)c < 0x20 || c == 0x7f ? ' ' : c);
        }
    }
}

static void write_failure(struct buf *out, const struct service_status *status, uint64_t pause_s)
{
    if (!status->has_last_error)
        return;
    buf_add_c(out, "<p>The last failure: ");
    add_escaped(out, status->last_error);
    buf_add_c(out, "</p>");
    if (pause_s)
        buf_addf(out, "<p>It is started again in %llu s.</p>", (unsigned long long)pause_s);
}

static void write_page(struct buf *out, const struct service_status *status, uint64_t pause_s)
{
    static const char *const names[] = {"cold", "starting", "hot", "stopping"};
    buf_add_c(out, "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">"
                   "<meta http-equiv=\"refresh\" content=\"1\">"
                   "<meta name=\"viewport\" content=\"width=device-width\"><title>Starting ");
    add_escaped(out, status->id);
    buf_add_c(out, "</title><style>body{font:16px/1.5 system-ui,sans-serif;max-width:40em;margin:20vh "
                   "auto;padding:0 1em;"
                   "color:#333;background:#fff}pre{background:#f4f4f4;padding:.5em;white-space:pre-wrap;"
                   "overflow-wrap:anywhere}@media(prefers-color-scheme:dark){body{color:#ddd;background:#111}"
                   "pre{background:#222}}</style></head><body><h1>");
    add_escaped(out, status->id);
    buf_addf(out,
             " is %s</h1><p>For %llu s. This page goes on by itself as soon as the service is ready.</p>",
             names[status->state], (unsigned long long)(status->state_age_ms / 1000));
    write_failure(out, status, pause_s);
    if (status->last_log_line.n) {
        buf_add_c(out, "<pre>");
        add_escaped(out, str_first(status->last_log_line, 1000));
        buf_add_c(out, "</pre>");
    }
    buf_add_c(out, "</body></html>\n");
}

/* Until the back-off after a failure ends; 0 = there is none. */
static uint64_t pause_left_s(const struct service_status *status)
{
    int64_t now = clock_wall_us();
    return status->retry_at_us > now ? (uint64_t)(status->retry_at_us - now + 999999) / 1000000 : 0;
}

/* A failed start is told on the page, which tries again: an answer in JSON would be the browser's last. */
static enum err start_ask(struct task *t, struct exchange *x)
{
    enum err err = service_watch_start(t, x->route.service->service, &x->error);
    return err == ERR_BACKING_OFF && !x->route.service->fallback ? OK : err;
}

enum err waiting_page_send(struct task *t, struct exchange *x)
{
    struct service_status status;
    struct buf page = BUF(64 << 10);
    struct response response = {.status = 503, .content_type = STR("text/html; charset=utf-8")};
    TRY(inflow_settle(&x->conn->in));
    TRY(start_ask(t, x));
    service_status(t, x->route.service->service, &x->request.arena, &status);
    uint64_t pause_s = pause_left_s(&status);
    write_page(&page, &status, pause_s);
    response.body = buf_str(&page);
    head_add(&response.fields, STR("Refresh"), STR("1"));
    head_add(&response.fields, STR("Retry-After"),
             arena_printf(&x->request.arena, "%llu", (unsigned long long)MAX(pause_s, (uint64_t)1)));
    head_add(&response.fields, STR("Cache-Control"), STR("no-store"));
    head_add(&response.fields, STR("X-Hestia-Error-Source"), STR("service"));
    x->status = 503;
    enum err err = response_send(t, x->conn, &x->request, &response);
    buf_free(&page);
    return err;
}
