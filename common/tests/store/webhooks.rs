//! Every way in which a batch ends leaves its messages, in the transaction that ends it; how messages are claimed.

use std::sync::Arc;

use millrace_common::model::{Actor, BatchState, Transition};
use millrace_common::store::{
    Attempt, AttemptResult, Batch, ClaimLimits, Consequence, Deliveries, Delivery, NewWebhook, Outcome,
    RetryRules, TermsChange, WebhookScope, WebhookUpdate,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::fixture::Database;

const RULES: RetryRules =
    RetryRules { delay_seconds: 0.0, give_up_seconds: 3_600.0, disable_seconds: 3_600.0 };

const EVERYTHING: [&str; 5] = [
    "batch.completed",
    "batch.completed_by_timeout",
    "batch.failed",
    "batch.cancelled",
    "batch.closed_by_timeout",
];

fn limits() -> ClaimLimits {
    ClaimLimits { max: 100, per_host: 100, per_tenant: 100, under_way: Vec::new(), lease_seconds: 3_600.0 }
}

fn scope(database: &Database) -> WebhookScope {
    WebhookScope { tenant_id: database.tenant_id, owner: None }
}

async fn webhook(database: &Database, host: &str) -> Uuid {
    let new = NewWebhook {
        id: Uuid::now_v7(),
        tenant_id: database.tenant_id,
        url: format!("https://{host}/hook"),
        host: format!("{host}:443"),
        description: String::new(),
        events: EVERYTHING.map(str::to_owned).to_vec(),
        active: true,
        all_batches: true,
        created_by: "me".into(),
        secret: vec![0; 33],
    };
    database.store.create_webhook(&new, 1_000).await.unwrap().unwrap().id
}

/// A batch that names a URL of its own, in a tenant with one webhook.
async fn told_batch(
    database: &Database,
    change: impl FnOnce(&mut millrace_common::store::NewBatch),
) -> (Uuid, Batch) {
    let id = webhook(database, "a.example").await;
    let mut new = database.new_batch(1_000_000, 1_000_000);
    new.webhook_url = Some("https://b.example:8443/own".into());
    change(&mut new);
    (id, database.store.create_batch(&new).await.unwrap().batch)
}

async fn deliveries(database: &Database, which: Deliveries) -> Vec<Delivery> {
    let mut found = database.store.deliveries(which, None, None, 100).await.unwrap();
    found.reverse();
    found
}

/// The webhook was told exactly these events, the batch's own URL the last of them, and each message says what the batch was.
async fn was_told(database: &Database, webhook: Uuid, batch: &Batch, events: &[&str]) {
    let told = deliveries(database, Deliveries::Webhook(webhook)).await;
    assert_eq!(told.iter().map(|told| told.event.as_str()).collect::<Vec<_>>(), events);
    assert!(told.iter().all(|told| told.batch_id == Some(batch.id) && told.state == "pending"));
    let own = deliveries(database, Deliveries::Batch(batch.id)).await;
    assert_eq!(own.iter().map(|told| told.event.as_str()).collect::<Vec<_>>(), events[events.len() - 1..]);
    let attempts = database.store.claim_deliveries(&limits()).await.unwrap();
    assert_eq!(attempts.len(), told.len() + own.len());
    for attempt in attempts {
        let host = if attempt.webhook_id.is_some() { "a.example:443" } else { "b.example:8443" };
        assert_eq!(attempt.host, host);
        let body: Value = serde_json::from_str(&attempt.body).unwrap();
        let status = body["type"].as_str().unwrap().strip_prefix("batch.").unwrap().to_owned();
        assert_eq!(
            (&body["data"]["batch_id"], &body["data"]["batch_status"]),
            (&json!(batch.id), &json!(status))
        );
    }
}

#[tokio::test]
async fn a_close_of_what_has_drained_is_told() {
    let database = Database::new().await;
    let (webhook, batch) = told_batch(&database, |_| {}).await;
    let chunks = database.queued(&batch, &["a"]).await;
    database.finish(&batch, &chunks, Outcome::Completed).await;
    assert!(deliveries(&database, Deliveries::Webhook(webhook)).await.is_empty());
    database.store.change_batch(batch.id, Transition::Close).await.unwrap().unwrap();
    was_told(&database, webhook, &batch, &["batch.completed"]).await;
}

#[tokio::test]
async fn the_last_commit_of_a_closed_batch_is_told_once_however_many_settle() {
    let database = Arc::new(Database::new().await);
    let (webhook, batch) = told_batch(&database, |_| {}).await;
    let chunks = database.queued(&batch, &["a", "b"]).await;
    database.store.change_batch(batch.id, Transition::Close).await.unwrap().unwrap();
    database.finish(&batch, &chunks[..1], Outcome::Completed).await;
    database.finish(&batch, &chunks[1..], Outcome::Failed).await;
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let (database, id) = (Arc::clone(&database), batch.id);
            tokio::spawn(async move { database.store.settle_batch(id).await.unwrap() })
        })
        .collect();
    let mut settled = 0;
    for worker in workers {
        settled += usize::from(worker.await.unwrap() == Consequence::Settled(BatchState::Failed));
    }
    assert_eq!(settled, 1);
    was_told(&database, webhook, &batch, &["batch.failed"]).await;
}

