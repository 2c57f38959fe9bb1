-- The views users query, made anew whenever this file changes. Each carries `key_id`, the owner of the row, by which
-- `reader.py` shows a member only their own. Only what both DuckDB 1.5 and 2 understand.

CREATE OR REPLACE VIEW main.calls AS
SELECT
    c.call_id, c.started_at, c.outcome, c.cache, c.provider,
    coalesce(c.model_served, c.model_sent, c.model_asked) AS model,
    try(decode(c.request_body)) AS request,
    c.text,
    c.input_tokens, c.output_tokens, c.cost_usd, c.saved_usd, c.latency_s, c.first_token_s,
    c.error_type, c.error_message, c.finish_reason, c.tool_calls, c.reasoning_text, c.refusal,
    try(decode(coalesce(c.response_body, origin.response_body))) AS response,
    c.notebook, c.cell_id, c.execution_count, c.run_id, c.tags, c.user_name, c.team, c.key_id,
    c.operation, c.dialect, c.method, c.path, c.stream, c.model_asked, c.model_sent, c.model_served,
    c.upstream_dialect, c.dropped, c.attempts, c.simulated, c.http_status, c.response_id,
    c.n_choices, c.n_vectors, c.dimensions, c.error_code, c.error_param, c.retry_after_s,
    c.cache_read_tokens, c.cache_write_tokens, c.reasoning_tokens, c.usage_source, c.price_source, c.stated_cost_usd,
    c.finish_detail, c.overhead_s,
    c.cache_key, c.sample, c.cached_from, c.cell_sha, c.git_commit, c.git_dirty, c.client, c.traceparent,
    coalesce(c.response_type, origin.response_type) AS response_type,
    c.request_body,
    coalesce(c.response_body, origin.response_body) AS response_body,
    coalesce(c.chunk_timeline, origin.chunk_timeline) AS chunk_timeline
FROM log.call AS c
LEFT JOIN (  -- only what was ever replayed: a join with every body would not fit in memory
    SELECT call_id, response_type, response_body, chunk_timeline FROM log.call
    WHERE call_id IN (SELECT cached_from FROM log.call WHERE cached_from IS NOT NULL)
) AS origin ON origin.call_id = c.cached_from;

-- A call whose only attempt succeeded is not stored twice: its attempt is read off the call. When it was sent, as
-- seconds after the call came in, is then not known.
CREATE OR REPLACE VIEW main.attempts AS
SELECT a.call_id, a.n, a.provider, a.model, a.http_status, a.error, a.started_s, a.latency_s,
       c.started_at AS call_started_at, c.key_id
FROM log.attempt AS a
JOIN log.call AS c ON c.call_id = a.call_id
UNION ALL
SELECT c.call_id, 1, c.provider, c.model_sent, c.http_status, NULL, NULL, c.latency_s - coalesce(c.overhead_s, 0),
       c.started_at, c.key_id
FROM log.call AS c
WHERE c.attempts = 1 AND NOT EXISTS (SELECT 1 FROM log.attempt AS a WHERE a.call_id = c.call_id);

-- Sums skip what is unknown and are NULL where nothing is known; `unpriced_calls` says how many calls that reached a
-- provider have no known cost. A cache hit reached none.
CREATE OR REPLACE VIEW main.usage_daily AS
SELECT
    CAST(date_trunc('day', started_at) AS DATE) AS day,
    provider,
    coalesce(model_served, model_sent, model_asked) AS model,
    notebook,
    key_id,
    count(*) AS calls,
    count(*) FILTER (outcome IN ('error', 'denied', 'incomplete')) AS errors,
    count(*) FILTER (cache = 'hit') AS hits,
    CAST(sum(input_tokens) FILTER (cache IS DISTINCT FROM 'hit') AS BIGINT) AS input_tokens,
    CAST(sum(output_tokens) FILTER (cache IS DISTINCT FROM 'hit') AS BIGINT) AS output_tokens,
    CAST(sum(cache_read_tokens) FILTER (cache IS DISTINCT FROM 'hit') AS BIGINT) AS cache_read_tokens,
    CAST(sum(cache_write_tokens) FILTER (cache IS DISTINCT FROM 'hit') AS BIGINT) AS cache_write_tokens,
    CAST(sum(reasoning_tokens) FILTER (cache IS DISTINCT FROM 'hit') AS BIGINT) AS reasoning_tokens,
    sum(cost_usd) AS cost_usd,
    sum(saved_usd) AS saved_usd,
    count(*) FILTER (cost_usd IS NULL AND attempts > 0) AS unpriced_calls
FROM log.call
GROUP BY ALL;
