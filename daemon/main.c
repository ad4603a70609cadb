/* pangea: one program, its commands in daemon/commands.c. */
#include "daemon/commands.h"

int main(int argc, char **argv)
{
        return command_main(argc, argv);
}
