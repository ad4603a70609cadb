/* version: what `pangea version` and every status document say. */
#ifndef PANGEA_BASE_VERSION_H
#define PANGEA_BASE_VERSION_H

#define PANGEA_VERSION "0.1.0"

#endif
