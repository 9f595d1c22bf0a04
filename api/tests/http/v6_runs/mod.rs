//! Batches of recipes, recipes and jobs over HTTP (scale-v6 sections 2 and 5.5, 5.6).

mod batches;
mod chains;
mod refusals;
mod rows;
mod world;
