-- AUTOINCREMENT: without it a number comes again once the newest row is gone, and a late delete would take another row.
CREATE TABLE tidings_outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    service TEXT NOT NULL,
    source TEXT NOT NULL,
    id TEXT NOT NULL,
    type TEXT NOT NULL,
    topic TEXT NOT NULL,
    key TEXT,
    headers TEXT NOT NULL,
    content_type TEXT NOT NULL,
    body BLOB NOT NULL,
    created_at INTEGER NOT NULL, -- microseconds since 1970
    UNIQUE (source, id)
) STRICT;
CREATE INDEX tidings_outbox_service ON tidings_outbox (service, seq);

CREATE TABLE tidings_outbox_rejected (
    seq INTEGER PRIMARY KEY,
    service TEXT NOT NULL,
    source TEXT NOT NULL,
    id TEXT NOT NULL,
    type TEXT NOT NULL,
    topic TEXT NOT NULL,
    key TEXT,
    headers TEXT NOT NULL,
    content_type TEXT NOT NULL,
    body BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    error TEXT NOT NULL
) STRICT;
