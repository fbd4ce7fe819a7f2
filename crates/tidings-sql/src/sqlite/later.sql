-- Messages that are held back until they are due (milliseconds since 1970); then they move into `message`, under a new number. A
-- file that was made before there was this table gets it when it is opened.
CREATE TABLE IF NOT EXISTS later (
  seq          INTEGER PRIMARY KEY AUTOINCREMENT,
  due          INTEGER NOT NULL,
  topic        INTEGER NOT NULL,
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
CREATE INDEX IF NOT EXISTS later_due ON later (due, seq);
