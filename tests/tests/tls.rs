//! TLS towards the broker, the database and the server: everything between the processes is encrypted and checked.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use millrace_common::broker::Topology;
use millrace_common::config::{BrokerConfig, DatabaseConfig, Secret};
use millrace_common::store::Store;
use millrace_tests::tls::{Authority, Opening, TlsProxy, address_of};
use millrace_tests::{Fleet, FleetOptions, PATIENCE, SALES, Services};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_runs_with_tls_everywhere() {
    let services = Services::from_env().unwrap();
    let authority = Authority::new().unwrap();
    let start = async |url: &str, opening| {
        TlsProxy::start(address_of(url).unwrap(), opening, &authority).await.unwrap()
    };
    let database = start(&services.database_url, Opening::Postgres).await;
    let broker = start(&services.broker_url, Opening::Direct).await;
    let encrypted = services.broker_url.replace("amqp://", "amqps://");
    let direct = address_of(&services.broker_url).unwrap().to_string();
    let options = FleetOptions::workers(1)
        .set("broker.url", encrypted.replace(&direct, &broker.address().to_string()))
        .set("broker.tls_ca", authority.setting())
        .set("database.tls_ca", authority.setting())
        .database_at(database.address())
        .database_query("sslmode=verify-full");
    let fleet = Fleet::sales(options).await.unwrap();
    assert!(database.handshakes() >= 2 && broker.handshakes() >= 2);

    let batch =
        fleet.client().open_batch(&json!({"service": SALES, "unique_record_key": "id"})).await.unwrap();
    let inputs = json!([["id", "price", "quantity", "tax"], [1, 20, 65, 0.1]]);
    let chunks = json!({"chunks": [{"id": "a", "data": {"inputs": inputs}}]});
    fleet.client().push(&batch, &chunks).await.unwrap().success().unwrap();
    let results = fleet.client().pull_all(&batch, 1, PATIENCE).await.unwrap();
    assert_eq!(results[0]["outputs"][1], json!([1, 1430.0]));

    // The command line, with an authority of its own, against https.
    let front = start(&fleet.url(), Opening::Direct).await;
    let url = format!("https://localhost:{}", front.address().port());
    let listed = fleet.run(&["service", "list", "--url", &url, "--ca", &authority.setting()]).await.unwrap();
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.status.success() && text.contains("SalesExample"), "{listed:?}");
    let stranger = Authority::new().unwrap();
    let refused = fleet.run(&["service", "list", "--url", &url, "--ca", &stranger.setting()]).await.unwrap();
    assert!(!refused.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_trusted_is_not_talked_to() {
    let services = Services::from_env().unwrap();
    let (authority, stranger) = (Authority::new().unwrap(), Authority::new().unwrap());
    let direct = address_of(&services.database_url).unwrap();
    let proxy = TlsProxy::start(direct, Opening::Postgres, &authority).await.unwrap();
    let by_address = services.database_url.replace(&direct.to_string(), &proxy.address().to_string());
    let by_name = by_address.replace("127.0.0.1", "localhost");
    for (url, terms, trusted, reached) in [
        (&by_address, "sslmode=verify-full", &authority, true),
        (&by_name, "sslmode=verify-full", &authority, true),
        (&by_address, "sslmode=verify-full", &stranger, false),
        (&by_address, "sslmode=verify-ca", &authority, true),
        (&by_address, "sslmode=verify-ca", &stranger, false),
        // As with libpq: authorities make `require` check them.
        (&by_address, "sslmode=require", &stranger, false),
        (&by_address, "sslmode=disable", &authority, false),
    ] {
        let config = DatabaseConfig {
            url: Secret::new(format!("{url}?{terms}")),
            tls_ca: trusted.setting(),
            acquire_timeout_ms: 5_000,
            ..DatabaseConfig::default()
        };
        let store = Store::open(&config, "tls-test").unwrap();
        let result = store.ping().await;
        assert_eq!(result.is_ok(), reached, "control plane: {terms}: {result:?}");
        let result = store.ping_data_plane().await;
        assert_eq!(result.is_ok(), reached, "data plane: {terms}: {result:?}");
    }
    let direct = address_of(&services.broker_url).unwrap();
    let proxy = TlsProxy::start(direct, Opening::Direct, &authority).await.unwrap();
    let url = services
        .broker_url
        .replace("amqp://", "amqps://")
        .replace(&direct.to_string(), &proxy.address().to_string());
    let config = BrokerConfig {
        url: Secret::new(url),
        tls_ca: stranger.setting(),
        prefix: "tls-test".to_owned(),
        ..BrokerConfig::default()
    };
    assert!(Topology::new(&config).declare_shared().await.is_err());
    assert_eq!(proxy.handshakes(), 0);
}
