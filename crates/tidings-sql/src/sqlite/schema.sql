-- The SQLite broker's file. Its version is `user_version`; `application_id` says that it is ours.

-- One row: what is kept, in bytes, and the newest publish time. Times are milliseconds since 1970.
CREATE TABLE broker (
  bytes   INTEGER NOT NULL,
  letters INTEGER NOT NULL,
  newest  INTEGER NOT NULL,
  synced  INTEGER NOT NULL
) STRICT;
INSERT INTO broker VALUES (0, 0, 0, 0);

-- Topics that were published on. Dead letters are kept until somebody drops them.
CREATE TABLE topic (
  id     INTEGER PRIMARY KEY,
  name   TEXT NOT NULL UNIQUE,
  letter INTEGER NOT NULL
) STRICT;

-- Numbers rise and are never used twice: positions and receipts stand for one message for ever.
CREATE TABLE message (
  seq          INTEGER PRIMARY KEY AUTOINCREMENT,
  topic        INTEGER NOT NULL,
  at           INTEGER NOT NULL,
  size         INTEGER NOT NULL,
  key          TEXT,
  dedup        TEXT NOT NULL UNIQUE,
  source       TEXT NOT NULL,
  id           TEXT NOT NULL,
  type         TEXT,
  time         TEXT,
  content_type TEXT,
  traceparent  TEXT,
  tracestate   TEXT,
  headers      TEXT,
  body         BLOB NOT NULL
) STRICT;
-- What a subscription looks at to find its next messages, without their bodies.
CREATE INDEX message_line ON message (seq, topic, key, size);

-- Who has the file open; each holds the lock of a file of its own, named after its id.
CREATE TABLE owner (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  service  TEXT NOT NULL,
  instance TEXT NOT NULL
) STRICT;

-- A subscription, shared by its members (`only` is 0) or one member's own. It has looked at everything up to `position`.
CREATE TABLE subscription (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  "group"  TEXT NOT NULL,
  pattern  TEXT NOT NULL,
  only     INTEGER NOT NULL,
  position INTEGER NOT NULL,
  UNIQUE ("group", pattern, only)
) STRICT;

-- Which topics a subscription's pattern matches: worked out once, when either is new.
CREATE TABLE route (
  subscription INTEGER NOT NULL,
  topic        INTEGER NOT NULL,
  PRIMARY KEY (subscription, topic)
) WITHOUT ROWID, STRICT;

-- An instance that takes part in a subscription.
CREATE TABLE member (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  owner        INTEGER NOT NULL,
  subscription INTEGER NOT NULL
) STRICT;

-- What a subscription has looked at and not settled: open (0; `member` has its key in hand, if set), in hand (1) or waiting
-- for its time (2). `deliveries` numbers the delivery, so that a receipt is good once.
CREATE TABLE delivery (
  subscription INTEGER NOT NULL,
  seq          INTEGER NOT NULL,
  state        INTEGER NOT NULL,
  key          TEXT,
  member       INTEGER,
  due          INTEGER NOT NULL,
  attempts     INTEGER NOT NULL,
  deliveries   INTEGER NOT NULL,
  PRIMARY KEY (subscription, seq)
) WITHOUT ROWID, STRICT;
CREATE INDEX delivery_open ON delivery (subscription, member, seq) WHERE state = 0;
CREATE INDEX delivery_waiting ON delivery (subscription, due) WHERE state = 2;
CREATE INDEX delivery_key ON delivery (subscription, key, member) WHERE key IS NOT NULL AND member IS NOT NULL;
