-- One row for each message that a subscription has handled. `handled_at` is microseconds since 1970.
CREATE TABLE tidings_inbox (
    subscription text NOT NULL,
    source text NOT NULL,
    message_id text NOT NULL,
    handled_at bigint NOT NULL,
    PRIMARY KEY (subscription, source, message_id)
);
-- The rows lie in the order of their times, nearly: an index of ranges finds the old ones, and costs writers nothing.
CREATE INDEX tidings_inbox_handled_at ON tidings_inbox USING brin (handled_at);