#[tokio::test]
async fn a_cancel_is_told_once() {
    let database = Database::new().await;
    let (webhook, batch) = told_batch(&database, |_| {}).await;
    database.queued(&batch, &["a"]).await;
    for _ in 0..2 {
        database.store.change_batch(batch.id, Transition::Cancel).await.unwrap().unwrap();
    }
    was_told(&database, webhook, &batch, &["batch.cancelled"]).await;
}

#[tokio::test]
async fn a_change_of_terms_that_ends_a_batch_is_told() {
    let database = Database::new().await;
    let (webhook, batch) = told_batch(&database, |_| {}).await;
    let chunks = database.queued(&batch, &["a", "b"]).await;
    database.finish(&batch, &chunks[..1], Outcome::Failed).await;
    database.finish(&batch, &chunks[1..], Outcome::Completed).await;
    let terms = TermsChange { acceptable_error_percentage: Some(50.0), ..TermsChange::default() };
    database.store.alter_batch(batch.id, &terms, Some(Transition::Close)).await.unwrap().unwrap();
    was_told(&database, webhook, &batch, &["batch.completed"]).await;
}

#[tokio::test]
async fn an_early_stop_is_told_when_it_has_ended_the_batch() {
    let database = Database::new().await;
    let (webhook, batch) = told_batch(&database, |new| new.early_stop = true).await;
    let chunks = database.queued(&batch, &["a", "b"]).await;
    database.store.change_batch(batch.id, Transition::Close).await.unwrap().unwrap();
    database.finish(&batch, &chunks[..1], Outcome::Failed).await;
    assert_eq!(database.store.settle_batches().await.unwrap(), [(batch.id, Consequence::Stopped)]);
    assert!(deliveries(&database, Deliveries::Webhook(webhook)).await.is_empty());
    database.finish(&batch, &chunks[1..], Outcome::Failed).await;
    let settled = Consequence::Settled(BatchState::Failed);
    assert_eq!(database.store.settle_batches().await.unwrap(), [(batch.id, settled)]);
    was_told(&database, webhook, &batch, &["batch.failed"]).await;
}

#[tokio::test]
async fn an_early_stop_of_an_open_batch_that_has_drained_is_told_at_once() {
    let database = Database::new().await;
    let (webhook, batch) = told_batch(&database, |new| new.early_stop = true).await;
    let chunks = database.queued(&batch, &["a"]).await;
    database.finish(&batch, &chunks, Outcome::Failed).await;
    let settled = Consequence::Settled(BatchState::Failed);
    assert_eq!(database.store.settle_batch(batch.id).await.unwrap(), settled);
    was_told(&database, webhook, &batch, &["batch.failed"]).await;
}

