/* JSON text to a tree of nodes, as yaml.h does it with YAML. Called by read.c; pure. */
#ifndef HESTIA_CONFIG_NODE_JSON_H
#define HESTIA_CONFIG_NODE_JSON_H

#include "config/yaml.h"

enum { JSON_BYTES_MAX = 256 << 10, JSON_DEPTH_MAX = 32 };

/* The one object in `text`, every scalar as text, ${…} left as it is. The nodes live in the arena. NULL with
   ERR_BAD_REQUEST (not strictly JSON, a key twice, no object, too large, too deep; with the place where it is
   known) or ERR_NOMEM. */
struct node *node_from_json(struct arena *arena, struct str text, struct error *error) MUST_CHECK;

#endif
