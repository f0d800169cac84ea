/* host[:port], of a Host field, an absolute request target or a URL in the config (target.h). Pure. */
#include "http/target.h"

#include "base/num.h"
#include "http/chars.h"

#include <arpa/inet.h>

enum { HOST_NAME_MAX_BYTES = 255 };

/* RFC 3986 reg-name, not empty: the registered characters and percent-encoded bytes other than NUL. */
static bool name_is_valid(struct str name)
{
    size_t i = 0;
    while (i < name.n) {
        if (char_is(name.p[i], CHAR_HOST)) {
            i++;
            continue;
        }
        if (name.p[i] != '%' || name.n - i < 3)
            return false;
        int high = num_hex_digit(name.p[i + 1]), low = num_hex_digit(name.p[i + 2]);
        if (high < 0 || low < 0 || high + low == 0)
            return false;
        i += 3;
    }
    return name.n > 0 && name.n <= HOST_NAME_MAX_BYTES;
}

static bool is_ipv6(struct str address)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr binary;
    if (address.n >= sizeof text || memchr(address.p, '\0', address.n))
        return false;
    return inet_pton(AF_INET6, str_to_c(address, text, sizeof text), &binary) == 1;
}

bool host_parse(struct str host, struct str *name, uint16_t *port)
{
    bool bracketed = host.n && host.p[0] == '[';
    struct str rest = bracketed ? str_from(host, 1) : host;
    struct str part = str_first(rest, str_find(rest, bracketed ? ']' : ':'));
    uint64_t number = 0;

    if (bracketed ? part.n == rest.n || !is_ipv6(part) : !name_is_valid(part))
        return false;
    rest = str_from(rest, part.n + bracketed);
    if (rest.n && rest.p[0] != ':')
        return false;
    if (rest.n > 1 && (!num_parse_u64(str_from(rest, 1), &number) || number == 0 || number > UINT16_MAX))
        return false;
    *name = part;
    *port = (uint16_t)number;
    return true;
}
