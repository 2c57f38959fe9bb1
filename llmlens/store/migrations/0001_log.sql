-- The log as of store version 1. A released migration is never edited; the next change is 0002_….sql.
--
-- Times are TIMESTAMP without a zone, always UTC: pandas reads them as plain datetime64[us], while TIMESTAMPTZ makes
-- pandas 3 warn and needs pytz on the older DuckDB. Money is DECIMAL(18,10): exact to 1e-10 USD, 8 bytes, up to
-- 99,999,999 USD a call. Ids are UUIDv7 text and arrive in time order, so the zone maps find a row without an index;
-- a primary key on a table this wide would cost memory and slow the append.
CREATE SCHEMA log;

CREATE TABLE log.meta (
    name  VARCHAR NOT NULL,
    value VARCHAR NOT NULL
);

CREATE TABLE log.call (  -- column for column `records.LoggedCall`
    call_id VARCHAR NOT NULL,
    started_at TIMESTAMP NOT NULL,
    outcome VARCHAR NOT NULL,
    operation VARCHAR NOT NULL,
    -- who and where
    key_id VARCHAR,
    user_name VARCHAR,
    team VARCHAR,
    notebook VARCHAR,
    cell_id VARCHAR,
    execution_count BIGINT,
    cell_sha VARCHAR,
    run_id VARCHAR,
    git_commit VARCHAR,
    git_dirty BOOLEAN,
    client VARCHAR,
    traceparent VARCHAR,
    tags JSON,
    -- what was asked
    dialect VARCHAR,
    method VARCHAR,
    path VARCHAR,
    model_asked VARCHAR,
    stream BOOLEAN,
    request_body BLOB,
    -- where it went
    provider VARCHAR,
    model_sent VARCHAR,
    upstream_dialect VARCHAR,
    dropped JSON,
    attempts BIGINT,
    simulated BOOLEAN,
    -- what came back
    http_status BIGINT,
    response_id VARCHAR,
    model_served VARCHAR,
    text VARCHAR,
    reasoning_text VARCHAR,
    refusal VARCHAR,
    tool_calls JSON,
    finish_reason VARCHAR,
    n_choices BIGINT,
    n_vectors BIGINT,
    dimensions BIGINT,
    response_type VARCHAR,
    response_body BLOB,
    chunk_timeline BLOB,
    error_type VARCHAR,
    error_code VARCHAR,
    error_message VARCHAR,
    error_param VARCHAR,
    retry_after_s DOUBLE,
    -- what it took
    input_tokens BIGINT,
    output_tokens BIGINT,
    cache_read_tokens BIGINT,
    cache_write_tokens BIGINT,
    reasoning_tokens BIGINT,
    usage_source VARCHAR,
    cost_usd DECIMAL(18, 10),
    price_source VARCHAR,
    latency_s DOUBLE,
    first_token_s DOUBLE,
    overhead_s DOUBLE,
    -- the cache
    cache VARCHAR,
    cache_key VARCHAR,
    sample BIGINT,
    cached_from VARCHAR,
    saved_usd DECIMAL(18, 10)
);

CREATE TABLE log.attempt (  -- only where a call took several attempts, or its only one failed; see view `attempts`
    call_id VARCHAR NOT NULL,
    n INTEGER NOT NULL,  -- 1 is the first
    provider VARCHAR,
    model VARCHAR,
    http_status BIGINT,
    error VARCHAR,
    started_s DOUBLE,
    latency_s DOUBLE
);

CREATE TABLE log.cache_entry (  -- appended only: of several entries of one key the newest counts
    key BLOB NOT NULL,  -- SHA-256, 32 bytes
    call_id VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL,
    expires_at TIMESTAMP,
    size_bytes BIGINT NOT NULL
);
