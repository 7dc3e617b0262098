-- Personal letters that have a reference are mailed once ever, and a run may
-- have several campaigns. The same tables stand in ../postgres.

-- +goose Up

-- Whose a reference is: of the run that mails it, and once its campaign is
-- made, of that.
CREATE TABLE mailed_references (
    reference   TEXT PRIMARY KEY,
    run_id      INTEGER NOT NULL,
    campaign_id INTEGER NOT NULL DEFAULT 0,
    at          INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX mailed_references_run ON mailed_references (run_id);

-- The campaigns of a run beside the one that its row names.
CREATE TABLE run_campaigns (
    run_id      INTEGER NOT NULL,
    campaign_id INTEGER NOT NULL,
    PRIMARY KEY (run_id, campaign_id)
) WITHOUT ROWID;
