#include <stdio.h>
#include <string.h>

#include "daemon/refuse.h"
#include "daemon/shell.h"

int cmd_completion(struct invocation *in)
{
        for (int i = 0; in->noperands == 1 && i < SHELL_COUNT; i++)
                if (strcmp(in->operands[0], shell_names[i]) == 0) {
                        struct buf out;
                        buf_init(&out, 1u << 20);
                        shell_completion((enum shell)i, &out);
                        fputs(buf_cstr(&out), stdout);
                        buf_release(&out);
                        return EXIT_DONE;
                }
        const char *why = "completion: for which shell? bash, zsh or fish; such as\n    source <(pangea completion bash)";
        return in->noperands ? refuse("bad_value", "%s", why) : refuse("word_missing", "%s", why);
}
