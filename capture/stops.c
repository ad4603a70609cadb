#include "capture/stops.h"

#include <stdio.h>
#include <string.h>

/* There is no command yet that repairs a region in place, and the others stop where its log ends: all are set up again. */
#define ANEW                                                                                                               \
        "set all regions up again together: stop their daemons, `pangea deinit --region .. --yes` in %s and every other, " \
        "copy the tables from a region that is whole, `pangea init` in each"

/* every %s is the region's name */
static const struct {
        const char *name, *todo;
} stops[] = {
        {"not_initialized", "run `pangea init --region %s` first"},
        {"wrong_database", "correct the conninfo of region %s in the topology"},
        {"standby", "point the conninfo of region %s at the primary"},
        {"slot_missing", ANEW},
        {"slot_lost", ANEW " (and raise max_slot_wal_keep_size)"},
        {"slot_ahead", ANEW},
        {"log_empty", ANEW},
        {"log_recreated", ANEW},
        {"log_cut", ANEW},
        {"kafka_away", "see whether the brokers of region %s answer and have room on their disks; pangea goes on trying by itself"},
        {"kafka_tls",
         "look at the certificates of region %s's Kafka and at ssl.ca.location, ssl.certificate.location, their dates and the "
         "broker's name"},
        {"kafka_login", "correct user, password or mechanism in region %s's kafka properties"},
        {"standby_missing",
         "start that standby of region %s, give its primary_conninfo this application_name, or take the name out of "
         "postgres.wait_for_standbys"},
        {"standby_hidden", "run `pangea init --region %s`: it grants pg_read_all_stats"},
        {"standby_behind", "see why that standby of region %s does not follow (network, disk, load), or take the name out of "
                           "postgres.wait_for_standbys"},
        {"system_changed", "if the conninfo of region %s is right: " ANEW},
        {"timeline_changed", ANEW},
        {"server_behind", ANEW},
        {"history_changed", ANEW},
        {"epoch_behind", "end the other copy of this database if it runs; then " ANEW},
        {"commit_timestamps_off", "set track_commit_timestamp = on in region %s's postgresql.conf and restart PostgreSQL"},
        {"key_not_sent",
         "let the publication of region %s carry the key columns: correct `columns` of the route and run `pangea init`"},
        {"identity_unfit", "run `pangea init --region %s`, or ALTER TABLE .. REPLICA IDENTITY FULL"},
        {"stream_unreadable", "compare the PostgreSQL version of region %s with the supported ones, and report this message"},
};

const char *stop_todo(const char *name, const char *region, char *buf, unsigned long size)
{
        buf[0] = 0;
        for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
                if (strcmp(stops[i].name, name) != 0)
                        continue;
                size_t n = 0;
                for (const char *p = stops[i].todo; *p && n + 1 < size;) {
                        if (p[0] == '%' && p[1] == 's') {
                                n += (size_t)snprintf(buf + n, size - n, "%s", region);
                                p += 2;
                        } else {
                                buf[n++] = *p++;
                                buf[n] = 0;
                        }
                }
        }
        return buf;
}

enum status stop_named(struct err *e, const char *name, const char *region, const char *fmt, ...)
{
        char what[600], todo[380];
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(what, sizeof what, fmt, ap);
        va_end(ap);
        return err_named(e, ST_DATA, name, "%s; to mend it: %s", what, stop_todo(name, region, todo, sizeof todo));
}
