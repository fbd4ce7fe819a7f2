//! Events written in the database transaction that made them true, and the relay that moves them to the broker.
