/*
 * A library to preload into the gateway under test: the system's look-up of a name never ends. c-ares, which
 * asks name servers itself, is not concerned.
 */
#include <netdb.h>
#include <unistd.h>

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result)
{
    (void)node, (void)service, (void)hints, (void)result;
    for (;;)
        pause();
}
