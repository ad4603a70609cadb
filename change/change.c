#include "change/change.h"

#include <stdio.h>

static const char *const op_names[] = {
        [CHANGE_INSERT] = "insert",
        [CHANGE_UPDATE] = "update",
        [CHANGE_DELETE] = "delete",
        [CHANGE_TRUNCATE] = "truncate",
};
_Static_assert(sizeof op_names / sizeof *op_names == CHANGE_OP_COUNT, "an operation without a name");

const char *change_op_name(enum change_op op)
{
        return op_names[op];
}

const char *relation_str(char *buf, size_t size, const struct relation *rel)
{
        snprintf(buf, size, "%s.%s", rel->schema, rel->name);
        return buf;
}
