/* What the command line shows about the configuration. All print into a buffer. */
#ifndef HESTIA_CONFIG_REPORT_H
#define HESTIA_CONFIG_REPORT_H

#include "config/config.h"

/* `hestia config doc`: docs/config.md, generated from the tables. */
void config_write_doc(struct buf *out);
/* `hestia config schema`: JSON Schema (2020-12) of the file. */
void config_write_schema(struct buf *out);
/* `hestia config show`: the merged, interpolated configuration as YAML with secrets masked, each top-level
   value with the source it came from where that is cheap to say. */
void config_write_merged(const struct config_sources *sources, struct buf *out, struct findings *findings);
/* "error: hestia_config.yml:12:5: services.ollama.base_ur: unknown key; did you mean base_url?" one per line.
 */
void findings_write(const struct findings *f, struct buf *out);
void findings_write_json(const struct findings *f, struct buf *out);
/* An error about the value of a key ("providers[2].tls.ca") that only a layer above could find: with its
   place in the files, which are read again for it. */
void findings_add_error(struct findings *findings, const struct config_sources *sources, struct str key,
                        struct str sentence);

#endif
