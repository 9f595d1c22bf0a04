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
//! | a batch is not stopped early | what follows from a commit |
//! | a batch that is stopped takes more chunks | the batch after it was stopped |
//! | tolerances do not change | the batch after a change |
//! | the tolerance of records does not change | the batch after a change |
//! | workers and priority do not change | the batch after a change |
//! | a pause is not noted | the batch after it was paused |
//! | a pause that is asked for again begins anew | for how long the batch has been paused |
//! | a timeout leaves the pause | the batch after its timeout |
//! | an early stop leaves the pause | the batch after it was stopped |
//! | a resumed batch was idle all the while | the reaper closes a batch too early |
//! | a lost chunk keeps its input budget | the counters after it ended |
//! | a lost chunk does not charge the output budget | the counters after it ended |
//! | nobody notes that a lane is empty | lost chunks never end |
//! | workers hold nothing, by their own word | a batch is suspected that should not be |
//! | failed work is stored without its input | the plan of a redrive |
//! | a redrive does not go on from where it was | its next portion |
//! | a portion is not leased | the next server takes it as well |
//! | a redrive is begun without its row | what the batches know of each other |
//! | a batch has ended longer ago than it did | a batch is removed too early |
//! | a batch that is removed leaves its counters | the removal |
//! | a redrive is of no batch | a batch is removed that others refer to |

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::operations::lists;
use super::tenant::Place;

/// Lists that may be needed to find a fault.
const LISTS: usize = 400;

/// A trigger that changes a row before it is written; `NEW` is the row.
fn before(what: &str, table: &str, change: &str) -> String {
    format!(
        "CREATE FUNCTION sabotage() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {change}; RETURN NEW; END $$;
         CREATE TRIGGER sabotage BEFORE {what} ON {table} FOR EACH ROW EXECUTE FUNCTION sabotage()"
    )
}

fn faults() -> Vec<(&'static str, String)> {
    let mut faults = vec![
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
    ];
    faults.extend(faults_of_terms());
    faults.extend(faults_of_pauses());
    faults.extend(faults_of_lost_chunks());
    faults.extend(faults_of_redrives());
    faults.extend(faults_of_retention());
    faults
}

fn when(condition: &str, change: &str) -> String {
    format!("IF {condition} THEN {change}; END IF")
}

fn counters(condition: &str, change: &str) -> String {
    before("UPDATE", "batch_counters", &when(condition, change))
}

fn batches(condition: &str, change: &str) -> String {
    before("UPDATE", "batches", &when(condition, change))
}

fn faults_of_terms() -> Vec<(&'static str, String)> {
    vec![
        ("a batch is not stopped early", before("INSERT OR UPDATE", "batches", "NEW.early_stop := false")),
        (
            "a batch that is stopped takes more chunks",
            batches("NEW.stopped_at IS NOT NULL AND NEW.state = 'closed'", "NEW.state := 'open'"),
        ),
        (
            "tolerances do not change",
            before("UPDATE", "batches", "NEW.acceptable_error_percentage := OLD.acceptable_error_percentage"),
        ),
        (
            "the tolerance of records does not change",
            before(
                "UPDATE",
                "batches",
                "NEW.acceptable_record_error_percentage := OLD.acceptable_record_error_percentage",
            ),
        ),
        (
            "workers and priority do not change",
            before("UPDATE", "batches", "NEW.max_workers := OLD.max_workers; NEW.priority := OLD.priority"),
        ),
    ]
}

fn faults_of_pauses() -> Vec<(&'static str, String)> {
    let keep = "NEW.paused_at := OLD.paused_at; NEW.paused_by := OLD.paused_by";
    vec![
        ("a pause is not noted", before("UPDATE", "batches", "NEW.paused_at := NULL; NEW.paused_by := NULL")),
        (
            "a pause that is asked for again begins anew",
            batches("NEW.paused_at = OLD.paused_at", "NEW.paused_at := clock_timestamp()"),
        ),
        (
            "a timeout leaves the pause",
            batches("NEW.state = 'closed_by_timeout' AND OLD.state <> NEW.state", keep),
        ),
        (
            "an early stop leaves the pause",
            batches("NEW.stopped_at IS NOT NULL AND OLD.stopped_at IS NULL", keep),
        ),
        (
            "a resumed batch was idle all the while",
            batches(
                "NEW.paused_at IS NULL AND OLD.paused_at IS NOT NULL",
                "NEW.updated_at := OLD.updated_at",
            ),
        ),
    ]
}

fn faults_of_lost_chunks() -> Vec<(&'static str, String)> {
    // Of the writers of slot 0 only the reaper adds failed chunks.
    let lost = "NEW.slot = 0 AND NEW.chunks_failed > OLD.chunks_failed";
    vec![
        ("a lost chunk keeps its input budget", counters(lost, "NEW.input_bytes := OLD.input_bytes")),
        (
            "a lost chunk does not charge the output budget",
            counters(lost, "NEW.output_bytes := OLD.output_bytes"),
        ),
        (
            "nobody notes that a lane is empty",
            batches("NEW.lane_empty_since IS NOT NULL", "NEW.lane_empty_since := NULL"),
        ),
        (
            "workers hold nothing, by their own word",
            before("INSERT OR UPDATE", "workers", "NEW.held := '{}'"),
        ),
    ]
}

fn faults_of_redrives() -> Vec<(&'static str, String)> {
    vec![
        ("failed work is stored without its input", before("INSERT", "failed_work", "NEW.input := NULL")),
        (
            "a redrive does not go on from where it was",
            before("UPDATE", "redrives", "NEW.next_no := OLD.next_no"),
        ),
        ("a portion is not leased", before("UPDATE", "redrives", "NEW.leased_until := OLD.leased_until")),
        ("a redrive is begun without its row", before("INSERT", "redrives", "RETURN NULL")),
    ]
}

fn faults_of_retention() -> Vec<(&'static str, String)> {
    vec![
        (
            "a batch has ended longer ago than it did",
            batches(
                "NEW.finished_at IS NOT NULL AND OLD.finished_at IS NULL",
                "NEW.finished_at := NEW.finished_at - interval '91 days'; NEW.day := '2000-01-01'",
            ),
        ),
        (
            "a batch that is removed leaves its counters",
            "ALTER TABLE batch_counters DROP CONSTRAINT batch_counters_batch_id_fkey;
             CREATE FUNCTION sabotage() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
             CREATE TRIGGER sabotage BEFORE DELETE ON batch_counters FOR EACH ROW EXECUTE FUNCTION sabotage()"
                .to_owned(),
        ),
        (
            "a redrive is of no batch",
            format!(
                "ALTER TABLE redrives DROP CONSTRAINT redrives_source_id_fkey; {}",
                before("INSERT", "redrives", "NEW.source_id := gen_random_uuid()")
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
