/*
 * A library to preload into the gateway under test: connections from 127.A.B.C, A not 0, seem to come from
 * another machine: for A = 6 from 2001:db8:0:B::C, otherwise from 10.A.B.C. A client may bind to any address
 * of 127.0.0.0/8, so this needs neither rights nor interfaces; connections from 127.0.x.x stay what they are.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

enum { IPV6_MARK = 6 };

static void disguise(struct sockaddr *address, socklen_t *length)
{
    struct sockaddr_in v4;
    memcpy(&v4, address, sizeof v4);
    uint32_t ip = ntohl(v4.sin_addr.s_addr);
    uint8_t a = ip >> 16 & 255, b = ip >> 8 & 255, c = ip & 255;
    if (ip >> 24 != 127 || a == 0)
        return;
    if (a != IPV6_MARK) {
        v4.sin_addr.s_addr = htonl((uint32_t)10 << 24 | (ip & 0xffffff));
        memcpy(address, &v4, sizeof v4);
        return;
    }
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = v4.sin_port};
    memcpy(v6.sin6_addr.s6_addr, (uint8_t[16]){0x20, 0x01, 0x0d, 0xb8, [7] = b, [15] = c}, 16);
    memcpy(address, &v6, sizeof v6);
    *length = sizeof v6;
}

int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    int (*next)(int, struct sockaddr *, socklen_t *, int);
    *(void **)&next = dlsym(RTLD_NEXT, "accept4");
    socklen_t room = length ? *length : 0;
    int accepted = next(fd, address, length, flags);
    if (accepted >= 0 && address && room >= sizeof(struct sockaddr_in6) && address->sa_family == AF_INET)
        disguise(address, length);
    return accepted;
}
