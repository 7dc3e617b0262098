-- A quote belongs to the content it was made of, and a campaign starts by no
-- other way than with one. What is charged above it is counted.
-- The same tables stand in ../sqlite.

-- +goose Up

ALTER TABLE quotes ADD COLUMN digest TEXT NOT NULL DEFAULT '';   -- of the content: campaign.Content.PriceDigest
ALTER TABLE quotes ADD COLUMN detail TEXT NOT NULL DEFAULT '{}'; -- JSON of campaign.QuoteDetail

-- What the recipients' quoted prices are worth: exact, classes, or none.
ALTER TABLE campaigns ADD COLUMN basis TEXT NOT NULL DEFAULT '';
UPDATE campaigns SET basis = COALESCE((SELECT q.basis FROM quotes q WHERE q.campaign_id = campaigns.id ORDER BY q.id DESC LIMIT 1), '');

-- Messages that cost more than they were quoted at, by how much in all, the most
-- that one did, and how much more for one a person has agreed to.
ALTER TABLE campaigns ADD COLUMN dearer BIGINT NOT NULL DEFAULT 0;
ALTER TABLE campaigns ADD COLUMN overspent BIGINT NOT NULL DEFAULT 0;
ALTER TABLE campaigns ADD COLUMN excess BIGINT NOT NULL DEFAULT 0;
ALTER TABLE campaigns ADD COLUMN excess_agreed BIGINT NOT NULL DEFAULT 0;
