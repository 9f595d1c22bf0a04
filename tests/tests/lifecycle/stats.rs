use millrace_tests::{Answer, Fleet, FleetOptions, PATIENCE, SALES, Scrape, wait_until};
use reqwest::Method;
use serde_json::json;

use super::{chunk, chunks};

const TOKEN: &str = "operators";

async fn as_operator(fleet: &Fleet, path: &str) -> Answer {
    let request = fleet.client().request(Method::GET, path).bearer_auth(TOKEN);
    fleet.client().send(request).await.unwrap()
}

async fn backlog(fleet: &Fleet, query: &str) -> Answer {
    as_operator(fleet, &format!("/stats/backlog{query}")).await
}

fn options(workers: usize) -> FleetOptions {
    FleetOptions::workers(workers).set("telemetry.metrics_token", TOKEN).set("worker.slots", 2)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backlog_says_how_many_slots_it_wants_and_ends_with_the_work() {
    let mut fleet = Fleet::sales(options(0)).await.unwrap();
    let empty = backlog(&fleet, "").await.success().unwrap();
    assert_eq!(empty.integer("/slots/wanted").unwrap(), 0);

    let terms = json!({"service": SALES, "initial_workers": 3, "max_workers": 5});
    let batch = fleet.client().open_batch(&terms).await.unwrap();
    let pushed: Vec<_> = (0..8).map(|index| chunk(&format!("c{index}"), 10)).collect();
    fleet.client().push(&batch, &chunks(&pushed)).await.unwrap().success().unwrap();
    let waiting = backlog(&fleet, "?within=30").await.success().unwrap();
    for (pointer, value) in [
        ("/batches", 1),
        ("/chunks", 8),
        ("/records", 80),
        ("/held_back_chunks", 0),
        ("/within_seconds", 30),
        // Nothing is known of its chunks: what the batch asked for, and what it may have.
        ("/slots/wanted", 3),
        ("/slots/usable", 5),
        ("/slots/live", 0),
        ("/slots/busy", 0),
        ("/workers", 0),
    ] {
        assert_eq!(waiting.integer(pointer).unwrap(), value, "{pointer} in {}", waiting.describe());
    }
    assert!(waiting.integer("/bytes").unwrap() > 0);

    fleet.start_worker().await.unwrap();
    fleet.client().pull_all(&batch, 8, PATIENCE).await.unwrap();
    let fleet = &fleet;
    wait_until("the backlog is worked off", PATIENCE, || async move {
        let answer = backlog(fleet, "").await.success()?;
        let done = answer.integer("/chunks")? == 0 && answer.integer("/slots/wanted")? == 0;
        Ok((done && answer.integer("/slots/live")? == 2).then_some(()))
    })
    .await
    .unwrap();
}

/// While nobody works at all: every alarm about waiting chunks would be raised, and workers would be called.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_batch_wants_no_slot_and_is_no_cause_for_alarm() {
    let fleet = Fleet::sales(options(0)).await.unwrap();
    let client = fleet.client();
    let batch = client.open_batch(&json!({"service": SALES, "initial_workers": 3})).await.unwrap();
    let pushed: Vec<_> = (0..8).map(|index| chunk(&format!("c{index}"), 10)).collect();
    client.push(&batch, &chunks(&pushed)).await.unwrap().success().unwrap();
    let told = async || {
        let answer = backlog(&fleet, "").await.success().unwrap();
        ["/chunks", "/paused_chunks", "/held_back_chunks", "/slots/wanted", "/slots/usable"]
            .map(|pointer| answer.integer(pointer).unwrap())
    };
    let gauge = async |name: &str| {
        let scrape = Scrape::of(&fleet.url(), Some(TOKEN)).await?;
        Ok::<_, anyhow::Error>(
            scrape.value(&format!("millrace_lane_{name}{{tenant=\"acme\",lane=\"0001\"}}")),
        )
    };
    assert_eq!(told().await, [8, 0, 0, 3, 8]);
    // It has waited for a while when it is paused.
    wait_until("the oldest chunk has an age", PATIENCE, async || {
        Ok((gauge("oldest_chunk_age_seconds").await? > 0.0).then_some(()))
    })
    .await
    .unwrap();
    client.pause(&batch, true).await.unwrap().success().unwrap();
    assert_eq!(told().await, [8, 8, 0, 0, 0]);
    wait_until("its lane is told to be paused", PATIENCE, async || {
        Ok((gauge("paused").await? > 0.0).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(gauge("oldest_chunk_age_seconds").await.unwrap(), 0.0);
    assert_eq!(gauge("backlog_chunks").await.unwrap(), 8.0);
    client.pause(&batch, false).await.unwrap().success().unwrap();
    assert_eq!(told().await, [8, 0, 0, 3, 8]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_sees_the_fleet_and_its_own_part_of_it() {
    let fleet = Fleet::sales(options(1)).await.unwrap();
    let own = fleet.client().get("/stats/fleet").await.unwrap().success().unwrap();
    let all = as_operator(&fleet, "/stats/fleet").await.success().unwrap();
    for (answer, scope) in [(&own, "tenant"), (&all, "all")] {
        assert_eq!(answer.text("/scope").unwrap(), scope);
        assert_eq!((answer.integer("/slots").unwrap(), answer.integer("/busy").unwrap()), (2, 0));
        assert_eq!(answer.text("/workers/0/version").unwrap(), answer.text("/version").unwrap());
    }
    // What machines are called is the operator's business.
    assert!(own.body["workers"][0]["name"].is_null() && all.text("/workers/0/name").is_ok());

    // Two chunks whose results nobody pulls: reserved, unfinished, then to be pulled.
    let reserved = |answer: &Answer| {
        let tenants = answer.body["tenants"].as_array().unwrap().clone();
        let mine = tenants.iter().find(|one| one["tenant"] == fleet.tenant()).unwrap().clone();
        (mine["used"].clone(), mine["quotas"].clone())
    };
    let terms = json!({"service": SALES, "max_input_in_mb": 1, "max_output_in_mb": 2});
    let batch = fleet.client().open_batch(&terms).await.unwrap();
    fleet.client().push(&batch, &chunks(&[chunk("a", 10), chunk("b", 5)])).await.unwrap().success().unwrap();
    let (client, is_there) = (fleet.client(), &reserved);
    wait_until("both chunks have an outcome", PATIENCE, || async move {
        let (used, _) = is_there(&client.get("/stats/tenants").await?.success()?);
        Ok((used["unfinished_chunks"] == 0 && used["output_bytes"].as_i64() > Some(0)).then_some(()))
    })
    .await
    .unwrap();
    let (used, quotas) = reserved(&as_operator(&fleet, "/stats/tenants").await.success().unwrap());
    assert_eq!(used["reserved_input_bytes"], 1_000_000);
    assert_eq!(used["reserved_output_bytes"], 2_000_000);
    assert_eq!(
        (&used["live_batches"], &used["input_bytes"], &used["unfinished_records"]),
        (&json!(1), &json!(0), &json!(0))
    );
    assert!(quotas["capacity_bytes"].as_i64() >= Some(3_000_000) && quotas["max_workers"].as_i64() > Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_is_told_who_it_is() {
    let fleet = Fleet::start(options(0)).await.unwrap();
    let own = fleet.client().get("/stats/caller").await.unwrap().success().unwrap();
    assert_eq!(own.text("/tenant").unwrap(), fleet.tenant());
    assert_eq!((&own.body["operator"], &own.body["scopes"]), (&json!(false), &json!(["tenant:admin"])));
    let operator = as_operator(&fleet, "/stats/caller").await.success().unwrap();
    assert_eq!((&operator.body["operator"], &operator.body["tenant"]), (&json!(true), &json!(null)));
    let made = json!({"owner": "sue", "scopes": ["batch"], "groups": ["supervisor:pf"]});
    let key = fleet.client().post("/{tenant}/api/v4/keys", &made).await.unwrap().success().unwrap();
    let sue = fleet.client().as_tenant(fleet.tenant(), key.text("/key").unwrap());
    let sue = sue.get("/stats/caller").await.unwrap().success().unwrap();
    assert_eq!((sue.text("/name").unwrap(), &sue.body["supervisor"]), ("sue", &json!(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backlog_is_shown_to_operators_alone() {
    let fleet = Fleet::start(options(0)).await.unwrap();
    for query in
        ["?within=0", "?within=-1", "?within=soon", "?within=86401", "?within=", "?within=60&within=x"]
    {
        let refused = backlog(&fleet, query).await;
        assert_eq!((refused.status, refused.code()), (400, Some("INVALID_VALUE")), "{query}");
        assert_eq!(refused.text("/errors/0/source_path").unwrap(), "within");
    }
    // A tenant's own key is no token of operators.
    let without = fleet.client().get("/stats/backlog").await.unwrap();
    assert_eq!((without.status, without.code()), (401, Some("UNAUTHORIZED")));
    let wrong = fleet.client().request(Method::GET, "/stats/backlog").bearer_auth("operator");
    assert_eq!(fleet.client().send(wrong).await.unwrap().status, 401);

    // Nobody has a token that is not set.
    let closed = Fleet::start(FleetOptions::workers(0)).await.unwrap();
    for token in ["", TOKEN] {
        let request = closed.client().request(Method::GET, "/stats/backlog").bearer_auth(token);
        assert_eq!(closed.client().send(request).await.unwrap().status, 401);
    }
}
