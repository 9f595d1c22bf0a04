//! Proof that the oracle bites: the store's database is sabotaged on purpose, one fault at a time, and the lists must find it.
//!
//! | fault | what finds it |
//! | --- | --- |
//! | a chunk may have two results (no unique key) | the reaper withdraws a chunk that was delivered |
//! | a commit does not free the input budget | the counters after a commit |
//! | a commit does not charge the output budget | the sums after a commit |
//! | a pull does not free the output budget | the counters after a pull |
//! | a pull does not mark what it hands out | the next pull |
//! | a confirm is not recorded | the counters after a round of the reaper |
//! | a start is not counted | the start of a redelivered chunk |
//! | a withdrawn chunk leaves no tombstone | the reaper withdraws nothing |
//! | a withdrawn chunk keeps its id | the rows at rest |
//! | a lane is leased under the same number again | the next creation |
//! | too many failures are tolerated | the state after a settling |
//! | a cancelled batch keeps its results | the batch after a cancel |
//! | a reservation comes back without a cool-off | the batch at rest |
//! | a push does not count as activity | the reaper closes a batch too early |

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::operations::lists;
use super::tenant::Place;

/// Lists that may be needed to find a fault.
const LISTS: usize = 150;

/// A trigger that changes a row before it is written; `NEW` is the row.
fn before(what: &str, table: &str, change: &str) -> String {
    format!(
        "CREATE FUNCTION sabotage() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {change}; RETURN NEW; END $$;
         CREATE TRIGGER sabotage BEFORE {what} ON {table} FOR EACH ROW EXECUTE FUNCTION sabotage()"
    )
}

fn faults() -> Vec<(&'static str, String)> {
    let when = |condition: &str, change: &str| format!("IF {condition} THEN {change}; END IF");
    let counters =
        |condition: &str, change: &str| before("UPDATE", "batch_counters", &when(condition, change));
    let batches = |condition: &str, change: &str| before("UPDATE", "batches", &when(condition, change));
    vec![
        ("a chunk may have two results", "ALTER TABLE results DROP CONSTRAINT results_pkey".to_owned()),
        (
            "a commit does not free the input budget",
            counters(
                "NEW.slot > 1 AND NEW.input_bytes < OLD.input_bytes",
                "NEW.input_bytes := OLD.input_bytes",
            ),
        ),
        (
            "a commit does not charge the output budget",
            counters("NEW.output_bytes > OLD.output_bytes", "NEW.output_bytes := OLD.output_bytes"),
        ),
        (
            "a pull does not free the output budget",
            counters(
                "NEW.slot = 1 AND NEW.output_bytes < OLD.output_bytes",
                "NEW.output_bytes := OLD.output_bytes",
            ),
        ),
        ("a pull does not mark what it hands out", before("UPDATE", "results", "NEW.pulled_at := NULL")),
        ("a confirm is not recorded", before("UPDATE", "chunks", "NEW.queued_at := NULL")),
        ("a start is not counted", before("UPDATE", "chunks", "NEW.attempts := OLD.attempts")),
        (
            "a withdrawn chunk leaves no tombstone",
            before("INSERT", "results", &when("NEW.outcome = 'withdrawn'", "RETURN NULL")),
        ),
        (
            "a withdrawn chunk keeps its id",
            "CREATE FUNCTION sabotage() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
             CREATE TRIGGER sabotage BEFORE DELETE ON chunks FOR EACH ROW EXECUTE FUNCTION sabotage()"
                .to_owned(),
        ),
        (
            "a lane is leased under the same number again",
            before("UPDATE", "lanes", &when("NEW.epoch > OLD.epoch", "NEW.epoch := OLD.epoch")),
        ),
        ("too many failures are tolerated", batches("NEW.state = 'failed'", "NEW.state := 'completed'")),
        (
            "a cancelled batch keeps its results",
            batches("NEW.dropped_at IS NOT NULL", "NEW.dropped_at := NULL"),
        ),
        (
            "a reservation comes back without a cool-off",
            batches("NEW.finished_at IS NOT NULL", "NEW.released_at := coalesce(NEW.released_at, now())"),
        ),
        (
            "a push does not count as activity",
            counters(
                "NEW.slot = 0 AND NEW.input_bytes > OLD.input_bytes",
                "NEW.touched_at := OLD.touched_at",
            ),
        ),
    ]
}

#[expect(clippy::print_stdout, reason = "shown with --nocapture")]
fn told_of(fault: &str, told: &str) {
    println!("{fault}: {told}");
}

#[test]
fn the_oracle_finds_every_deliberate_fault() {
    let runtime = super::runtime();
    for (fault, sabotage) in faults() {
        let place = runtime.block_on(Place::new());
        runtime.block_on(place.sabotage(&sabotage));
        let mut runner = TestRunner::new(super::config(1));
        let found = (0..LISTS).find_map(|_| {
            let operations = lists().new_tree(&mut runner).unwrap().current();
            runtime.block_on(super::run_on(&place, &operations)).err()
        });
        let told = found.unwrap_or_else(|| panic!("{LISTS} lists did not find that {fault}"));
        told_of(fault, &told);
    }
}
