//! common.
