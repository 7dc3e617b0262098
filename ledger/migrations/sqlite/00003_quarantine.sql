-- What tells a ledger from a copy of it, and what keeps a copy from sending.
-- The same tables stand in ../postgres.

-- +goose Up

ALTER TABLE ledger ADD COLUMN home TEXT NOT NULL DEFAULT '';                 -- where it was opened last, see home.go; '' not yet
ALTER TABLE ledger ADD COLUMN quarantine TEXT NOT NULL DEFAULT '';           -- why nothing may leave; '' when all may
ALTER TABLE ledger ADD COLUMN quarantined_at INTEGER NOT NULL DEFAULT 0;

-- Ids under which this ledger's messages left before it got a new one: a
-- reference that bears one is ours when its recipient is older than the change.
CREATE TABLE former_ids (
    id               TEXT PRIMARY KEY,
    recipients_below INTEGER NOT NULL
) WITHOUT ROWID;
