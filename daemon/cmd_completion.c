#include <stdio.h>
#include <string.h>

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
        fprintf(stderr, "pangea completion: for which shell? bash, zsh or fish; such as\n    source <(pangea completion bash)\n");
        return EXIT_USAGE;
}
