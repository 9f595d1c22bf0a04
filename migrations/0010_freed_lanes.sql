-- When a lane was last given back. What a dead connection held comes back to its queue after that, and is purged.
ALTER TABLE lanes ADD COLUMN freed_at timestamptz;
CREATE INDEX lanes_freed ON lanes (freed_at) WHERE batch_id IS NULL;
