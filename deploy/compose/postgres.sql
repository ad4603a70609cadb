-- Run once in each region's database, as superuser: the application's role and a first table, the daemon's role and its rights.
CREATE ROLE app LOGIN PASSWORD 'app';
GRANT CREATE ON SCHEMA public TO app;
SET ROLE app;
CREATE TABLE public.notes (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), region text NOT NULL, text text NOT NULL);
RESET ROLE;

CREATE ROLE pangea LOGIN REPLICATION PASSWORD 'pangea';
GRANT app TO pangea;
GRANT CREATE ON DATABASE shop TO pangea;
GRANT pg_signal_backend TO pangea;
GRANT SET ON PARAMETER session_replication_role, deadlock_timeout TO pangea;
GRANT EXECUTE ON FUNCTION pg_replication_origin_create(text), pg_replication_origin_drop(text),
    pg_replication_origin_session_setup(text), pg_replication_origin_session_reset(),
    pg_replication_origin_session_progress(boolean), pg_replication_origin_xact_setup(pg_lsn, timestamptz),
    pg_replication_origin_progress(text, boolean), pg_show_replication_origin_status() TO pangea;