#[tokio::test]
async fn a_timeout_is_told_when_it_closes_and_when_it_completes() {
    let database = Database::new().await;
    for (outcome, last) in
        [(Outcome::Completed, "batch.completed_by_timeout"), (Outcome::Failed, "batch.failed")]
    {
        let (webhook, batch) = told_batch(&database, |_| {}).await;
        let chunks = database.queued(&batch, &["a"]).await;
        let idle = "UPDATE batches SET updated_at = now() - interval '1 hour';
            UPDATE batch_counters SET touched_at = now() - interval '1 hour'";
        database.run(idle).await;
        assert_eq!(database.store.time_out_batches(1_800.0).await.unwrap(), [batch.id]);
        let told = deliveries(&database, Deliveries::Webhook(webhook)).await;
        assert_eq!(
            told.iter().map(|told| told.event.as_str()).collect::<Vec<_>>(),
            ["batch.closed_by_timeout"]
        );
        database.finish(&batch, &chunks, outcome).await;
        assert_eq!(database.store.settle_batches().await.unwrap().len(), 1);
        was_told(&database, webhook, &batch, &["batch.closed_by_timeout", last]).await;
        database.store.delete_webhook(&scope(&database), webhook).await.unwrap();
    }
}

#[tokio::test]
async fn without_its_message_a_batch_does_not_end() {
    let database = Database::new().await;
    let (webhook, batch) = told_batch(&database, |_| {}).await;
    database
        .run(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no room'; END $$;
             CREATE TRIGGER refuse BEFORE INSERT ON webhook_deliveries FOR EACH ROW EXECUTE FUNCTION refuse()",
        )
        .await;
    for event in [Transition::Close, Transition::Cancel] {
        database.store.change_batch(batch.id, event).await.unwrap_err();
        assert_eq!(database.view(&batch).await.batch.state, BatchState::Open);
    }
    database.run("DROP TRIGGER refuse ON webhook_deliveries").await;
    database.store.change_batch(batch.id, Transition::Cancel).await.unwrap().unwrap();
    was_told(&database, webhook, &batch, &["batch.cancelled"]).await;
}

#[tokio::test]
async fn only_those_are_told_who_want_to_be() {
    let database = Database::new().await;
    let (on, batch) = told_batch(&database, |new| new.webhook_url = None).await;
    let (off, other, foreign) = (
        webhook(&database, "c.example").await,
        webhook(&database, "d.example").await,
        webhook(&database, "e.example").await,
    );
    let update = |update: WebhookUpdate, id| {
        let (store, scope) = (database.store.clone(), scope(&database));
        async move { store.update_webhook(&scope, id, &update).await.unwrap().unwrap() }
    };
    update(WebhookUpdate { active: Some(false), ..WebhookUpdate::default() }, off).await;
    update(WebhookUpdate { events: Some(vec!["batch.failed".into()]), ..WebhookUpdate::default() }, other)
        .await;
    let others_batches =
        format!("UPDATE webhooks SET all_batches = false, created_by = 'somebody' WHERE id = '{foreign}'");
    database.run(&others_batches).await;
    database.store.change_batch(batch.id, Transition::Cancel).await.unwrap().unwrap();
    for (id, count) in [(on, 1), (off, 0), (other, 0), (foreign, 0)] {
        assert_eq!(deliveries(&database, Deliveries::Webhook(id)).await.len(), count);
    }
    assert!(deliveries(&database, Deliveries::Batch(batch.id)).await.is_empty());
}

