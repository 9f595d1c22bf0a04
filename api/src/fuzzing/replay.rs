//! The corpora as tests, and mutations of them from a fixed seed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "only shown with a failure"
)]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use proptest::test_runner::RngSeed;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{TARGETS, Target};

/// Mutations of each target in the suite; `PROPTEST_CASES` chooses another number, `FUZZ_SECONDS` a time instead.
const CASES: u32 = 20_000;
const MOST_BYTES: usize = 8_192;

/// Pieces that formats are made of.
const PIECES: [&[u8]; 40] = [
    b"{\"chunks\":[",
    b"\"id\":",
    b"\"data\":{",
    b"\"inputs\":[[",
    b"]]",
    b"},",
    b"null",
    b"[[\"x\"],[1]]",
    b"-0",
    b"1e999",
    b"\\ud800",
    b"\\u0000",
    b"\x00",
    b"\xff",
    b"\xf0\x9f\x98\x80",
    b"%2F",
    b"%5B1.2.3%5D",
    b"[1.4]",
    b"/",
    b"version/",
    b"Bearer ",
    b"mrt_",
    b"\r\n--b\r\n",
    b"Content-Disposition: form-data; name=\"a\"; filename=\"",
    b"\r\n\r\n",
    b"--",
    b"\xff\xff\xff\x7f",
    b"\x1f\x8b\x08",
    b"\"dependencies\":[",
    b"\"input\":{",
    b"\"node_type\":{",
    b"\"filters\":[",
    b"\"type\":\"object\"",
    b"\"fields\":[[",
    b"\"version\":\"7\"",
    b"\"json\":",
    b"[[[[[[[[[[[[[[[[",
    b"]]]]]]]]]]]]]]]]",
    b"&page=",
    b"P1DT2H",
];

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|file| (file.clone(), std::fs::read(file).unwrap())).collect()
}

/// Runs a case; one that fails is printed, so that it can become a file of the corpus.
fn run(target: Target, case: &[u8], from: &str) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(case))) {
        println!("the case, from {from}: b\"{}\"", case.escape_ascii());
        resume_unwind(panic);
    }
}

fn mutate(random: &mut StdRng, seeds: &[(PathBuf, Vec<u8>)]) -> Vec<u8> {
    let pick = |random: &mut StdRng| seeds[random.random_range(0..seeds.len())].1.clone();
    let mut case = if random.random_ratio(1, 20) { Vec::new() } else { pick(random) };
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..=case.len());
        let end = (at + random.random_range(0..16)).min(case.len());
        match random.random_range(0..8) {
            0 if at < case.len() => case[at] ^= 1 << random.random_range(0..8),
            1 if at < case.len() => case[at] = random.random(),
            2 => drop(case.drain(at..end)),
            3 => drop(case.splice(at..at, case[at..end].to_vec())),
            4 | 5 => {
                drop(case.splice(at..end.min(at + 2), PIECES[random.random_range(0..PIECES.len())].to_vec()))
            }
            6 => {
                let other = pick(random);
                let from = random.random_range(0..=other.len());
                case.truncate(at);
                case.extend_from_slice(&other[from..]);
            }
            _ if at + 4 <= case.len() => {
                let length: i32 = [0, 1, -1, i32::MAX, i32::MIN, 5, 255][random.random_range(0..7)];
                case[at..at + 4].copy_from_slice(&length.to_le_bytes());
            }
            _ => {}
        }
    }
    case.truncate(MOST_BYTES);
    case
}

fn replay(name: &str) {
    let (_, target) = TARGETS.into_iter().find(|(target, _)| *target == name).unwrap();
    let seeds = corpus(name);
    assert!(!seeds.is_empty(), "no corpus for {name}");
    for (file, case) in &seeds {
        run(target, case, &file.display().to_string());
    }
    let config = crate::properties::config(CASES);
    let RngSeed::Fixed(seed) = config.rng_seed else { panic!("a seed") };
    let mut random = StdRng::seed_from_u64(seed);
    let time =
        std::env::var("FUZZ_SECONDS").ok().map(|seconds| Duration::from_secs(seconds.parse().unwrap()));
    let began = Instant::now();
    let mut cases = 0_u64;
    while time.map_or(cases < config.cases.into(), |time| began.elapsed() < time) {
        run(target, &mutate(&mut random, &seeds), &format!("seed {seed}, case {cases}"));
        cases += 1;
    }
    println!("{name}: {} files, {cases} mutations", seeds.len());
}

#[test]
fn push_json() {
    replay("push_json");
}

#[test]
fn push_bson() {
    replay("push_bson");
}

#[test]
fn encodings() {
    replay("encodings");
}

#[test]
fn locator() {
    replay("locator");
}

#[test]
fn credential() {
    replay("credential");
}

#[test]
fn form() {
    replay("form");
}

#[test]
fn cursor() {
    replay("cursor");
}

#[test]
fn v6_definition() {
    replay("v6_definition");
}

#[test]
fn v6_document() {
    replay("v6_document");
}

#[test]
fn v6_filter() {
    replay("v6_filter");
}

#[test]
fn v6_rows() {
    replay("v6_rows");
}

#[test]
fn v6_query() {
    replay("v6_query");
}

/// A target without a test, a corpus or a program is easily forgotten.
#[test]
fn every_target_has_a_corpus_and_a_program() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let tests = include_str!("replay.rs");
    for (name, _) in TARGETS {
        assert!(!corpus(name).is_empty(), "{name} has no corpus");
        assert!(folder.join(format!("fuzz_targets/{name}.rs")).exists(), "{name} has no program");
        assert!(manifest.contains(&format!("name = \"{name}\"\n")), "{name} is not in the manifest");
        assert!(tests.contains(&format!("replay(\"{name}\")")), "{name} has no test");
    }
}
