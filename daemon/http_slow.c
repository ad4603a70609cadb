#include "daemon/http_slow.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/mem.h"

struct slow_place {
        int socket; /* -1: free */
        int64_t until_us;
        bool ended;
};

struct slow {
        pthread_mutex_t lock;
        size_t n;
        struct slow_place *places;
};

struct slow *slow_new(size_t connections)
{
        struct slow *s = MEM_NEW(struct slow);
        pthread_mutex_init(&s->lock, NULL);
        s->n = connections;
        s->places = mem_alloc(sizeof *s->places * connections);
        for (size_t i = 0; i < connections; i++)
                s->places[i] = (struct slow_place){.socket = -1};
        return s;
}

void slow_free(struct slow *s)
{
        if (!s)
                return;
        pthread_mutex_destroy(&s->lock);
        free(s->places);
        free(s);
}

struct slow_place *slow_opened(struct slow *s, int socket, int64_t now_us)
{
        struct slow_place *p = NULL;
        pthread_mutex_lock(&s->lock);
        for (size_t i = 0; i < s->n && !p; i++)
                if (s->places[i].socket < 0)
                        p = &s->places[i];
        if (p)
                *p = (struct slow_place){.socket = socket, .until_us = now_us + SLOW_REQUEST_S * INT64_C(1000000)};
        pthread_mutex_unlock(&s->lock);
        return p;
}

void slow_closed(struct slow *s, struct slow_place *p)
{
        if (!p)
                return;
        pthread_mutex_lock(&s->lock);
        p->socket = -1;
        pthread_mutex_unlock(&s->lock);
}

static void until(struct slow *s, struct slow_place *p, int64_t until_us)
{
        if (!p)
                return;
        pthread_mutex_lock(&s->lock);
        p->until_us = until_us;
        pthread_mutex_unlock(&s->lock);
}

void slow_asked(struct slow *s, struct slow_place *p, int64_t now_us)
{
        until(s, p, now_us + SLOW_ANSWER_S * INT64_C(1000000));
}

void slow_answered(struct slow *s, struct slow_place *p, int64_t now_us)
{
        until(s, p, now_us + SLOW_REQUEST_S * INT64_C(1000000));
}

size_t slow_end(struct slow *s, int64_t now_us)
{
        size_t n = 0;
        pthread_mutex_lock(&s->lock);
        for (size_t i = 0; i < s->n; i++) {
                struct slow_place *p = &s->places[i];
                if (p->socket < 0 || p->ended || now_us < p->until_us)
                        continue;
                (void)shutdown(p->socket, SHUT_RDWR); /* its thread sees the end, and closes it */
                p->ended = true;
                n++;
        }
        pthread_mutex_unlock(&s->lock);
        return n;
}