/// Due messages: this many to each of these hosts.
async fn due(database: &Database, hosts: &[(&str, usize)]) -> Vec<Uuid> {
    let mut ids = Vec::new();
    for (host, count) in hosts {
        let id = webhook(database, host).await;
        database
            .run(&format!(
                "INSERT INTO webhook_deliveries (id, tenant_id, webhook_id, event, body, host)
                 SELECT gen_random_uuid(), '{}', '{id}', 'batch.failed', '{{}}', '{host}:443' FROM generate_series(1, {count})",
                database.tenant_id
            ))
            .await;
        ids.push(id);
    }
    ids
}

fn hosts(attempts: &[Attempt]) -> Vec<(&str, usize)> {
    let mut hosts: Vec<&str> = attempts.iter().map(|attempt| attempt.host.as_str()).collect();
    hosts.sort_unstable();
    hosts.chunk_by(|a, b| a == b).map(|same| (same[0], same.len())).collect()
}

#[tokio::test]
async fn a_host_with_thousands_of_messages_hides_no_other() {
    let database = Database::new().await;
    due(&database, &[("flood.example", 3_000), ("quiet.example", 1)]).await;
    let mut limits = ClaimLimits { per_host: 4, per_tenant: 16, ..limits() };
    let first = database.store.claim_deliveries(&limits).await.unwrap();
    assert_eq!(hosts(&first), [("flood.example:443", 4)]);
    limits.under_way = first.iter().map(|attempt| (attempt.tenant_id, attempt.host.clone())).collect();
    let second = database.store.claim_deliveries(&limits).await.unwrap();
    assert_eq!(hosts(&second), [("quiet.example:443", 1)]);
}

#[tokio::test]
async fn a_tenant_with_many_hosts_keeps_no_other_waiting() {
    let database = Database::new().await;
    let names: Vec<String> = (0..20).map(|number| format!("h{number}.example")).collect();
    due(&database, &names.iter().map(|name| (name.as_str(), 3)).collect::<Vec<_>>()).await;
    let neighbour = Uuid::new_v4();
    database
        .run(&format!(
            "INSERT INTO tenants (id, name, capacity_bytes, max_input_bytes, max_output_bytes, max_workers, initial_workers)
             VALUES ('{neighbour}', 'neighbour', 1, 1, 1, 1, 1);
             INSERT INTO webhooks (id, tenant_id, url, host, events, all_batches, created_by, secret)
             VALUES ('{neighbour}', '{neighbour}', 'https://n.example/', 'n.example:443', '{{batch.failed}}', true, 'x', '\\x00');
             INSERT INTO webhook_deliveries (id, tenant_id, webhook_id, event, body, host)
             SELECT gen_random_uuid(), '{neighbour}', '{neighbour}', 'batch.failed', '{{}}', 'n.example:443' FROM generate_series(1, 2)"
        ))
        .await;
    let limits = ClaimLimits { max: 3, per_tenant: 16, ..limits() };
    let count = |attempts: &[Attempt]| {
        let of_neighbour = attempts.iter().filter(|attempt| attempt.tenant_id == neighbour).count();
        (attempts.len() - of_neighbour, of_neighbour)
    };
    let first = database.store.claim_deliveries(&limits).await.unwrap();
    assert_eq!(count(&first), (2, 1), "the first of each before the second of any");
    let under_way = vec![(database.tenant_id, "slow.example:443".to_owned()); 15];
    let rest = ClaimLimits { max: 100, under_way, ..limits };
    let second = database.store.claim_deliveries(&rest).await.unwrap();
    assert_eq!(count(&second), (1, 1), "no more than its bound");
}

