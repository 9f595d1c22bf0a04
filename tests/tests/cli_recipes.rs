//! The `millrace` command for recipes against a running fleet, and the README's chapter about them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::process::{Output, Stdio};

use millrace_tests::{Fleet, FleetOptions, PATIENCE, repository, wait_until};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

fn write(fleet: &Fleet, name: &str, content: impl AsRef<str>) {
    std::fs::write(fleet.folder().join(name), content.as_ref()).unwrap();
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Standard output and standard error of a command that must succeed.
async fn both(fleet: &Fleet, line: &str) -> (String, String) {
    let output = fleet.run(&line.split_whitespace().collect::<Vec<_>>()).await.unwrap();
    assert!(output.status.success(), "{line}: {}", said(&output));
    (String::from_utf8(output.stdout.clone()).unwrap(), said(&output))
}

async fn succeed(fleet: &Fleet, line: &str) -> String {
    both(fleet, line).await.0
}

async fn document(fleet: &Fleet, line: &str) -> Value {
    let text = succeed(fleet, &format!("{line} --output-format json")).await;
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: {error}: {text}"))
}

async fn fail(fleet: &Fleet, line: &str, code: i32) -> String {
    let output = fleet.run(&line.split_whitespace().collect::<Vec<_>>()).await.unwrap();
    assert_eq!(output.status.code(), Some(code), "{line}: {}", said(&output));
    said(&output)
}

/// A job type `y = formula` over the number `x`.
fn job_type(name: &str, formula: &str) -> Value {
    json!({
        "manifest": {"seedVersion": "1.0.0", "job": {
            "name": name, "jobVersion": "1.0.0", "title": name, "description": "For tests", "timeout": 60,
            "interface": {
                "inputs": {"json": [{"name": "x", "type": "number"}]}, "outputs": {"json": [{"name": "y", "type": "number"}]},
            },
        }},
        "model": {"formulas": {"y": formula}},
    })
}

fn node(job_type: &str, revision: i64, parents: &[&str], input: &Value) -> Value {
    let parents: Vec<Value> = parents.iter().map(|name| json!({"name": name})).collect();
    json!({
        "dependencies": parents, "input": {"x": input},
        "node_type": {
            "node_type": "job", "job_type_name": job_type, "job_type_version": "1.0.0", "job_type_revision": revision,
        },
    })
}

/// `inverse` of `x`, then `more`.
fn chain(revision: i64) -> Value {
    json!({
        "input": {"json": [{"name": "x", "type": "number"}]},
        "nodes": {
            "inverse": node("invert", 1, &[], &json!({"type": "recipe", "input": "x"})),
            "more": node("add", revision, &["inverse"], &json!({"type": "dependency", "node": "inverse", "output": "y"})),
        },
    })
}

/// Job types, a recipe type `chain`, and a dataset with these values; returns the dataset.
async fn setup(fleet: &Fleet, values: &[i64]) -> i64 {
    for (name, formula) in [("invert", "1 / x"), ("add", "x + 10")] {
        write(fleet, "job.json", job_type(name, formula).to_string());
        let made = succeed(fleet, "job-type create job.json").await;
        assert!(
            made.contains(&format!("{name} 1.0.0")) && made.contains(&format!("y = {formula}")),
            "{made}"
        );
    }
    write(fleet, "chain.json", chain(1).to_string());
    assert_eq!(succeed(fleet, "recipe type create chain.json --title Chain --quiet").await, "chain\n");
    let rows: Vec<String> = values.iter().map(|value| format!("m,{value}\n")).collect();
    write(fleet, "members.csv", format!("other,x\n{}", rows.concat()));
    let dataset = succeed(fleet, "dataset create --parameter x:number --title Numbers --quiet").await;
    let dataset: i64 = dataset.trim().parse().unwrap();
    let added = succeed(fleet, &format!("dataset upload {dataset} members.csv")).await;
    assert!(added.starts_with(&format!("{} members are added", values.len())), "{added}");
    dataset
}

/// The `sh` blocks of a chapter, and its last block of output.
fn blocks(chapter: &str) -> (String, String) {
    let mut parts = chapter.split("```");
    let (mut shell, mut text) = (String::new(), String::new());
    parts.next();
    while let (Some(block), _) = (parts.next(), parts.next()) {
        match block.split_once('\n') {
            Some(("sh", lines)) => shell.push_str(lines),
            Some(("text", lines)) => text = lines.to_owned(),
            other => panic!("a block of another kind: {other:?}"),
        }
    }
    (shell, text)
}

/// Words of a text without times: those of a table, whatever its columns' widths.
fn words(text: &str) -> Vec<&str> {
    let mut words: Vec<&str> = Vec::new();
    for word in text.split_whitespace() {
        match word {
            "µs" | "ms" | "s" => {
                words.pop();
            }
            word if word.contains(':') || word.starts_with("20") => {}
            word => words.push(word),
        }
    }
    words
}

#[tokio::test]
async fn the_chapter_of_the_readme_runs_as_written() {
    let fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let chapter = readme.split("\n## ").find(|chapter| chapter.starts_with("Recipes\n")).unwrap();
    let (shell, text) = blocks(chapter);
    let set_up = fleet.command().unwrap();
    let programs = Path::new(set_up.get_program()).parent().unwrap().to_owned();
    let mut command = tokio::process::Command::new("bash");
    command.args(["-euo", "pipefail", "-c", &shell]).current_dir(repository()).kill_on_drop(true);
    for (name, value) in set_up.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{path}", programs.display())).env("TMPDIR", fleet.folder());
    let output = command.stdin(Stdio::null()).output().await.unwrap();
    let shown = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success(), "{shown}{}", said(&output));
    let heading = text.lines().next().unwrap();
    let compared = &shown[shown.rfind(heading).unwrap_or_else(|| panic!("{shown}"))..];
    assert_eq!(words(compared), words(&text), "{compared}");
    assert!(
        said(&output).contains("completed: 10 of 10 recipes completed, 17 of 17 jobs done"),
        "{}",
        said(&output)
    );

    // The second batch took the first node over, and priced anew those that passed the condition.
    let prices = document(&fleet, "job list --type price --max 100").await;
    assert_eq!(prices["count"], 14);
    assert_eq!(document(&fleet, "job list --type affordability").await["count"], 10);
    let recipes = document(&fleet, "recipe list --batch 2 --order id --max 1").await;
    let first = succeed(&fleet, &format!("recipe show {}", recipes["results"][0]["id"])).await;
    for part in ["amount 12000", "burden 0.0785", "accepted", "instalment 223.17", "rate 0.044"] {
        assert!(first.contains(part), "{part} in {first}");
    }
}

