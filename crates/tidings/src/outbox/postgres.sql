CREATE TABLE tidings_outbox (
    service text NOT NULL,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    source text NOT NULL,
    id text NOT NULL,
    type text NOT NULL,
    topic text NOT NULL,
    key text,
    headers jsonb NOT NULL,
    content_type text NOT NULL,
    body bytea NOT NULL,
    created_at bigint NOT NULL, -- microseconds since 1970
    PRIMARY KEY (service, seq), -- a relay reads its own service's rows in this order
    UNIQUE (source, id)
);
-- Every row is soon deleted: the default waits until a fifth of the table is dead, which an outbox reaches at once or never.
ALTER TABLE tidings_outbox SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 10000);

CREATE TABLE tidings_outbox_rejected (
    service text NOT NULL,
    seq bigint NOT NULL,
    source text NOT NULL,
    id text NOT NULL,
    type text NOT NULL,
    topic text NOT NULL,
    key text,
    headers jsonb NOT NULL,
    content_type text NOT NULL,
    body bytea NOT NULL,
    created_at bigint NOT NULL,
    error text NOT NULL,
    PRIMARY KEY (service, seq)
);
