/* TLS by OpenSSL 3: contexts, handshakes, records. Contexts are shared read-only, streams belong to one loop.
 */
#include "loop/tls.h"

#include "base/mem.h"
#include "loop/tls_stream.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <arpa/inet.h>
#include <stdatomic.h>
#include <stdio.h>

struct tls_context {
    SSL_CTX *ssl;
    _Atomic int references;
};

struct tls_stream {
    SSL *ssl;
    bool abandoned;
    enum err ended; /* how reading ended; OK: it has not */
};

/* OpenSSL's newest reason, as a sentence. */
static const char *reason(char *dst, size_t dst_size)
{
    unsigned long code = ERR_peek_last_error();
    const char *text = code ? ERR_reason_error_string(code) : NULL;
    snprintf(dst, dst_size, "%s", text ? text : "unknown TLS error");
    ERR_clear_error();
    return dst;
}

/* Why a file could not be used. The oldest reason is the system's where there is one; what OpenSSL adds to it
   ("system lib") tells less. */
static const char *file_reason(char *dst, size_t dst_size)
{
    unsigned long code = ERR_peek_error();
    if (!ERR_SYSTEM_ERROR(code))
        return reason(dst, dst_size);
    snprintf(dst, dst_size, "%s", strerror(ERR_GET_REASON(code)));
    ERR_clear_error();
    return dst;
}

static struct tls_context *context_new(const SSL_METHOD *method)
{
    ERR_clear_error(); /* what is told later is of this context */
    struct tls_context *context = mem_alloc(sizeof *context);
    SSL_CTX *ssl = context ? SSL_CTX_new(method) : NULL;
    if (!ssl) {
        mem_free(context);
        return NULL;
    }
    context->ssl = ssl;
    atomic_init(&context->references, 1);
    SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_cipher_list(ssl, "ECDHE+AESGCM:ECDHE+CHACHA20");
    return context;
}

/* HTTP/1.1 is all we speak: chosen where the client offers it, and no failure where it offers other things
 * only. */
