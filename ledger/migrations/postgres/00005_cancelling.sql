-- Messages that the provider holds for their hour can be cancelled there. The
-- same tables stand in ../sqlite.

-- +goose Up

-- Until when the provider holds the campaign's messages (0: not at all), and how
-- many of them were to be cancelled and had left.
ALTER TABLE campaigns ADD COLUMN held_until BIGINT NOT NULL DEFAULT 0;
ALTER TABLE campaigns ADD COLUMN too_late INTEGER NOT NULL DEFAULT 0;
UPDATE campaigns SET held_until = COALESCE((content::json ->> 'schedule')::bigint, 0) * 1000;

-- Batches whose accepted recipients are to be cancelled at the provider: a row is
-- there until each of them is cancelled or was found too late. Who they are is
-- not written here, but what stands in recipients: the accepted ones that bear
-- no reason.
CREATE TABLE cancels (
    batch_id      BIGINT PRIMARY KEY,
    campaign_id   BIGINT NOT NULL,
    provider_url  TEXT    NOT NULL,
    provider_user TEXT    NOT NULL,
    channel       TEXT    NOT NULL,
    due_at        BIGINT NOT NULL,            -- when the provider is to let them go
    only_ids      BYTEA,                        -- the recipients, as runs; NULL: all of the batch
    doubtful      BYTEA,                        -- of whom the provider said no, as runs: history tells whether they are cancelled
    asked         INTEGER NOT NULL DEFAULT 0,  -- 1: all that are left are doubtful
    next_at       BIGINT NOT NULL DEFAULT 0,
    tries         INTEGER NOT NULL DEFAULT 0,  -- in a row that came to nothing
    lease_by      TEXT    NOT NULL DEFAULT '',
    lease_until   BIGINT NOT NULL DEFAULT 0,
    problem       TEXT    NOT NULL DEFAULT ''  -- why it does not go on; shown to people
);
CREATE INDEX cancels_due ON cancels (due_at, batch_id);
CREATE INDEX cancels_campaign ON cancels (campaign_id);
