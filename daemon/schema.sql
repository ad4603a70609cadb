-- The schema pangea: what the agents of one region keep in that region's database.  Run by `pangea init`, once for a database, in one
-- transaction; later versions are added below as migrations (daemon/init.c), never by changing what stands here.
-- rel is "schema.table" as text, never an OID.  HLCs are Unix microseconds.
CREATE SCHEMA pangea;

-- One row: which region this database is, and from where on its changes are captured.
CREATE TABLE pangea.meta (
        one            bool PRIMARY KEY DEFAULT true CHECK (one),
        schema_version int NOT NULL,
        cluster        text NOT NULL,
        region         text NOT NULL,
        incarnation    int NOT NULL,
        system_id      text NOT NULL,
        database_name  text NOT NULL,
        base_lsn       pg_lsn NOT NULL,   -- the slot's consistent point (0/0 in a follower)
        publication    oid,               -- the one that was there when the slot was made (NULL in a follower)
        base_xid       xid8 NOT NULL,     -- rows written below it are common ground of all regions
        keep_identity  bool NOT NULL,     -- `init --keep-identity`: no table gets another REPLICA IDENTITY
        stable_xid     xid8 NOT NULL,     -- rows written below it are stable; moved by the apply agent
        created        timestamptz NOT NULL DEFAULT now()
);

-- One row: who may publish. Written by capture (in a follower by apply).
CREATE TABLE pangea.capture (
        one            bool PRIMARY KEY DEFAULT true CHECK (one),
        epoch          bigint NOT NULL,
        epoch_offset   bigint             -- where the last EPOCH of this agent landed, when that was seen
);

-- How far each log is applied; for the own region: how far its log is processed and stable.
CREATE TABLE pangea.position (
        origin         text PRIMARY KEY,
        incarnation    int NOT NULL,
        epoch          bigint NOT NULL,
        seq            bigint NOT NULL,
        hlc            bigint NOT NULL,
        lsn            pg_lsn NOT NULL,
        kafka_offset   bigint NOT NULL    -- of the last record that counts; -1: none yet
);

-- How far another region's log is copied into the own Kafka (links: mirror): everything up to there is surely delivered. Version 2.
CREATE TABLE pangea.mirror (
        log            text PRIMARY KEY,
        source_offset  bigint NOT NULL    -- in the log itself
);

-- The newest delete of a key by each origin. key = '' is the whole table (TRUNCATE).
CREATE TABLE pangea.tombstone (
        rel            text NOT NULL,
        key            bytea NOT NULL,    -- canonical bytes of the key columns
        region         text NOT NULL,
        hlc            bigint NOT NULL,
        PRIMARY KEY (rel, key, region)
);
CREATE INDEX tombstone_age ON pangea.tombstone (region, hlc);

-- History: every version that a rule discarded, by its dot.
CREATE TABLE pangea.conflict (
        rel            text NOT NULL,
        key            jsonb NOT NULL,
        region         text NOT NULL,     -- the dot of the version that lost
        hlc            bigint NOT NULL,
        at             timestamptz NOT NULL DEFAULT now(),
        kind           text NOT NULL,     -- insert_exists update_origin_differs update_deleted delete_origin_differs
        rule           text NOT NULL,
        winner         jsonb,             -- {"region": .., "hlc": ..}; hlc null: a local version not yet published
        image          jsonb              -- the row that lost, readable; null: it was a delete
) PARTITION BY RANGE (at);
CREATE TABLE pangea.conflict_rest PARTITION OF pangea.conflict DEFAULT;
CREATE INDEX conflict_dot ON pangea.conflict (rel, region, hlc);

-- The state of the agents, once a second.
CREATE UNLOGGED TABLE pangea.status (
        agent          text PRIMARY KEY,  -- capture | apply
        at             timestamptz NOT NULL,
        doc            jsonb NOT NULL
);
