-- What workers say of themselves in their heartbeats beside what they do.

-- The newest kind of work that the worker knows (see `model::Protocol`). NULL from a worker of before, which knows chunks alone.
ALTER TABLE workers ADD COLUMN protocol integer;
-- How far the worker's clock is ahead of the database's, in milliseconds, with the heartbeat's way in it. NULL from a worker of before.
ALTER TABLE workers ADD COLUMN clock_ahead_ms bigint;
