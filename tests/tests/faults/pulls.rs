//! Results on their way to the caller: answers that are lost, many callers at once, days that expire.

use std::collections::BTreeSet;

use millrace_tests::proxy::{Direction, Proxy};
use millrace_tests::{Answer, Client, Fleet, FleetOptions, PATIENCE, SalesRun, reconcile, wait_until};
use serde_json::json;

async fn call(client: &Client, batch: &str, rest: &str) -> Answer {
    client.get(&format!("/{{tenant}}/api/v4/batch/{batch}{rest}")).await.unwrap()
}

fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code()), (status, Some(code)), "{}", answer.describe());
}

fn ids(answer: &Answer) -> Vec<String> {
    answer.list("/data").unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

/// Pushes so many chunks and waits until all of them can be pulled.
async fn finished(fleet: &Fleet, chunks: usize) -> SalesRun {
    let run = SalesRun::open(fleet).await.unwrap();
    run.push_until_taken(0..chunks).await.unwrap();
    run.until_completed(chunks).await.unwrap();
    run
}

#[tokio::test(flavor = "multi_thread")]
async fn f36_a_lost_answer_to_a_pull_loses_nothing() {
    const CHUNKS: usize = 40;
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let run = finished(&fleet, CHUNKS).await;
    let (client, batch) = (run.client(), run.batch());
    let api = fleet.url().trim_start_matches("http://").parse().unwrap();
    let proxy = Proxy::start(api).await.unwrap();
    let far = client.at(&format!("http://{}", proxy.address()));

    // The destructive pull: its answer breaks off, its chunks are pulled, and the grace time brings them back.
    proxy.cut_after(Direction::ToClient, 300);
    assert!(far.pull(batch, 10).await.is_err());
    wait_until("the pull is carried out", PATIENCE, || async {
        Ok((client.status(batch).await?.integer("/chunks_available")? == 30).then_some(()))
    })
    .await
    .unwrap();
    let used = client.status(batch).await.unwrap().integer("/output_buffer_used_bytes").unwrap();
    let mut got = BTreeSet::new();
    let mut after = String::new();
    loop {
        let page = call(client, batch, &format!("/chunkresults?redeliver=true&max=4&after={after}")).await;
        let page = page.success().unwrap();
        for id in ids(&page) {
            assert!(got.insert(id), "handed out twice in one pass");
        }
        page.text("/next_cursor").unwrap().clone_into(&mut after);
        if page.body["has_more"] == false {
            break;
        }
    }
    assert_eq!(got.len(), 10);
    let one = got.first().unwrap().clone();
    let again = call(client, batch, &format!("/chunkresults/{one}")).await.success().unwrap();
    assert_eq!(ids(&again), [one]);
    let status = client.status(batch).await.unwrap();
    assert_eq!(status.integer("/output_buffer_used_bytes").unwrap(), used, "budgets change once");
    let fresh = (0..CHUNKS).map(|index| format!("c{index}")).find(|id| !got.contains(id)).unwrap();
    let claimed = call(client, batch, &format!("/chunkresults/{fresh}")).await.success().unwrap();
    assert_eq!(claimed.integer("/chunks_available").unwrap(), 29);
    got.insert(fresh);
    refused(&call(client, batch, "/chunkresults/nope").await, 404, "CHUNK_NOT_FOUND");

    // The cursor: its answer breaks off, and nothing has happened.
    proxy.cut_after(Direction::ToClient, 300);
    assert!(far.get(&format!("/{{tenant}}/api/v4/batch/{batch}/results?max=10")).await.is_err());
    let mut cursor = String::new();
    while got.len() < CHUNKS {
        let page = call(client, batch, &format!("/results?max=7&after={cursor}")).await.success().unwrap();
        for id in ids(&page) {
            assert!(got.insert(id), "read twice");
        }
        page.text("/next_cursor").unwrap().clone_into(&mut cursor);
    }
    for freed in [29, 0] {
        let path = format!("/{{tenant}}/api/v4/batch/{batch}/results/ack");
        let acked = client.post(&path, &json!({"cursor": cursor})).await.unwrap().success().unwrap();
        assert_eq!(
            (acked.integer("/acknowledged").unwrap(), acked.integer("/chunks_available").unwrap()),
            (freed, 0)
        );
    }
    client.patch(batch, "closed").await.unwrap().success().unwrap();
    client.wait_for_status(batch, "completed", PATIENCE).await.unwrap();
    let report = call(client, batch, "/reconciliation").await.success().unwrap().body;
    assert_eq!(
        (&report["balanced"], &report["chunks"]["pulled"]),
        (&json!(true), &json!(CHUNKS)),
        "{report}"
    );
    reconcile(&fleet, batch).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f37_many_pulls_at_once_are_disjoint() {
    const CHUNKS: usize = 300;
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let run = finished(&fleet, CHUNKS).await;
    let (client, batch) = (run.client(), run.batch());
    let pulls: Vec<_> = (0..30)
        .map(|index| {
            let (client, batch) = (client.clone(), batch.to_owned());
            tokio::spawn(async move {
                let rest = match index % 3 {
                    // A chunk by its id is pulled as well, unless it was before.
                    0 => format!("/chunkresults/c{}", index * 7),
                    1 => "/chunkresults?max=20&max_bytes=3000".to_owned(),
                    _ => "/chunkresults?max=20".to_owned(),
                };
                (index, call(&client, &batch, &rest).await.success().unwrap())
            })
        })
        .collect();
    let (mut pulled, mut by_id) = (BTreeSet::new(), BTreeSet::new());
    for pull in pulls {
        let (index, answer) = pull.await.unwrap();
        for id in ids(&answer) {
            if index % 3 == 0 {
                by_id.insert(id);
            } else {
                assert!(pulled.insert(id), "pulled twice");
            }
        }
    }
    let left = CHUNKS - pulled.union(&by_id).count();
    for one in client.pull_all(batch, left, PATIENCE).await.unwrap() {
        let id = one["id"].as_str().unwrap().to_owned();
        assert!(!by_id.contains(&id) && pulled.insert(id), "pulled twice");
    }
    pulled.extend(by_id);
    assert_eq!(pulled.len(), CHUNKS);
    client.patch(batch, "closed").await.unwrap().success().unwrap();
    client.wait_for_status(batch, "completed", PATIENCE).await.unwrap();
    let report = call(client, batch, "/reconciliation").await.success().unwrap().body;
    assert_eq!(
        (&report["balanced"], &report["chunks"]["pulled"]),
        (&json!(true), &json!(CHUNKS)),
        "{report}"
    );
    reconcile(&fleet, batch).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f38_a_day_that_goes_while_it_is_pulled_ends_the_pull_cleanly() {
    const CHUNKS: usize = 200;
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let run = finished(&fleet, CHUNKS).await;
    let (client, batch) = (run.client(), run.batch());
    client.patch(batch, "closed").await.unwrap().success().unwrap();
    client.wait_for_status(batch, "completed", PATIENCE).await.unwrap();
    let first = client.pull(batch, 10).await.unwrap().success().unwrap();
    assert_eq!(ids(&first).len(), 10);
    let pulls: Vec<_> = (0..8)
        .map(|_| {
            let (client, batch) = (client.clone(), batch.to_owned());
            tokio::spawn(async move { client.pull(&batch, 10).await.unwrap() })
        })
        .collect();
    // As the reaper does it when the results have expired; whatever it waits for, or keeps waiting, comes to its end.
    let database = fleet.database().connect().await.unwrap();
    let day = database.query_one("SELECT to_char(day, 'YYYYMMDD') FROM batches", &[]).await.unwrap();
    let day: String = day.get(0);
    database
        .batch_execute(&format!(
            "BEGIN; UPDATE batches SET dropped_at = now(); DROP TABLE chunks_p{day}; DROP TABLE results_p{day};
             DROP TABLE failed_work_p{day}; COMMIT"
        ))
        .await
        .unwrap();
    let mut seen: BTreeSet<String> = ids(&first).into_iter().collect();
    for pull in pulls {
        let answer = pull.await.unwrap();
        assert!(matches!(answer.status, 200 | 503), "{}", answer.describe());
        if answer.status == 200 {
            for id in ids(&answer) {
                assert!(seen.insert(id), "pulled twice");
            }
        }
    }
    for rest in ["/chunkresults", "/chunkresults?redeliver=true", "/results"] {
        assert!(ids(&call(client, batch, rest).await.success().unwrap()).is_empty(), "{rest}");
    }
    for rest in ["/failures", "/reconciliation"] {
        refused(&call(client, batch, rest).await, 404, "RESULTS_EXPIRED");
    }
    let path = format!("/{{tenant}}/api/v4/batch/{batch}/redrive");
    refused(&client.post(&path, &json!({})).await.unwrap(), 404, "RESULTS_EXPIRED");
    let info = client.info(batch).await.unwrap().success().unwrap();
    assert_eq!(info.integer("/data/summary/chunks_completed").unwrap(), 200);
}
