-- What keys may do, the audit trail, and rate limits.

-- NULL scopes: a key of a release before this migration. It may do what there was to do then: everything but tenant
-- administration and reading the audit trail.
ALTER TABLE api_keys ADD COLUMN scopes text[];
ALTER TABLE api_keys ADD COLUMN expires_at timestamptz;

-- NULL: the server's setting; 0: no limit. Each replica of the API counts for itself.
ALTER TABLE tenants ADD COLUMN requests_per_second integer CHECK (requests_per_second >= 0);
ALTER TABLE tenants ADD COLUMN push_bytes_per_second bigint CHECK (push_bytes_per_second >= 0);

-- Every change and who made it, written in the transaction that makes the change. It refers to nothing, so that it outlives
-- what it tells of.
CREATE TABLE audit_log (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id  uuid NOT NULL,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor      text NOT NULL,
    -- What proved it: 'key <id>', 'issuer <name>', 'command line', or a program of Millrace's own.
    credential text NOT NULL,
    action     text NOT NULL,
    -- The id, or where there is none the name, of what was changed.
    object     text NOT NULL,
    outcome    text NOT NULL CHECK (outcome IN ('done', 'refused')),
    details    jsonb NOT NULL DEFAULT '{}',
    request_id text,
    source     text
);
CREATE INDEX audit_log_tenant ON audit_log (tenant_id, id);
CREATE INDEX audit_log_at ON audit_log (at);

-- Rows can be added, and removed only by the retention, which says that it is that, and only when they are a day old.
CREATE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF current_setting('millrace.audit_retention', true) = 'on' AND OLD.at < clock_timestamp() - interval '1 day' THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION 'the audit trail is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION audit_log_is_append_only();
CREATE TRIGGER audit_log_no_truncate BEFORE TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_append_only();
