/* Addresses: parsing, printing, listening. */
#include "base/num.h"
#include "loop/sock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/un.h>
#include <unistd.h>

static bool address_parse_unix(struct str path, struct address *address)
{
    struct sockaddr_un *un = (struct sockaddr_un *)(void *)&address->storage;
    if (path.n == 0 || path.n >= sizeof un->sun_path)
        return false;
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path.p, path.n);
    address->length = sizeof *un;
    return true;
}

bool address_parse_ip(struct str host, uint16_t port, struct address *address)
{
    char text[64];
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&address->storage;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&address->storage;
    memset(address, 0, sizeof *address);
    if (host.n >= sizeof text)
        return false;
    str_to_c(host, text, sizeof text);
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        address->length = sizeof *v4;
        return true;
    }
    if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        address->length = sizeof *v6;
        return true;
    }
    return false;
}

bool address_parse(struct str text, struct address *address)
{
    uint64_t port;
    memset(address, 0, sizeof *address);
    if (str_starts(text, STR("unix:")))
        return address_parse_unix(str_from(text, 5), address);
    size_t colon = text.n;
    while (colon > 0 && text.p[colon - 1] != ':')
        colon--;
    if (colon == 0 || !num_parse_u64(str_from(text, colon), &port) || port > 65535)
        return false;
    struct str host = str_first(text, colon - 1);
    if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = str_make(host.p + 1, host.n - 2);
    else if (str_find(host, ':') < host.n)
        return false;
    if (host.n == 0 || str_eq(host, STR("*")))
        host = STR("0.0.0.0");
    if (str_eq_nocase(host, STR("localhost")))
        host = STR("127.0.0.1");
    return address_parse_ip(host, (uint16_t)port, address);
}

struct str address_format(const struct address *address, bool with_port, char *dst, size_t dst_size)
{
    char ip[INET6_ADDRSTRLEN] = "";
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&address->storage;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&address->storage;
    const struct sockaddr_un *un = (const struct sockaddr_un *)(const void *)&address->storage;
    int n;
    if (address->storage.ss_family == AF_INET) {
        inet_ntop(AF_INET, &v4->sin_addr, ip, sizeof ip);
        n = snprintf(dst, dst_size, with_port ? "%s:%d" : "%s", ip, ntohs(v4->sin_port));
    } else if (address->storage.ss_family == AF_INET6) {
        inet_ntop(AF_INET6, &v6->sin6_addr, ip, sizeof ip);
        n = snprintf(dst, dst_size, with_port ? "[%s]:%d" : "%s", ip, ntohs(v6->sin6_port));
    } else {
        n = snprintf(dst, dst_size, "unix:%.*s", (int)sizeof un->sun_path, un->sun_path);
    }
    return str_make(dst, MIN((size_t)MAX(n, 0), dst_size - 1));
}

int address_bytes(const struct address *a, uint8_t out[16])
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&a->storage;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&a->storage;
    if (a->storage.ss_family == AF_INET) {
        memcpy(out, &v4->sin_addr, 4);
        return 4;
    }
    if (a->storage.ss_family != AF_INET6)
        return 0;
    if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
        memcpy(out, v6->sin6_addr.s6_addr + 12, 4);
        return 4;
    }
    memcpy(out, &v6->sin6_addr, 16);
    return 16;
}

bool address_is_loopback(const struct address *address)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&address->storage;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&address->storage;
    if (address->storage.ss_family == AF_INET)
        return (ntohl(v4->sin_addr.s_addr) >> 24) == 127;
    if (address->storage.ss_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr) ||
               (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr) && v6->sin6_addr.s6_addr[12] == 127);
    return true;
}

/* A socket file that nobody listens on any more is left from a crash and may go. */
static void unix_remove_stale(const struct address *address)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)(const void *)&address->storage;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (connect(fd, (const struct sockaddr *)un, sizeof *un) != 0 && errno == ECONNREFUSED)
        unlink(un->sun_path);
    close(fd);
}

static void listener_options(int fd, const struct address *address, bool reuse_port)
{
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address->storage.ss_family == AF_UNIX)
        return;
    if (reuse_port)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (address->storage.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);      /* inherited by accepted sockets */
    setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &on, sizeof on); /* seconds: wake us with the request */
}

enum err listener_bind(struct str where, bool reuse_port, int *fd, struct address *bound, struct error *error)
{
    struct address address;
    if (!address_parse(where, &address))
        return error_set(error, ERR_CONFIG, "cannot listen on %.*s: not HOST:PORT or unix:/path",
                         STR_ARG(where));
    if (address.storage.ss_family == AF_UNIX)
        unix_remove_stale(&address);
    *fd = socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (*fd < 0)
        return error_set(error, ERR_IO, "cannot make a socket: %s", strerror(errno));
    listener_options(*fd, &address, reuse_port);
    if (bind(*fd, (struct sockaddr *)&address.storage, address.length) != 0 || listen(*fd, 4096) != 0) {
        int number = errno;
        close(*fd);
        return error_set(error, ERR_IO, "cannot listen on %.*s: %s%s", STR_ARG(where), strerror(number),
                         number == EADDRINUSE ? " (another gateway, or another program, has this port)" : "");
    }
    *bound = address;
    if (address.storage.ss_family != AF_UNIX)
        getsockname(*fd, (struct sockaddr *)&bound->storage, &bound->length);
    return OK;
}
