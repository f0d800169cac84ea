/* TLS below a sock; only sock.c and tls.c. */
#ifndef HESTIA_LOOP_TLS_STREAM_H
#define HESTIA_LOOP_TLS_STREAM_H

#include "loop/sock.h"

enum err tls_stream_recv(struct sock *s, char *p, size_t max, size_t *n) MUST_CHECK;
enum err tls_stream_sendv(struct sock *s, const struct iovec *parts, int count, size_t *n) MUST_CHECK;
void tls_stream_shutdown(struct tls_stream *stream); /* close_notify */
void tls_stream_abandon(
    struct tls_stream *stream); /* no close_notify at the end: the peer must see a truncation */
void tls_stream_free(struct tls_stream *stream);

#endif
