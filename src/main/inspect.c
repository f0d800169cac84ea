/* The checks of a start, without starting: see inspect.h. Main thread. */
#include "main/inspect.h"

#include "config/report.h"
#include "llm/price.h"
#include "loop/tls.h"
#include "main/identity.h"

#include <stdio.h>

struct inspection {
    const struct config_sources *sources;
    struct findings *findings;
};

/* A sentence may name its key already. */
static void complain(const struct inspection *in, const char *key, const struct error *error)
{
    struct str name = str_from_c(key), text = str_from_c(error_text(error));
    if (str_starts(text, name) && str_starts(str_from(text, name.n), STR(": ")))
        text = str_from(text, name.n + 2);
    findings_add_error(in->findings, in->sources, name, text);
}

static void server_inspect(const struct inspection *in, const struct server_config *server)
{
    struct error error = {0};
    if (server->tls.cert.n) {
        struct tls_context *tls = tls_context_server(server->tls.cert, server->tls.key, &error);
        if (!tls)
            complain(in, "server.tls", &error);
        tls_context_unref(tls);
    }
    if (identity_check(server, &error) != OK)
        complain(in, "server.user", &error);
}

static void authority_inspect(const struct inspection *in, const char *key, struct str ca)
{
    struct tls_client_options options = {.ca_file = ca};
    struct error error = {0};
    if (!ca.n)
        return;
    struct tls_context *tls = tls_context_client(&options, &error);
    if (!tls)
        complain(in, key, &error);
    tls_context_unref(tls);
}

static void authorities_inspect(const struct inspection *in, const struct config *c)
{
    char key[200];
    for (size_t i = 0; i < c->provider_count; i++) {
        snprintf(key, sizeof key, "providers[%zu].tls.ca", i);
        if (!c->providers[i].disabled)
            authority_inspect(in, key, c->providers[i].tls.ca);
    }
    for (size_t i = 0; i < c->service_count; i++) {
        snprintf(key, sizeof key, "services.%.*s.tls.ca", STR_ARG(c->services[i].id));
        if (!c->services[i].disabled)
            authority_inspect(in, key, c->services[i].tls.ca);
    }
}

static void prices_inspect(const struct inspection *in, const struct pricing_config *pricing)
{
    struct error error = {0};
    if (!pricing->import.n)
        return;
    struct prices *prices = prices_new(pricing, &error);
    if (!prices)
        complain(in, "pricing.import", &error);
    prices_unref(prices);
}

void inspect_config(const struct config *config, const struct config_sources *sources,
                    struct findings *findings)
{
    const struct inspection in = {sources, findings};
    server_inspect(&in, &config->server);
    authorities_inspect(&in, config);
    prices_inspect(&in, &config->pricing);
}
