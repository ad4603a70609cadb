/* http_slow: which connection has had its time, and that its place is another's afterwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/http_slow.h"

#define S INT64_C(1000000)

/* The other end has been told. */
static bool ended(int fd)
{
        char c;
        return recv(fd, &c, 1, MSG_DONTWAIT) == 0;
}

static void whoever_takes_too_long(void **state)
{
        (void)state;
        struct slow *s = slow_new(3);
        int a[2], b[2], c[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, a) | socketpair(AF_UNIX, SOCK_STREAM, 0, b) |
                                 socketpair(AF_UNIX, SOCK_STREAM, 0, c),
                         0);
        struct slow_place *drips = slow_opened(s, a[0], 0), *asks = slow_opened(s, b[0], 0), *again = slow_opened(s, c[0], 0);
        assert_true(drips && asks && again);
        assert_null(slow_opened(s, 99, 0)); /* more than was said: not watched */
        slow_asked(s, NULL, 0);
        slow_asked(s, asks, 14 * S); /* its answer is long */
        slow_asked(s, again, 1 * S);
        slow_answered(s, again, 2 * S); /* and waits for its next request */
        assert_int_equal(slow_end(s, SLOW_REQUEST_S * S - 1), 0);
        assert_int_equal(slow_end(s, SLOW_REQUEST_S * S), 1);
        assert_true(ended(a[1]) && !ended(b[1]) && !ended(c[1]));
        assert_int_equal(slow_end(s, SLOW_REQUEST_S * S + 1), 0); /* once is enough */
        assert_int_equal(slow_end(s, (2 + SLOW_REQUEST_S) * S), 1);
        assert_true(ended(c[1]) && !ended(b[1]));
        assert_int_equal(slow_end(s, (14 + SLOW_ANSWER_S) * S), 1);
        assert_true(ended(b[1]));
        slow_closed(s, drips);
        close(a[0]);
        struct slow_place *next = slow_opened(s, c[1], 100 * S);
        assert_ptr_equal(next, drips);
        assert_int_equal(slow_end(s, 100 * S), 0); /* the time of whoever was there before is not its own */
        slow_free(s);
        close(a[1]);
        for (int i = 0; i < 2; i++) {
                close(b[i]);
                close(c[i]);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(whoever_takes_too_long)};
        return cmocka_run_group_tests_name("daemon: clients that take too long", tests, NULL, NULL);
}
