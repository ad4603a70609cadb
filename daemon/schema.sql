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
        own_parts      bigint NOT NULL DEFAULT 0, -- HLC: what the own log holds up to it is not taken in again by rules with siblings. Version 5
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
                                          -- multiple_unique_conflicts
        rule           text NOT NULL,
        winner         jsonb,             -- {"region": .., "hlc": ..}; hlc null: a local version not yet published
        image          jsonb,             -- the row that lost, readable; null: it was a delete
        involved       jsonb,             -- dots of all versions that were in it: [{"region": .., "hlc": ..}, ..]. From here on version 3
        xids           jsonb,             -- transactions of the group that brought it: {"region": .., "xids": [..]}
        stands         jsonb              -- what stands now, readable; null: nothing
) PARTITION BY RANGE (at);
CREATE TABLE pangea.conflict_rest PARTITION OF pangea.conflict DEFAULT;
-- All losers of one large transaction share a dot: the key is in the index too, by the hash that agrees with jsonb's =. Version 5.
CREATE INDEX conflict_version ON pangea.conflict (rel, region, hlc, jsonb_hash_extended(key, 0));

-- Live state: the concurrent versions of a key whose conflict is not settled for good yet (some of them are not stable, or the rule is
-- manual). Version 3.
CREATE TABLE pangea.sibling (
        rel            text NOT NULL,
        key            bytea NOT NULL,    -- canonical bytes of the key columns
        region         text NOT NULL,     -- the dot
        hlc            bigint NOT NULL,
        vector         jsonb NOT NULL,    -- what its transaction had seen: {"us": 123, ..}
        image          jsonb NOT NULL,    -- {"column": "value as PostgreSQL prints it" or null, ..}
        old            jsonb,             -- the row that it replaced, likewise
        row_xid        bigint,            -- xmin of the row that stands; another one: somebody has written since and seen them all.
                                          -- NULL: the row waits in pangea.suppressed
        rule           text NOT NULL,     -- that settled it
        at             timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (rel, key, region, hlc)
);

-- Live state: rows that wait outside their table because a row before them holds one of their unique values. Version 3.
CREATE TABLE pangea.suppressed (
        rel            text NOT NULL,
        key            bytea NOT NULL,
        region         text NOT NULL,     -- the dot of the waiting version
        hlc            bigint NOT NULL,
        image          jsonb NOT NULL,    -- {"column": "value as PostgreSQL prints it" or null, ..}
        held_by        jsonb,             -- key of the row that holds the value, readable
        constraint_name text,
        at             timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (rel, key)
);

-- Live state: who wrote a column (column_merge), an element (union) or a field (json_merge) last, until that is stable. Version 3.
CREATE TABLE pangea.column_dot (
        rel            text NOT NULL,
        key            bytea NOT NULL,
        col            text NOT NULL,
        element        text NOT NULL,
        region         text NOT NULL,
        hlc            bigint NOT NULL
);
CREATE INDEX column_dot_key ON pangea.column_dot (rel, key);

-- The conflict rules of each region, as its log announced them: in force for what it wrote behind from_hlc. Version 3.
CREATE TABLE pangea.rules (
        region         text NOT NULL,
        from_hlc       bigint NOT NULL,
        generation     int NOT NULL,
        doc            jsonb NOT NULL,
        at             timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (region, from_hlc)
);

-- What an operator has paused (pangea pause); the agents look several times a second. Version 4.
CREATE TABLE pangea.pause (
        agent          text NOT NULL,     -- capture | apply
        origin         text NOT NULL,     -- what apply holds back: one region's changes, or '' for all
        at             timestamptz NOT NULL DEFAULT now(),
        by_whom        text NOT NULL,
        reason         text,
        PRIMARY KEY (agent, origin)
);

-- The state of the agents, once a second.
CREATE UNLOGGED TABLE pangea.status (
        agent          text PRIMARY KEY,  -- capture | apply
        at             timestamptz NOT NULL,
        doc            jsonb NOT NULL
);