#[tokio::test]
async fn batches_are_created_followed_compared_and_done_again() {
    let fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    let dataset = setup(&fleet, &[1, 2, 4, 5]).await;
    let valid = succeed(&fleet, &format!("recipe batch validate chain --dataset {dataset}")).await;
    assert!(valid.contains("the batch is valid") && valid.contains("about 4"), "{valid}");
    assert_eq!(document(&fleet, "recipe batch list").await["count"], 0, "nothing was created");

    let line = format!("recipe batch create chain --dataset {dataset} --title one --priority 7 --watch");
    let (created, progress) = both(&fleet, &line).await;
    assert!(created.contains("is created, with about 4 recipes"), "{created}");
    let last = progress.lines().last().unwrap();
    assert!(last.starts_with("completed: 4 of 4 recipes completed, 8 of 8 jobs done"), "{progress}");
    assert!(last.ends_with("; inverse 4/4, more 4/4"), "{progress}");
    let listed = document(&fleet, "recipe batch list --type chain").await;
    let first = listed["results"][0]["id"].as_i64().unwrap();
    let shown = succeed(&fleet, &format!("recipe batch show {first}")).await;
    for part in ["one", "chain, revision 1", "completed", "4 of 4", "priority  7"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let changed = format!("recipe batch edit {first} --priority 3 --title uno");
    assert!(succeed(&fleet, &changed).await.contains("(uno)"));
    let edited = document(&fleet, &format!("recipe batch show {first}")).await;
    assert_eq!((&edited["configuration"], &edited["title"]), (&json!({"priority": 3}), &json!("uno")));
    fail(&fleet, &format!("recipe batch edit {first}"), 2).await;

    // A new revision of the second node.
    write(&fleet, "add.json", json!({"model": {"formulas": {"y": "x + 20"}}}).to_string());
    let updated = succeed(&fleet, "job-type update add 1.0.0 add.json").await;
    assert!(updated.contains("revision  2") && updated.contains("y = x + 20"), "{updated}");
    assert!(succeed(&fleet, "recipe type show chain").await.contains("add 1.0.0, revision 2"));
    assert_eq!(document(&fleet, "recipe type revisions chain").await["count"], 2);
    let old = succeed(&fleet, "recipe type show chain --revision 1 --definition").await;
    assert_eq!(
        serde_json::from_str::<Value>(&old).unwrap()["nodes"]["more"]["node_type"]["job_type_revision"],
        1
    );
    let valid = succeed(&fleet, &format!("recipe batch validate chain --previous {first}")).await;
    assert!(valid.contains("UNCHANGED  no") && valid.contains("JOB_TYPE_REVISION_CHANGE"), "{valid}");
    let create = |previous: i64| format!("recipe batch create chain --previous {previous} --quiet");
    let second: i64 = succeed(&fleet, &create(first)).await.trim().parse().unwrap();
    let watched = succeed(&fleet, &format!("recipe batch watch {second} --output-format json")).await;
    let last: Value = serde_json::from_str(watched.lines().last().unwrap()).unwrap();
    assert_eq!((&last["recipes_completed"], &last["jobs_completed"]), (&json!(4), &json!(8)), "{last}");
    // Any batch of the chain stands for it.
    let third = format!("{} --force inverse", create(second));
    let third: i64 = succeed(&fleet, &third).await.trim().parse().unwrap();
    succeed(&fleet, &format!("recipe batch watch {third}")).await;
    let compared = document(&fleet, &format!("recipe batch compare {third}")).await;
    assert_eq!(compared["metrics"]["jobs_completed"], json!([8, 8, 8]));
    let compared = succeed(&fleet, &format!("recipe batch compare {second}")).await;
    assert!(compared.lines().all(|line| line.chars().count() <= 80), "{compared}");
    assert_eq!(compared.matches("4     4          0       0").count(), 6, "{compared}");
    assert_eq!(document(&fleet, "job list --type invert").await["count"], 8);
    assert_eq!(
        document(&fleet, &format!("recipe batch list --root {first} --superseded false")).await["count"],
        1
    );

    for line in [
        "recipe batch show 999",
        "recipe batch watch 999",
        "recipe batch cancel 999",
        "recipe show 999",
        "job show 999",
    ] {
        let text = fail(&fleet, line, 1).await;
        assert!(
            text.contains("there is no") && text.contains("999") && text.contains(" list`"),
            "{line}: {text}"
        );
    }
    let text = fail(&fleet, "recipe batch create nope --dataset 1", 1).await;
    assert!(text.contains("there is no recipe type nope"), "{text}");
    let text = fail(&fleet, "recipe batch create chain --dataset 999", 1).await;
    assert!(text.contains("DATASET_NOT_FOUND") && text.contains("nothing was changed"), "{text}");
    fail(&fleet, "recipe batch create chain", 2).await;
}

#[tokio::test]
async fn a_batch_is_paused_and_resumed() {
    let mut fleet = Fleet::start(FleetOptions::workers(0)).await.unwrap();
    let dataset = setup(&fleet, &[1, 2, 4]).await;
    let create = format!("recipe batch create chain --dataset {dataset} --quiet");
    let batch: i64 = succeed(&fleet, &create).await.trim().parse().unwrap();
    let (_, told) = both(&fleet, &format!("recipe batch pause {batch}")).await;
    assert!(told.contains("is paused"), "{told}");
    for line in ["recipe batch list".to_owned(), format!("recipe batch show {batch}")] {
        let shown = succeed(&fleet, &line).await;
        assert!(shown.contains("paused"), "{line}: {shown}");
    }
    fleet.start_worker().await.unwrap();
    let (_, told) = both(&fleet, &format!("recipe batch resume {batch}")).await;
    assert!(told.contains("goes on"), "{told}");
    succeed(&fleet, &format!("recipe batch watch {batch}")).await;
    let shown = succeed(&fleet, &format!("recipe batch show {batch}")).await;
    assert!(shown.contains("completed") && !shown.contains("paused"), "{shown}");
    fail(&fleet, "recipe batch pause 999", 1).await;
}

#[tokio::test]
async fn failed_jobs_are_found_and_run_again() {
    let fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    let dataset = setup(&fleet, &[0, 1, 2]).await;
    let line = format!("recipe batch create chain --dataset {dataset} --watch");
    let text = fail(&fleet, &line, 1).await;
    assert!(text.contains("1 of 3 recipes are not completed (1 failed, 1 blocked or canceled)"), "{text}");
    assert!(text.contains("stopped: 2 of 3 recipes completed"), "{text}");
    let batch = document(&fleet, "recipe batch list").await["results"][0]["id"].as_i64().unwrap();
    let listed = succeed(&fleet, &format!("job list --batch {batch} --status failed")).await;
    assert!(listed.lines().count() == 2 && listed.contains("output-error"), "{listed}");
    let failed = document(&fleet, &format!("job list --batch {batch} --error-category DATA")).await;
    let job = failed["results"][0]["id"].as_i64().unwrap();
    let shown = succeed(&fleet, &format!("job show {job}")).await;
    assert!(shown.contains("x 0") && shown.contains("#DIV/0!") && shown.contains("(DATA)"), "{shown}");

    // Requeued, it fails again; canceled and blocked ones stay what they are.
    succeed(&fleet, &format!("recipe batch requeue {batch}")).await;
    wait_until("the job failed twice", PATIENCE, async || {
        let executions = document(&fleet, &format!("job executions {job}")).await;
        let failed = |at: usize| executions["results"][at]["status"] == "FAILED";
        Ok((executions["count"] == 2 && failed(0) && failed(1)).then_some(()))
    })
    .await
    .unwrap();
    succeed(&fleet, &format!("recipe batch cancel {batch}")).await;
    let canceled = wait_until("the rest is canceled", PATIENCE, async || {
        let canceled = document(&fleet, &format!("job list --batch {batch} --status CANCELED")).await;
        Ok((canceled["count"].as_i64() > Some(0)).then_some(canceled))
    })
    .await
    .unwrap();
    assert!(canceled["count"].as_i64().unwrap() <= 2, "{canceled}");
    fail(&fleet, "job requeue", 2).await;

    // One by one, outside of batches.
    let alone: i64 = succeed(&fleet, "job create add 1.0.0 --set x:=4 --quiet").await.trim().parse().unwrap();
    let done = async |line: String, word: &'static str| {
        wait_until(word, PATIENCE, async || {
            let shown = succeed(&fleet, &line).await;
            Ok(shown.contains(word).then_some(shown))
        })
        .await
        .unwrap()
    };
    let shown = done(format!("job show {alone}"), "COMPLETED").await;
    assert!(shown.contains("y 14"), "{shown}");
    write(&fleet, "input.json", r#"{"json": {"x": 4}}"#);
    let recipe: i64 =
        succeed(&fleet, "recipe create chain --input input.json --quiet").await.trim().parse().unwrap();
    let shown = done(format!("recipe show {recipe}"), "completed").await;
    assert!(shown.contains("y 0.25") && shown.contains("y 10.25"), "{shown}");
    let next: i64 =
        succeed(&fleet, &format!("recipe reprocess {recipe} --force more")).await.trim().parse().unwrap();
    assert!(
        done(format!("recipe show {next}"), "completed").await.contains(&format!("in place of  {recipe}"))
    );
    assert!(succeed(&fleet, &format!("recipe show {recipe}")).await.contains("superseded"));
    fail(&fleet, &format!("recipe reprocess {recipe} --force more"), 1).await;
    assert!(fail(&fleet, "recipe create chain --set y=1", 1).await.contains("PARAM_REQUIRED"));
}

#[tokio::test]
async fn files_become_members_or_nothing() {
    let fleet = Fleet::start(FleetOptions::workers(0)).await.unwrap();
    write(&fleet, "dataset.json", r#"{"parameters": {"json": [{"name": "x", "type": "number"}]}}"#);
    let made = succeed(&fleet, "dataset create dataset.json --parameter note:string? --title Numbers").await;
    assert!(made.contains("x number, note string (optional)"), "{made}");
    let dataset =
        document(&fleet, "dataset list --keyword numbers").await["results"][0]["id"].as_i64().unwrap();
    let rows: String = (0..50_000).map(|row| format!("{row},n\n")).collect();
    write(&fleet, "rows.csv", format!("x,note\n{rows}"));
    let added = succeed(&fleet, &format!("dataset upload {dataset} rows.csv")).await;
    assert!(added.starts_with("50,000 members are added"), "{added}");
    assert!(succeed(&fleet, &format!("dataset show {dataset}")).await.contains("50,000"));
    let (members, more) = both(&fleet, &format!("dataset members {dataset} --max 2")).await;
    assert_eq!(members.lines().count(), 3, "{members}");
    assert!(members.contains("note") && more.contains("2 of 50,000"), "{members}{more}");

    // A wrong row at the beginning of a large file, and one at its end.
    for (name, content, place) in [
        ("early.csv", format!("x,note\nten,n\n{}", rows.repeat(20)), "line 2"),
        ("late.csv", format!("x,note\n{rows}ten,n\n"), "line 50002"),
    ] {
        write(&fleet, name, content);
        let text = fail(&fleet, &format!("dataset upload {dataset} {name}"), 1).await;
        assert!(text.contains(place) && text.contains("column \"x\""), "{name}: {text}");
    }
    assert_eq!(document(&fleet, &format!("dataset members {dataset} --max 1")).await["count"], 50_000);
    let uploads = succeed(&fleet, &format!("dataset uploads {dataset}")).await;
    assert_eq!((uploads.matches("failed").count(), uploads.matches("done").count()), (2, 1), "{uploads}");

    let mut command = tokio::process::Command::from(fleet.command().unwrap());
    command.args([
        "dataset",
        "upload",
        &dataset.to_string(),
        "-",
        "--format",
        "jsonl",
        "--output-format",
        "json",
    ]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"{\"x\": 1}\n{\"x\": 2.5, \"note\": \"a\"}\n").await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap()["members"], 2);

    write(&fleet, "data.json", r#"[{"json": {"x": 3}}, {"json": {"x": 4}}]"#);
    let would = succeed(&fleet, &format!("dataset add {dataset} data.json --dry-run")).await;
    assert_eq!(would, "2 members would be added\n");
    assert_eq!(succeed(&fleet, &format!("dataset add {dataset} data.json")).await, "2 members are added\n");
    write(&fleet, "data.json", r#"[{"json": {"x": 3}}, {"json": {"x": "four"}}]"#);
    assert!(fail(&fleet, &format!("dataset add {dataset} data.json"), 1).await.contains("data[1].x"));
    assert_eq!(document(&fleet, &format!("dataset members {dataset} --max 1")).await["count"], 50_004);

    write(&fleet, "rows.txt", "x\n1\n");
    assert!(fail(&fleet, &format!("dataset upload {dataset} rows.txt"), 2).await.contains("--format"));
    assert!(fail(&fleet, &format!("dataset upload {dataset} missing.csv"), 1).await.contains("missing.csv"));
    assert!(fail(&fleet, "dataset upload 999 rows.csv", 1).await.contains("there is no dataset 999"));
    fail(&fleet, "dataset create --parameter x:float", 2).await;
}

#[tokio::test]
async fn what_is_wrong_is_told_with_its_place_and_changes_nothing() {
    let fleet = Fleet::start(FleetOptions::workers(0)).await.unwrap();
    for (formula, place) in [("1 / z", "model.formulas.y"), ("1 +", "model.formulas.y")] {
        write(&fleet, "job.json", job_type("bad", formula).to_string());
        let text = fail(&fleet, "job-type create job.json", 1).await;
        assert!(text.contains("INVALID_MODEL") && text.contains(place), "{text}");
        let output = fleet.run(&["job-type", "validate", "job.json"]).await.unwrap();
        assert_eq!(output.status.code(), Some(1));
        let shown = String::from_utf8(output.stdout).unwrap();
        assert!(shown.contains(place) && shown.contains("the job type is not valid"), "{shown}");
    }
    assert_eq!(document(&fleet, "job-type list").await["count"], 0);
    write(&fleet, "job.json", job_type("add", "x + 1").to_string());
    assert!(succeed(&fleet, "job-type validate job.json").await.contains("is valid"));
    succeed(&fleet, "job-type create job.json").await;

    // A node that stands twice is seen by the server alone.
    let good = node("add", 1, &[], &json!({"type": "recipe", "input": "x"})).to_string();
    let twice = format!(
        r#"{{"input": {{"json": [{{"name": "x", "type": "number"}}]}}, "nodes": {{"a": {good}, "a": {good}}}}}"#
    );
    let missing = node("add", 1, &["nobody"], &json!({"type": "recipe", "input": "x"}));
    let missing =
        json!({"input": {"json": [{"name": "x", "type": "number"}]}, "nodes": {"a": missing}}).to_string();
    for (definition, name) in [(twice, "DUPLICATE_NODE"), (missing, "UNKNOWN_NODE")] {
        write(&fleet, "type.json", definition);
        for line in ["recipe type create type.json --title Bad", "recipe type validate type.json"] {
            let output = fleet.run(&line.split(' ').collect::<Vec<_>>()).await.unwrap();
            assert_eq!(output.status.code(), Some(1), "{line}");
            let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), said(&output));
            assert!(told.contains(&format!("error: {name} definition.nodes.")), "{line}: {told}");
        }
    }
    assert_eq!(document(&fleet, "recipe type list").await["count"], 0);

    write(&fleet, "type.json", "{\n  \"nodes\": {,}\n}");
    let text = fail(&fleet, "recipe type create type.json --title Bad", 1).await;
    assert!(text.contains("type.json: ") && text.contains("line 2 column"), "{text}");
    assert!(fail(&fleet, "recipe type create no.json --title Bad", 1).await.contains("no.json"));
    write(&fleet, "type.json", r#"{"nodes": {}}"#);
    assert!(fail(&fleet, "recipe type create type.json", 2).await.contains("--title"));
    succeed(&fleet, "recipe type create type.json --title Empty").await;
    assert!(fail(&fleet, "recipe type create type.json --title Empty", 1).await.contains("NAME_TAKEN"));
    write(&fleet, "type.json", json!({"input": {"json": [{"name": "x", "type": "number"}]}, "nodes": {"a": serde_json::from_str::<Value>(&good).unwrap()}}).to_string());
    let diff = succeed(&fleet, "recipe type diff empty type.json").await;
    assert!(diff.contains("NEW") && diff.contains("job"), "{diff}");
    let (updated, told) = both(&fleet, "recipe type update empty type.json").await;
    assert!(
        updated.contains("revision     2") && told.contains("warning: REPROCESS_WARNING"),
        "{updated}{told}"
    );
    let shown = succeed(&fleet, "recipe type update empty --active false").await;
    assert!(shown.contains("inactive"), "{shown}");
    assert!(fail(&fleet, "recipe type show none", 1).await.contains("there is no recipe type none"));
    assert!(succeed(&fleet, "job-type update add 1.0.0 --paused true").await.contains("paused"));
    assert_eq!(document(&fleet, "job-type revisions add 1.0.0").await["count"], 1);
    assert!(succeed(&fleet, "job-type show add --output-format json").await.contains("\"x + 1\""));
    fail(&fleet, "job-type update add 1.0.0", 2).await;
    assert!(fail(&fleet, "job-type draft no/such", 1).await.contains("there is no service no/such"));
}
