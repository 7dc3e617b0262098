-- Unknown outcomes are found out: what an answer said lies packed beside its
-- attempt, and an attempt knows whom it has still to find, and whom history
-- showed absent.

-- +goose Up

-- What the answer said of each member (see answers.go). Until now a row of
-- messages each; those stay readable.
ALTER TABLE attempts ADD COLUMN answer BYTEA;
-- Members whose outcome is to be found out, as runs; NULL: none.
ALTER TABLE attempts ADD COLUMN unresolved BYTEA;
-- Members whom history showed absent, and who went back to pending; evidence of
-- them is late evidence. NULL: none.
ALTER TABLE attempts ADD COLUMN absent BYTEA;
-- From when the settling time counts, and how often history was read in vain.
ALTER TABLE attempts ADD COLUMN settles_from BIGINT NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN looks BIGINT NOT NULL DEFAULT 0;
-- Few attempts are open at a time, and the sweeper asks for them at every beat.
CREATE INDEX attempts_in_flight ON attempts (batch_id) WHERE state = 0;
CREATE INDEX attempts_unresolved ON attempts (settles_from) WHERE unresolved IS NOT NULL;
CREATE INDEX attempts_absent ON attempts (settles_from) WHERE absent IS NOT NULL;
UPDATE attempts SET unresolved = members, settles_from = closed_at WHERE state = 3;

-- The batch that its recipients come from (0: the plan), whether they were in an
-- attempt whose outcome was unknown, and how many passing refusals they have
-- behind them.
ALTER TABLE batches ADD COLUMN parent_id BIGINT NOT NULL DEFAULT 0;
ALTER TABLE batches ADD COLUMN resend BIGINT NOT NULL DEFAULT 0;
ALTER TABLE batches ADD COLUMN tries BIGINT NOT NULL DEFAULT 0;

-- Recipients whom the provider accepted more than once, as evidence that came
-- late has shown: one row for each message too many.
CREATE TABLE duplicates (
    recipient_id BIGINT NOT NULL,
    attempt_id   BIGINT NOT NULL,
    campaign_id  BIGINT NOT NULL,
    at           BIGINT NOT NULL,
    PRIMARY KEY (recipient_id, attempt_id)
);
CREATE INDEX duplicates_campaign ON duplicates (campaign_id);

-- Why resends wait for a person ('': they do not), who reads history and until
-- when, and why it could not be read.
ALTER TABLE channels ADD COLUMN stopped TEXT NOT NULL DEFAULT '';
ALTER TABLE channels ADD COLUMN look_by TEXT NOT NULL DEFAULT '';
ALTER TABLE channels ADD COLUMN look_until BIGINT NOT NULL DEFAULT 0;
ALTER TABLE channels ADD COLUMN looked_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE channels ADD COLUMN look_error TEXT NOT NULL DEFAULT '';

-- The contacts of a list lie from here to there, perhaps among others: no index
-- on millions of rows is needed to find them.
ALTER TABLE lists ADD COLUMN first_id BIGINT NOT NULL DEFAULT 0;
ALTER TABLE lists ADD COLUMN last_id BIGINT NOT NULL DEFAULT 0;
UPDATE lists SET first_id = COALESCE((SELECT min(k.id) FROM contacts k WHERE k.list_id = lists.id), 0),
                 last_id = COALESCE((SELECT max(k.id) FROM contacts k WHERE k.list_id = lists.id), 0);
DROP INDEX contacts_list;
