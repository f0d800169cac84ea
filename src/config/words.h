/* A command line to words, the way a shell splits it, without expanding anything. Pure; used by decode.c. */
#ifndef HESTIA_CONFIG_WORDS_H
#define HESTIA_CONFIG_WORDS_H

#include "config/config.h"

/* Blanks separate; '…' takes everything literally; in "…" and outside a backslash protects the next
   character (in "…" only \ " $ `). Outside '…' a ${…} stays whole whatever stands in it. The words come back
   unquoted; each is interpolated afterwards, so that a value with blanks stays one word. ERR_SYNTAX: a
   quote, a reference or the last backslash is open. */
enum err words_split(struct arena *arena, struct str line, struct strs *words,
                     struct error *error) MUST_CHECK;

#endif
