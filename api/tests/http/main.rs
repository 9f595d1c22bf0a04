//! The routes against a real database (`MRT_DATABASE_URL`), without a broker: folders, services, identity, synchronous calls.
//! Without the variable every test passes vacuously; `./tests/run` sets it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

mod document;
mod events;
mod execute;
mod folders;
mod identity;
mod jwt;
mod keys;
mod limits;
mod permissions;
mod server;
mod services;
mod tls;
mod v6;
mod v6_runs;
mod validation;
mod webhooks;
