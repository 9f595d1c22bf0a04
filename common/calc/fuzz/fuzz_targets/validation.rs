//! `millrace_calc_fuzz::validation` for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millrace_calc_fuzz::validation(data));
