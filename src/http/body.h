/* Reading a message body off an inflow, piece by piece and in place. */
#ifndef HESTIA_HTTP_BODY_H
#define HESTIA_HTTP_BODY_H

#include "http/chunk.h"
#include "http/flow.h"
#include "http/framing.h"

struct body_reader {
    struct framing framing;
    uint64_t left;     /* BODY_LENGTH: bytes still to come */
    uint64_t received; /* data bytes so far */
    struct chunked chunked;
    bool begun; /* bytes of it were used up: chunk framing counts, though it is no data */
    bool done;
};

/* keep_frames: pieces of a chunked body keep their (validated) chunk framing. */
void body_begin(struct body_reader *b, struct framing framing, bool keep_frames);
/* The next piece of what is at hand in `in` (at least one byte): *piece is to be used at once, then the
 *caller consumes used bytes of the inflow. The piece may be empty. ERR_SYNTAX, ERR_LIMIT: the chunked framing
 *is broken. */
enum err body_next(struct body_reader *b, struct inflow *in, struct str *piece, size_t *used,
                   struct error *error) MUST_CHECK;
/* The peer ended its stream: OK where that ends the body, else ERR_END (truncated). */
enum err body_stream_ended(struct body_reader *b, const struct sock *s) MUST_CHECK;

#endif
