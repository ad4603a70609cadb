/* http_page: the page of ui/, which is in the binary. */
#include <stdio.h>
#include <string.h>

#include "daemon/http_internal.h"
#include "ui_page.h"

/* Only the page's own script and style run in it, and it may ask its own daemon and those of the topology, nobody else. */
static void put_policy(const struct topology *t, struct buf *out)
{
        buf_put_str(out, "default-src 'none'; script-src '" UI_SCRIPT_HASH "'; style-src '" UI_STYLE_HASH
                         "'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; connect-src 'self'");
        for (size_t i = 0; i < t->nregions; i++)
                if (t->regions[i].http.url)
                        buf_printf(out, " %s", t->regions[i].http.url);
}

void http_page(struct http *h, const struct request *q, struct reply *out)
{
        (void)q;
        put_policy(h->topology, &out->policy);
        buf_put(&out->body, ui_page, sizeof ui_page - 1);
        out->type = "text/html; charset=utf-8";
}
