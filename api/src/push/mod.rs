//! The way of a push (design section 2, steps 1 to 3): decode ([`millrace_decode`]) → admit → publish → mark as queued.

mod admission;
mod group;
mod pace;
mod way;

pub use way::{PushError, Pushes, Target};
