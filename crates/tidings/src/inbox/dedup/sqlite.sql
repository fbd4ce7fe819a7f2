-- One row for each thing that was started, and when it was done. Times are microseconds since 1970, by the database's clock.
CREATE TABLE tidings_dedup (
    scope text NOT NULL,
    key text NOT NULL,
    claimant text NOT NULL,
    started_at integer NOT NULL,
    done_at integer,
    PRIMARY KEY (scope, key)
) WITHOUT ROWID;
