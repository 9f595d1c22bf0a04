-- What the reaper needs to set right what went wrong, and a tenant's output buffer.

-- Since when the batch's lane was seen empty while chunks of it were queued and no worker held any; NULL while that is not so.
ALTER TABLE batches ADD COLUMN lane_empty_since timestamptz;

-- Deliveries that a worker holds per batch, as `busy`; NULL from a worker of before, which does not say.
ALTER TABLE workers ADD COLUMN held jsonb;

-- Bytes of finished results, not pulled, from which on pushes to any of the tenant's batches wait; NULL for `capacity_bytes`.
ALTER TABLE tenants ADD COLUMN output_capacity_bytes bigint CHECK (output_capacity_bytes > 0);

-- Counters that had drifted from the rows and were set right.
CREATE TABLE counter_repairs (
    batch_id    uuid NOT NULL REFERENCES batches,
    counter     text NOT NULL,
    -- What the counters summed up to, and what the rows made.
    counted     bigint NOT NULL,
    found       bigint NOT NULL,
    repaired_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (batch_id, repaired_at, counter)
);
