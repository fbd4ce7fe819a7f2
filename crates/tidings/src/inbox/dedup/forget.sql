-- Until when a thing that was done is remembered, in microseconds since 1970; null: for ever. It stands in the row so that anyone can
-- remove it, whoever uses its scope.
ALTER TABLE tidings_dedup ADD COLUMN forget_at bigint;
CREATE INDEX tidings_dedup_forget_at ON tidings_dedup (forget_at) WHERE forget_at IS NOT NULL;
