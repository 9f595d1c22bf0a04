//! [Files of records](millrace_table) over HTTP: what arrives as the body of a request, and departs as that of an answer.

pub mod arrival;
pub mod departure;
