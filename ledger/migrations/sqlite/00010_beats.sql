-- What every beat asks is found at once, however many batches wait. The same
-- indexes stand in ../postgres.

-- +goose Up

-- Whether something of a campaign is due, though all the rest is put off.
CREATE INDEX batches_due ON batches (channel, campaign_id, due_at) WHERE state = 0;

-- What the cap leaves room for once a price above the quoted one was agreed to.
CREATE INDEX batches_unknown ON batches (campaign_id, unknown) WHERE unknown > 0;

-- What an account is to cancel next.
CREATE INDEX cancels_next ON cancels (provider_url, provider_user, channel, asked, due_at, batch_id);