#[tokio::test]
async fn claims_are_disjoint_and_a_lease_ends_by_the_clock() {
    let database = Arc::new(Database::new().await);
    due(&database, &[("a.example", 60)]).await;
    let claims: Vec<_> = (0..6)
        .map(|_| {
            let database = Arc::clone(&database);
            let limits = ClaimLimits { max: 10, ..limits() };
            tokio::spawn(async move { database.store.claim_deliveries(&limits).await.unwrap() })
        })
        .collect();
    let mut seen = Vec::new();
    for claim in claims {
        seen.extend(claim.await.unwrap().into_iter().map(|attempt| (attempt.delivery_id, attempt.number)));
    }
    seen.extend(
        database.store.claim_deliveries(&limits()).await.unwrap().iter().map(|a| (a.delivery_id, a.number)),
    );
    assert!(seen.iter().all(|(_, number)| *number == 1));
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 60);
    assert!(database.store.claim_deliveries(&limits()).await.unwrap().is_empty());
    // Their worker is gone, and its leases run out.
    database.run("UPDATE webhook_deliveries SET next_attempt_at = now() - interval '1 second'").await;
    let again = database.store.claim_deliveries(&limits()).await.unwrap();
    assert_eq!(again.len(), 60);
    assert!(again.iter().all(|attempt| attempt.number == 2));
}

#[tokio::test]
async fn a_deleted_webhook_is_told_nothing_more_and_its_messages_go() {
    let database = Database::new().await;
    let (webhook, batch) = told_batch(&database, |new| new.webhook_url = None).await;
    database.store.change_batch(batch.id, Transition::Cancel).await.unwrap().unwrap();
    let under_way = database.store.claim_deliveries(&limits()).await.unwrap();
    assert!(database.store.delete_webhook(&scope(&database), webhook).await.unwrap());
    assert!(!database.store.delete_webhook(&scope(&database), webhook).await.unwrap());
    assert_eq!(database.store.test_webhook(&scope(&database), webhook).await.unwrap(), None);
    // An attempt that ends now switches nothing off and on.
    let gone =
        AttemptResult { status: Some(410), error: Some("the receiver answered 410".into()), gone: true };
    assert!(!database.store.finish_attempt(&under_way[0], &gone, &RULES).await.unwrap());
    assert!(database.store.claim_deliveries(&limits()).await.unwrap().is_empty());
    assert_eq!(database.store.purge_webhooks().await.unwrap(), 1);
    database.run("UPDATE webhooks SET deleted_at = now() - interval '1 hour'").await;
    assert_eq!(database.store.purge_webhooks().await.unwrap(), 1);
    assert_eq!(database.store.purge_webhooks().await.unwrap(), 0);
}

#[tokio::test]
async fn changes_and_results_of_attempts_that_race_do_not_lock_each_other_out() {
    let database = Arc::new(Database::new().await);
    let ids = due(&database, &[("a.example", 300)]).await;
    let all = ClaimLimits { max: 300, per_host: 300, per_tenant: 300, ..limits() };
    let attempts = database.store.claim_deliveries(&all).await.unwrap();
    assert_eq!(attempts.len(), 300);
    let failed =
        AttemptResult { status: Some(500), error: Some("the receiver answered 500".into()), gone: false };
    let workers: Vec<_> = attempts
        .chunks(100)
        .map(|share| {
            let (database, share, failed) = (Arc::clone(&database), share.to_vec(), failed.clone());
            tokio::spawn(async move {
                for attempt in share {
                    database.store.finish_attempt(&attempt, &failed, &RULES).await.unwrap();
                }
            })
        })
        .collect();
    let user = database.store.acting(Actor::operator());
    for round in 0..100 {
        let update = WebhookUpdate { active: Some(round % 2 == 1), ..WebhookUpdate::default() };
        user.update_webhook(&scope(&database), ids[0], &update).await.unwrap().unwrap();
        user.test_webhook(&scope(&database), ids[0]).await.unwrap().unwrap();
    }
    for worker in workers {
        worker.await.unwrap();
    }
    // However often it was asked for, one test waits.
    let waiting = deliveries(&database, Deliveries::Webhook(ids[0])).await;
    let rows = database.connect().await;
    let count = rows.query_one("SELECT count(*) FROM webhook_deliveries WHERE event = 'webhook.test'", &[]);
    assert_eq!((waiting.len(), count.await.unwrap().get::<_, i64>(0)), (100, 1));
}
