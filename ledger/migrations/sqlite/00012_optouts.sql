-- One suppression list for phone numbers, e-mail addresses and street addresses,
-- and a record of what was ever taken off it. The same tables stand in
-- ../postgres.

-- +goose Up

-- Nobody on it is sent to; asked at import, at planning and when a batch leaves.
-- The key is a number in E.164, an e-mail address in lower case, or the words of
-- a street address (campaign/optout.go), whose parts are in value, packed.
CREATE TABLE opt_outs_of_all_kinds (
    kind     TEXT    NOT NULL,  -- phone, email, address
    key      TEXT    NOT NULL,
    value    TEXT    NOT NULL,
    source   TEXT    NOT NULL,  -- cli, reply, the name of a file, ...
    reason   TEXT    NOT NULL,
    added_by TEXT    NOT NULL,
    added_at INTEGER NOT NULL,
    PRIMARY KEY (kind, key)
) WITHOUT ROWID;
INSERT INTO opt_outs_of_all_kinds (kind, key, value, source, reason, added_by, added_at)
SELECT 'phone', phone, '', source, reason, '', created_at FROM opt_outs;
DROP TABLE opt_outs;
ALTER TABLE opt_outs_of_all_kinds RENAME TO opt_outs;

-- Opt-outs that were taken off the list, as they were, and why. Rows are only
-- ever added: together with opt_outs it is all that ever happened to the list.
CREATE TABLE past_opt_outs (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    kind           TEXT    NOT NULL,
    key            TEXT    NOT NULL,
    value          TEXT    NOT NULL,
    source         TEXT    NOT NULL,
    reason         TEXT    NOT NULL,
    added_by       TEXT    NOT NULL,
    added_at       INTEGER NOT NULL,
    removed_by     TEXT    NOT NULL,
    removed_at     INTEGER NOT NULL,
    removal_reason TEXT    NOT NULL
);
CREATE INDEX past_opt_outs_key ON past_opt_outs (kind, key);

-- Files of opt-outs on their way in. What they hold lies in incoming_opt_outs
-- until it is moved to opt_outs, all in one transaction.
CREATE TABLE opt_out_imports (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    lease_until INTEGER NOT NULL  -- the importer lives
);
CREATE TABLE incoming_opt_outs (
    id        INTEGER PRIMARY KEY,
    import_id INTEGER NOT NULL,
    kind      TEXT    NOT NULL,
    key       TEXT    NOT NULL,
    value     TEXT    NOT NULL,
    source    TEXT    NOT NULL,
    reason    TEXT    NOT NULL
);
