-- When a campaign starts and its messages may leave.
-- The same tables stand in ../sqlite.

-- +goose Up

ALTER TABLE campaigns ADD COLUMN timing TEXT NOT NULL DEFAULT ''; -- JSON of campaign.Timing; '': at any time
-- By which time zone the window is read for a batch whose recipients have one of
-- their own; '': by the campaign's.
ALTER TABLE batches ADD COLUMN zone TEXT NOT NULL DEFAULT '';
