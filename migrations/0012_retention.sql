-- What retention removes, and what exact counts of lists are read from.

-- Ended batches, the oldest first.
CREATE INDEX batches_ended ON batches (finished_at) WHERE finished_at IS NOT NULL;

-- A batch of recipes, or a dataset, that is being removed: nobody sees it any more, what hangs on it goes bit by bit, and the row
-- goes last.
ALTER TABLE recipe_batches ADD COLUMN removed timestamptz;
ALTER TABLE datasets ADD COLUMN removed timestamptz;
CREATE INDEX recipe_batches_removed ON recipe_batches (tenant_id, id) WHERE removed IS NOT NULL;
CREATE INDEX datasets_removed ON datasets (id) WHERE removed IS NOT NULL;

-- Which may go; and what must not be searched for row by row when something goes that batches refer to.
CREATE INDEX recipe_batches_superseded ON recipe_batches (superseded) WHERE superseded IS NOT NULL;
CREATE INDEX recipe_batches_dataset ON recipe_batches (dataset_id) WHERE dataset_id IS NOT NULL;
CREATE INDEX recipe_batches_named_dataset ON recipe_batches ((definition ->> 'dataset')) WHERE dataset_id IS NULL;
CREATE INDEX recipe_batches_event ON recipe_batches (event_id);
CREATE INDEX job_requests_finished ON job_requests (finished) WHERE finished IS NOT NULL;

-- Recipes and jobs outside of batches. What batches have, their counters count.
CREATE INDEX recipes_outside_batches ON recipes (tenant_id, id) WHERE batch_id IS NULL;
CREATE INDEX jobs_outside_batches ON jobs (tenant_id, id) WHERE batch_id IS NULL;

-- Recipes that took the place of others, which they may share jobs with. A batch that has none counts its own rows and no others.
CREATE INDEX recipes_superseding ON recipes (batch_id) WHERE superseded_recipe_id IS NOT NULL;
