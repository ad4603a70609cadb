/* An example of a plug-in that settles conflicts: of concurrent versions the one with the longest text in the column "body" stands; of equally
 * long ones the greatest by its bytes, then the latest. See plugin.h for what a plug-in may do.
 *
 *     make && sudo install -m 644 longest.so /etc/pangea/plugins/
 *     pangea run --allow-plugins /etc/pangea/plugins ..
 *
 *     conflicts: {tables: {public.notes: {resolver: plugin, path: /etc/pangea/plugins/longest.so}}} */
#ifdef PANGEA_IN_TREE
#include "conflict/plugin.h"
#else
#include <pangea/plugin.h>
#endif

#include <string.h>

static int greater(const struct pangea_value *a, const struct pangea_value *b)
{
        if (!a->data || !b->data)
                return a->data != NULL;
        if (a->len != b->len)
                return a->len > b->len;
        return memcmp(a->data, b->data, a->len) > 0;
}

static int settle(const struct pangea_table *table, const struct pangea_version *versions, size_t n, struct pangea_result *result)
{
        uint32_t body = 0;
        while (body < table->ncolumns && strcmp(table->columns[body], "body") != 0)
                body++;
        if (body == table->ncolumns) {
                strcpy(result->error, "the table has no column body");
                return 1;
        }
        const struct pangea_version *best = &versions[n - 1]; /* the latest: they are in ascending order */
        for (size_t i = n - 1; i-- > 0;)
                if (greater(&versions[i].values[body], &best->values[body]))
                        best = &versions[i];
        memcpy(result->values, best->values, sizeof *result->values * table->ncolumns);
        return 0;
}

const struct pangea_plugin pangea_plugin = {PANGEA_PLUGIN_ABI, "longest", settle};
