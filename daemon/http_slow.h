/* http_slow: no connection for longer than a request may take, however busily its client drips bytes: libmicrohttpd ends silence only.
 * A request's head and body have SLOW_REQUEST_S from the connection's begin (or from the answer before it), its answer SLOW_ANSWER_S to be made and
 * taken.  Thread: any; the marks are made by the connections' threads, slow_end is called once a second by the ticker.
 * A socket stays open until slow_closed has returned: libmicrohttpd closes it behind its NOTIFY_CONNECTION. */
#ifndef PANGEA_DAEMON_HTTP_SLOW_H
#define PANGEA_DAEMON_HTTP_SLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SLOW_REQUEST_S 15
#define SLOW_ANSWER_S 60

struct slow;
struct slow *slow_new(size_t connections);
void slow_free(struct slow *s);
/* A connection's place; NULL: there are more than was said, it is not watched. */
struct slow_place;
struct slow_place *slow_opened(struct slow *s, int socket, int64_t now_us);
void slow_closed(struct slow *s, struct slow_place *p);
/* Its request is whole; its answer was taken. p may be NULL. */
void slow_asked(struct slow *s, struct slow_place *p, int64_t now_us);
void slow_answered(struct slow *s, struct slow_place *p, int64_t now_us);
/* Shuts down what has had its time; how many these were. */
size_t slow_end(struct slow *s, int64_t now_us);

#endif
