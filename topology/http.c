/* http: where a region's daemon answers, checked without asking the network: an address, not a name. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topology/build.h"

bool http_listen_parse(const char *text, struct http_listen *out)
{
        struct in_addr v4;
        struct in6_addr v6;
        const char *colon = strrchr(text, ':');
        if (!colon)
                return false;
        size_t digits = strspn(colon + 1, "0123456789"), n = (size_t)(colon - text);
        bool bracketed = n > 2 && text[0] == '[' && text[n - 1] == ']';
        if (digits == 0 || digits > 5 || colon[1 + digits] || atoi(colon + 1) < 1 || atoi(colon + 1) > 65535)
                return false;
        if (bracketed) {
                text++;
                n -= 2;
        }
        if (n >= sizeof out->host)
                return false;
        out->port = (uint16_t)atoi(colon + 1);
        snprintf(out->host, sizeof out->host, "%.*s", (int)n, text);
        if (!bracketed && strcmp(out->host, "localhost") == 0)
                snprintf(out->host, sizeof out->host, "127.0.0.1");
        out->loopback = strncmp(out->host, "127.", 4) == 0 || strcmp(out->host, "::1") == 0;
        return bracketed ? inet_pton(AF_INET6, out->host, &v6) == 1 : inet_pton(AF_INET, out->host, &v4) == 1;
}

/* scheme://host[:port], nothing else: no user, no password, no path. */
static bool url_ok(const char *s)
{
        size_t n = strncmp(s, "http://", 7) == 0 ? 7 : strncmp(s, "https://", 8) == 0 ? 8 : 0;
        size_t len = strspn(s + n, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]");
        return n > 0 && len > 0 && (!s[n + len] || strcmp(s + n + len, "/") == 0);
}

static void build_url(struct build *b, const struct node *n, struct http_conf *h)
{
        if (!url_ok(n->text)) {
                problem_error(b->p, n->at, node_path(b->arena, n),
                              "%s is no address for a browser; write scheme, host and port, such as https://pangea.us.example:8300",
                              problem_quote(b->p, n->raw));
                return;
        }
        size_t len = strlen(n->text);
        h->url = arena_strndup(b->arena, n->text, n->text[len - 1] == '/' ? len - 1 : len);
}

void build_http(struct build *b, const struct node *region, struct region *r)
{
        const struct node *http = node_get(region, "http"), *listen = node_get(http, "listen"), *url = node_get(http, "url"),
                          *rows = node_get(http, "rows");
        struct http_conf *h = &r->http;
        const struct node *more = url ? url : rows;
        if (!listen && more)
                problem_error(b->p, more->at, node_path(b->arena, more),
                              "is of use only with http.listen beside it; add that, or remove this");
        if (!listen || listen->bad)
                return;
        if (!http_listen_parse(listen->text, &h->at)) {
                problem_error(b->p, listen->at, node_path(b->arena, listen),
                              "%s is no address to listen at; write address:port, such as 127.0.0.1:8300 or [::1]:8300",
                              problem_quote(b->p, listen->raw));
                return;
        }
        h->listen = listen->text;
        h->rows = rows ? node_num(http, "rows") != 0 : h->at.loopback;
        h->url = arena_printf(b->arena, "http://%s", listen->text);
        if (url && !url->bad)
                build_url(b, url, h);
}
