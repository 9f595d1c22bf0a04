-- Webhooks: who is told when a batch ends, and every message that is to be delivered.

-- Told about every batch of the tenant, or only about those of its creator, as the creator may see them.
CREATE TABLE webhooks (
    id              uuid PRIMARY KEY,
    tenant_id       uuid NOT NULL REFERENCES tenants,
    url             text NOT NULL,
    -- Host and port of the URL: how much is under way to one host is bounded.
    host            text NOT NULL,
    description     text NOT NULL DEFAULT '',
    events          text[] NOT NULL,
    active          boolean NOT NULL DEFAULT true,
    all_batches     boolean NOT NULL,
    created_by      text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    -- Messages are signed with it, so it is no hash: sealed with webhooks.secret_key where that is set.
    secret          bytea NOT NULL,
    -- The secret before the last rotation; both sign until then.
    previous_secret bytea,
    previous_until  timestamptz,
    -- The first failure since the last success.
    failing_since   timestamptz,
    -- Why it was switched off by itself.
    disabled_reason text,
    -- Deleted for everybody but the reaper, which removes the messages bit by bit and then the row.
    deleted_at      timestamptz
);
CREATE INDEX webhooks_tenant ON webhooks (tenant_id);
CREATE INDEX webhooks_deleted ON webhooks (deleted_at) WHERE deleted_at IS NOT NULL;

-- Signs the messages to the URLs that batches name themselves.
CREATE TABLE tenant_webhook_secrets (
    tenant_id       uuid PRIMARY KEY REFERENCES tenants,
    secret          bytea NOT NULL,
    previous_secret bytea,
    previous_until  timestamptz,
    made_at         timestamptz NOT NULL DEFAULT now()
);

ALTER TABLE batches ADD COLUMN webhook_url text;

-- A message to one receiver, written in the transaction of the change that it tells. The id is the same at every attempt.
CREATE TABLE webhook_deliveries (
    id              uuid PRIMARY KEY,
    tenant_id       uuid NOT NULL REFERENCES tenants,
    -- NULL: to the batch's own URL.
    webhook_id      uuid REFERENCES webhooks,
    -- NULL: a test.
    batch_id        uuid REFERENCES batches,
    event           text NOT NULL,
    body            text NOT NULL,
    host            text NOT NULL,
    state           text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'dead')),
    attempts        integer NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Attempts are given up some time after this: the creation, or the last request to deliver again.
    retry_from      timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Whoever claims a delivery puts this off: that is its lease.
    next_attempt_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_attempt_at timestamptz,
    last_status     integer,
    last_error      text,
    finished_at     timestamptz
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (next_attempt_at) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_webhook ON webhook_deliveries (webhook_id, created_at);
CREATE INDEX webhook_deliveries_batch ON webhook_deliveries (batch_id);
CREATE INDEX webhook_deliveries_finished ON webhook_deliveries (finished_at) WHERE state <> 'pending';
