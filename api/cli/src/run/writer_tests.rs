//! The writer: whatever order results come in, wherever the process dies, the output is the same.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use serde_json::Map;

use super::super::reader::Fingerprint;
use super::*;

fn plan(folder: &Path, unordered: bool) -> Plan {
    Plan {
        tenant: "acme".to_owned(),
        service: "demo/double".to_owned(),
        input: Fingerprint { bytes: 1, hash: "h".to_owned() },
        chunk_records: 2,
        key: vec!["id".to_owned()],
        param: Map::new(),
        output_names: Vec::new(),
        delimiter: b',',
        unordered,
        errors: Some(folder.join("errors.csv")),
        input_format: "csv".to_owned(),
        output_format: "csv".to_owned(),
    }
}

fn open(folder: &Path, resume: bool) -> Writer {
    let target = Target::File(folder.join("out.csv"));
    let prepared = prepare(&target, plan(folder, false), true, resume).unwrap();
    prepared.start((!resume).then_some("b1")).unwrap()
}

/// Chunk 3 failed; the second record of chunk 1 failed.
fn result_text(chunk: u64) -> String {
    let (first, second) = (2 * chunk, 2 * chunk + 1);
    match chunk {
        3 => format!(
            r#"{{"id":"{chunk:08}","outputs":[],"errors":[{{"message":"bad"}}],"status":"failed","size":2}}"#
        ),
        1 => format!(
            r#"{{"id":"{chunk:08}","outputs":[["id","x"],[{first},"a"],[{second},null]],"errors":[null,[{{"message":"worse"}}]]}}"#
        ),
        _ => format!(r#"{{"id":"{chunk:08}","outputs":[["id","x"],[{first},"a"],[{second},"b"]]}}"#),
    }
}

fn accept(writer: &mut Writer, chunks: &[u64]) {
    let texts: Vec<String> = chunks.iter().map(|chunk| result_text(*chunk)).collect();
    let results: Vec<ChunkResult<'_>> =
        texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    writer.accept(&results).unwrap();
}

fn expected(chunks: u64) -> String {
    let mut text = "id,x\n".to_owned();
    for chunk in (0..chunks).filter(|chunk| *chunk != 3) {
        let second = if chunk == 1 { "" } else { "b" };
        text.push_str(&format!("{},a\n{},{second}\n", 2 * chunk, 2 * chunk + 1));
    }
    text
}

proptest! {
    #![proptest_config(crate::properties::config(64))]

    #[test]
    fn the_output_does_not_depend_on_arrival_or_crashes(
        arrivals in Just((0_u64..30).collect::<Vec<_>>()).prop_shuffle(),
        pull in 1_usize..8,
        crashes in proptest::collection::vec((0_usize..40, 0_usize..200, 0_usize..60, any::<bool>()), 0..4),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let mut writer = open(folder.path(), false);
        let mut crashes = crashes.into_iter();
        let mut crash = crashes.next();
        loop {
            let missing: Vec<u64> =
                arrivals.iter().copied().filter(|chunk| !writer.done().contains(chunk)).collect();
            let mut crashed = false;
            for (number, chunks) in missing.chunks(pull).enumerate() {
                accept(&mut writer, chunks);
                if let Some((at, torn, lost, power)) = crash
                    && at == number
                {
                    // The process dies: the end of the journal may be missing, and after a power cut that of the output.
                    drop(writer);
                    let journal = std::fs::read(path("out.csv.millrace")).unwrap();
                    let plan_end = journal.iter().position(|byte| *byte == b'\n').unwrap() + 1;
                    std::fs::write(path("out.csv.millrace"), &journal[..journal.len().saturating_sub(torn).max(plan_end)]).unwrap();
                    if power {
                        let output = std::fs::read(path("out.csv")).unwrap();
                        std::fs::write(path("out.csv"), &output[..output.len().saturating_sub(lost)]).unwrap();
                    }
                    writer = open(folder.path(), true);
                    crash = crashes.next();
                    crashed = true;
                    break;
                }
            }
            if !crashed {
                break;
            }
        }
        let totals = writer.totals().clone();
        writer.finish().unwrap();
        prop_assert_eq!(std::fs::read_to_string(path("out.csv")).unwrap(), expected(30));
        prop_assert_eq!(totals, Totals { chunks: 30, records: 60, chunks_failed: 1, records_failed: 3, records_warned: 0 });
        prop_assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
        let mut failed: Vec<String> =
            std::fs::read_to_string(path("errors.csv")).unwrap().lines().map(str::to_owned).collect();
        failed.sort();
        prop_assert_eq!(failed, ["4,00000001,3,worse", "7,00000003,,bad", "8,00000003,,bad", "record,chunk,id,error"]);
    }
}

#[test]
fn a_result_that_comes_again_is_written_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = open(folder.path(), false);
    accept(&mut writer, &[1, 0, 1]);
    accept(&mut writer, &[0, 2]);
    assert_eq!(writer.totals().chunks, 3);
    writer.finish().unwrap();
    assert_eq!(std::fs::read_to_string(folder.path().join("out.csv")).unwrap(), expected(3));
}

#[test]
fn good_results_that_come_with_a_bad_one_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = open(folder.path(), false);
    let texts = [result_text(0), r#"{"id":"00000001","outputs":[["id","other"],[1,2]]}"#.to_owned()];
    let results: Vec<ChunkResult<'_>> =
        texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    let error = writer.accept(&results).unwrap_err().to_string();
    assert!(error.contains("id, other") && error.contains("id, x"), "{error}");
    drop(writer);
    assert_eq!(open(folder.path(), true).done().iter().copied().collect::<Vec<_>>(), [0]);
}

#[test]
fn rows_that_wait_are_bounded_by_the_disk_and_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = open(folder.path(), false);
    let spill = folder.path().join("out.csv.millrace.spill");
    accept(&mut writer, &[2, 4]);
    assert!(std::fs::metadata(&spill).unwrap().len() > 0);
    accept(&mut writer, &[3, 1, 0]);
    assert_eq!(std::fs::metadata(&spill).unwrap().len(), 0, "nothing waits any more");
    writer.finish().unwrap();
    assert_eq!(std::fs::read_to_string(folder.path().join("out.csv")).unwrap(), expected(5));
}
