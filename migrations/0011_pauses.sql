-- Pauses: while a batch is paused, nothing of it is evaluated.

-- Since when the batch is paused, and who paused it; NULL while it is not. Only meant while the batch is live and was not stopped
-- early: binaries of before end batches without taking it back.
ALTER TABLE batches ADD COLUMN paused_at timestamptz;
ALTER TABLE batches ADD COLUMN paused_by text;

-- The same of a batch of recipes.
ALTER TABLE workloads ADD COLUMN paused_at timestamptz;
ALTER TABLE workloads ADD COLUMN paused_by text;
