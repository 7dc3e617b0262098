-- A named list is a sequence of versions: whatever changes it writes a new one
-- beside it, which takes over the name when it is whole. The same columns stand
-- in ../postgres.

-- +goose Up

ALTER TABLE lists ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
ALTER TABLE lists ADD COLUMN mode TEXT NOT NULL DEFAULT 'import';       -- what made it: import, append, replace, update, dedupe
ALTER TABLE lists ADD COLUMN imported INTEGER NOT NULL DEFAULT 0;       -- rows of the file that were taken: rows less the other three
ALTER TABLE lists ADD COLUMN added INTEGER NOT NULL DEFAULT 0;          -- contacts that the version before does not have
ALTER TABLE lists ADD COLUMN updated INTEGER NOT NULL DEFAULT 0;        -- contacts that it has otherwise
ALTER TABLE lists ADD COLUMN unchanged INTEGER NOT NULL DEFAULT 0;      -- rows that said nothing new
UPDATE lists SET imported = contacts, added = contacts;
