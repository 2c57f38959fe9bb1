-- What a provider itself says an answer cost, beside our own computation, and why an answer ended where the finish
-- reason alone does not say (the `incomplete_details` of OpenAI's Responses).
ALTER TABLE log.call ADD COLUMN stated_cost_usd DECIMAL(18, 10);
ALTER TABLE log.call ADD COLUMN finish_detail VARCHAR;
