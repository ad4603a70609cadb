#include "daemon/term.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

int term_width(void)
{
        const char *said = getenv("COLUMNS");
        int columns = said ? atoi(said) : 0;
        struct winsize w = {0};
        if (columns > 0)
                return columns;
        if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) != 0)
                return 0;
        return w.ws_col;
}

bool term_colour(void)
{
        const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
        return isatty(STDOUT_FILENO) && !(no && *no) && !(term && strcmp(term, "dumb") == 0);
}

const char *term_style(enum term_style s, bool colour)
{
        if (!colour)
                return "";
        switch (s) {
        case STYLE_NONE: return "\033[0m";
        case STYLE_BAD: return "\033[1;31m";
        case STYLE_WARN: return "\033[33m";
        case STYLE_GOOD: return "\033[32m";
        case STYLE_FAINT: return "\033[2m";
        case STYLE_STRONG: return "\033[1m";
        }
        return "";
}
