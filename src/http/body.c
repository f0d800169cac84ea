/* Body readers: length, chunked, until close. Pure but for the inflow they look at. */
#include "http/body.h"

void body_begin(struct body_reader *b, struct framing framing, bool keep_frames)
{
    *b = (struct body_reader){.framing = framing, .left = framing.length, .chunked.keep_frames = keep_frames};
    b->done = framing.kind == BODY_NONE || (framing.kind == BODY_LENGTH && framing.length == 0);
}

static enum err next_chunked(struct body_reader *b, struct inflow *in, struct str *piece, size_t *used,
                             struct error *error)
{
    size_t kept = 0;
    b->begun = true;
    TRY(chunk_filter(&b->chunked, in->p, in->n, used, &kept, &b->done, error));
    *piece = str_make(in->p, kept);
    b->received = b->chunked.data_bytes;
    return OK;
}

enum err body_next(struct body_reader *b, struct inflow *in, struct str *piece, size_t *used,
                   struct error *error)
{
    if (b->framing.kind == BODY_CHUNKED)
        return next_chunked(b, in, piece, used, error);
    *used = b->framing.kind == BODY_LENGTH ? (size_t)MIN(b->left, (uint64_t)in->n) : in->n;
    *piece = str_make(in->p, *used);
    b->begun = b->begun || *used;
    b->received += *used;
    if (b->framing.kind == BODY_LENGTH) {
        b->left -= *used;
        b->done = b->left == 0;
    }
    return OK;
}

enum err body_stream_ended(struct body_reader *b, const struct sock *s)
{
    if (b->done)
        return OK;
    if (b->framing.kind != BODY_UNTIL_CLOSE || s->tls_truncated)
        return ERR_END;
    b->done = true;
    return OK;
}
