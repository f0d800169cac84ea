/* Names to addresses (c-ares), with a small cache per loop. Numeric hosts never leave the process. */
#ifndef HESTIA_LOOP_DNS_H
#define HESTIA_LOOP_DNS_H

#include "loop/sock.h"

enum { DNS_ADDRESSES_MAX = 16 };

struct addresses {
    struct address list[DNS_ADDRESSES_MAX];
    int count;
};

/* ERR_DNS (with the reason), ERR_TIMEOUT, ERR_CANCELLED. `.local` and unknown names fall back to getaddrinfo
   on an offload thread. */
enum err dns_resolve(struct task *t, struct str host, uint16_t port, struct addresses *out, uint64_t deadline,
                     struct error *error) MUST_CHECK;
void dns_free(struct dns *d); /* by loop_free */

#endif
