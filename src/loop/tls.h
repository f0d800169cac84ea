/* TLS contexts (OpenSSL). Built by the control thread with a config, shared read-only by all workers. */
#ifndef HESTIA_LOOP_TLS_H
#define HESTIA_LOOP_TLS_H

#include "base/err.h"
#include "base/str.h"

struct tls_context;

struct tls_client_options {
    struct str ca_file; /* empty = the system's */
    bool insecure_skip_verify;
    bool allow_unclean_close; /* the peer may end the connection without close_notify (details.md section 11)
                               */
};

/* NULL on failure, with the reason (file, OpenSSL's text) in `error`. Free with tls_context_unref. */
struct tls_context *tls_context_server(struct str cert_file, struct str key_file, struct error *error);
struct tls_context *tls_context_client(const struct tls_client_options *options, struct error *error);
struct tls_context *tls_context_ref(struct tls_context *context);
void tls_context_unref(struct tls_context *context);

#endif