static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_length,
                       const unsigned char *in, unsigned in_length, void *argument)
{
    static const unsigned char http11[] = "\x08http/1.1";
    unsigned char *chosen = NULL;
    int result = SSL_select_next_proto(&chosen, out_length, http11, sizeof http11 - 1, in, in_length);
    *out = chosen;
    return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

struct tls_context *tls_context_server(struct str cert_file, struct str key_file, struct error *error)
{
    char cert[4096], key[4096], why[256];
    struct tls_context *context = context_new(TLS_server_method());
    if (!context) {
        error_set(error, ERR_NOMEM, "out of memory for TLS");
        return NULL;
    }
    str_to_c(cert_file, cert, sizeof cert);
    str_to_c(key_file, key, sizeof key);
    if (SSL_CTX_use_certificate_chain_file(context->ssl, cert) != 1)
        error_set(error, ERR_TLS, "cannot use the certificate %s: %s", cert, file_reason(why, sizeof why));
    else if (SSL_CTX_use_PrivateKey_file(context->ssl, key, SSL_FILETYPE_PEM) != 1)
        error_set(error, ERR_TLS, "cannot use the key %s: %s", key, file_reason(why, sizeof why));
    else {
        SSL_CTX_set_alpn_select_cb(context->ssl, choose_alpn, NULL);
        return context;
    }
    tls_context_unref(context);
    return NULL;
}

struct tls_context *tls_context_client(const struct tls_client_options *options, struct error *error)
{
    char file[4096], why[256];
    struct tls_context *context = context_new(TLS_client_method());
    if (!context) {
        error_set(error, ERR_NOMEM, "out of memory for TLS");
        return NULL;
    }
    bool loaded =
        options->ca_file.n
            ? SSL_CTX_load_verify_file(context->ssl, str_to_c(options->ca_file, file, sizeof file)) == 1
            : SSL_CTX_set_default_verify_paths(context->ssl) == 1;
    if (!loaded) {
        error_set(error, ERR_TLS, "cannot read the CA file %.*s: %s", STR_ARG(options->ca_file),
                  file_reason(why, sizeof why));
        tls_context_unref(context);
        return NULL;
    }
    SSL_CTX_set_verify(context->ssl, options->insecure_skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(context->ssl, SSL_SESS_CACHE_OFF);
    return context;
}

struct tls_context *tls_context_ref(struct tls_context *context)
{
    if (context)
        atomic_fetch_add(&context->references, 1);
    return context;
}

void tls_context_unref(struct tls_context *context)
{
    if (!context || atomic_fetch_sub(&context->references, 1) != 1)
        return;
    SSL_CTX_free(context->ssl);
    mem_free(context);
}

/* ---- streams --------------------------------------------------------------------------------------------
 */

static enum err stream_new(struct sock *s, struct tls_context *context)
{
    struct tls_stream *stream = mem_alloc(sizeof *stream);
    SSL *ssl = stream ? SSL_new(context->ssl) : NULL;
    if (!ssl || SSL_set_fd(ssl, s->watch.fd) != 1) {
        SSL_free(ssl);
        mem_free(stream);
        return ERR_NOMEM;
    }
    stream->ssl = ssl;
    s->tls = stream;
    return OK;
}

/* What OpenSSL's result means for the sticky flags and the caller. */
static enum err outcome(struct sock *s, int result)
{
    switch (SSL_get_error(s->tls->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        s->readable = false;
        return ERR_AGAIN;
    case SSL_ERROR_WANT_WRITE:
        s->writable = false;
        return ERR_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return ERR_END;
    case SSL_ERROR_SYSCALL:
        s->tls_truncated = true;
        s->tls->abandoned = true;
        ERR_clear_error();
        return ERR_RESET;
    default:
        s->tls->abandoned = true;
        if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
            s->tls_truncated = !s->tls_lenient;
            ERR_clear_error();
            return ERR_END;
        }
        return ERR_TLS;
    }
}

enum err tls_stream_recv(struct sock *s, char *p, size_t max, size_t *n)
{
    size_t total = 0;
    int result = 1;
    *n = 0;
    if (s->tls->ended != OK)
        return s->tls->ended;
    ERR_clear_error();
    /* Records are at most 16 KiB: several fill the caller's buffer with one wake-up. */
    while (total < max) {
        size_t got = 0;
        result = SSL_read_ex(s->tls->ssl, p + total, max - total, &got);
        if (result != 1)
            break;
        total += got;
    }
    *n = total;
    if (result == 1)
        return OK;
    enum err err = outcome(s, result);
    if (err != ERR_AGAIN)
        s->tls->ended = err; /* OpenSSL says why only once */
    return total ? OK : err;
}

enum err tls_stream_sendv(struct sock *s, const struct iovec *parts, int count, size_t *n)
{
    ERR_clear_error();
    for (int i = 0; i < count; i++) {
        size_t at = 0;
        while (at < parts[i].iov_len) {
            size_t sent = 0;
            int result =
                SSL_write_ex(s->tls->ssl, (char *)parts[i].iov_base + at, parts[i].iov_len - at, &sent);
            if (result != 1) {
                enum err err = outcome(s, result);
                return err == ERR_AGAIN && *n ? OK : err == ERR_END ? ERR_RESET : err;
            }
            at += sent;
            *n += sent;
        }
    }
    return OK;
}

void tls_stream_shutdown(struct tls_stream *stream)
{
    if (stream->abandoned || !SSL_is_init_finished(stream->ssl))
        return;
    ERR_clear_error();
    if (SSL_shutdown(stream->ssl) < 0)
        ERR_clear_error();
    stream->abandoned = true;
}

void tls_stream_abandon(struct tls_stream *stream)
{
    stream->abandoned = true;
}

void tls_stream_free(struct tls_stream *stream)
{
    tls_stream_shutdown(stream);
    SSL_free(stream->ssl);
    mem_free(stream);
}

static enum err handshake(struct task *t, struct sock *s, uint64_t deadline)
{
    for (;;) {
        ERR_clear_error();
        int result = SSL_do_handshake(s->tls->ssl);
        if (result == 1)
            return OK;
        enum err err = outcome(s, result);
        if (err != ERR_AGAIN)
            return err == ERR_END ? ERR_RESET : err;
        TRY(task_park(t, deadline));
    }
}

enum err tls_accept(struct task *t, struct sock *s, struct tls_context *context, uint64_t deadline)
{
    TRY(stream_new(s, context));
    SSL_set_accept_state(s->tls->ssl);
    enum err err = handshake(t, s, deadline);
    if (err == OK)
        s->readable = true; /* OpenSSL may hold bytes that no event will announce */
    return err;
}

static bool is_address(const char *name)
{
    unsigned char bytes[16];
    return inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1;
}

enum err tls_connect(struct task *t, struct sock *s, struct tls_context *context, const char *name,
                     uint64_t deadline, struct error *error)
{
    char why[256];
    TRY(stream_new(s, context));
    SSL *ssl = s->tls->ssl;
    SSL_set_connect_state(ssl);
    if (is_address(name)) {
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name);
    } else {
        SSL_set1_host(ssl, name);
        /* SSL_set_tlsext_host_name, without its cast that drops const */
        SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, (void *)(uintptr_t)name);
    }
    enum err err = handshake(t, s, deadline);
    if (err == OK) {
        s->readable = true;
        return OK;
    }
    if (err == ERR_CANCELLED || err == ERR_TIMEOUT)
        return err;
    long verified = SSL_get_verify_result(ssl);
    return error_set(error, ERR_TLS, "TLS with %s failed: %s", name,
                     verified != X509_V_OK ? X509_verify_cert_error_string(verified)
                                           : reason(why, sizeof why));
}
