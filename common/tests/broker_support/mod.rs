//! What the broker tests share: a private prefix on a real RabbitMQ, and raw access to it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../../../tests/src/proxy.rs"]
pub mod proxy;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use millrace_common::broker::{
    ChunkMessage, Consumers, Delivery, LaneId, Publisher, Queue, Receipt, Subscription, Topology,
};
use millrace_common::config::{BrokerConfig, Secret};
use proxy::Proxy;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub const LANE: LaneId = LaneId(1);
/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// One test's part of the broker.
#[derive(Clone)]
pub struct Broker {
    pub config: BrokerConfig,
    /// Ends everything that the test started.
    pub shutdown: CancellationToken,
}

/// Runs a test on its own prefix, and deletes its queues afterwards, whatever became of it.
pub async fn with_broker<F>(test: impl FnOnce(Broker) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    // RUST_LOG tells what to see of a failed test.
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
    let url = std::env::var("MRT_BROKER_URL")
        .expect("MRT_BROKER_URL is not set: start services with `deploy/services start DIR`, then eval `deploy/services env DIR`");
    let config = BrokerConfig {
        url: Secret::new(url),
        prefix: format!("test-{}", Uuid::new_v4().simple()),
        heartbeat_seconds: 2,
        connect_timeout_ms: 2_000,
        ..BrokerConfig::default()
    };
    let broker = Broker { config, shutdown: CancellationToken::new() };
    let topology = broker.topology();
    topology.declare_shared().await.expect("the broker answers");
    let outcome = tokio::spawn(test(broker.clone())).await;
    broker.shutdown.cancel();
    for lane in 1..=4 {
        topology.delete_lane(LaneId(lane)).await.expect("the lane is deleted");
    }
    topology.delete_shared().await.expect("the shared queues are deleted");
    if let Err(error) = outcome {
        std::panic::resume_unwind(error.into_panic());
    }
}

impl Broker {
    pub fn topology(&self) -> Topology {
        Topology::new(&self.config)
    }

    pub fn publisher(&self) -> Publisher {
        Publisher::start(&self.config, self.shutdown.clone())
    }

    pub fn consumers(&self) -> (Consumers, mpsc::Receiver<Delivery>) {
        Consumers::start(&self.config, self.shutdown.clone())
    }

    /// The broker's own address.
    pub fn address(&self) -> SocketAddr {
        let uri: lapin::uri::AMQPUri = self.config.url.expose().parse().unwrap();
        format!("{}:{}", uri.authority.host, uri.authority.port).parse().unwrap()
    }

    /// A proxy before the broker, and a view of the broker through it.
    pub async fn through_proxy(&self) -> (Proxy, Broker) {
        let proxy = Proxy::start(self.address()).await.unwrap();
        let through = self.at(proxy.address());
        (proxy, through)
    }

    pub fn at(&self, address: SocketAddr) -> Broker {
        let url = self.config.url.expose().replace(&self.address().to_string(), &address.to_string());
        let config = BrokerConfig { url: Secret::new(url), ..self.config.clone() };
        Broker { config, shutdown: self.shutdown.clone() }
    }

    pub fn lane_queue(&self, lane: LaneId) -> String {
        format!("{}.lane.{lane}", self.config.prefix)
    }

    pub async fn raw(&self) -> (Connection, Channel) {
        let connection =
            Connection::connect(self.config.url.expose(), ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        (connection, channel)
    }

    /// Puts a message with the given properties into a queue.
    pub async fn publish_raw(&self, queue: &str, properties: BasicProperties, body: &[u8]) {
        let (_connection, channel) = self.raw().await;
        channel.confirm_select(Default::default()).await.unwrap();
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let confirm =
            channel.basic_publish("".into(), queue.into(), options, body, properties).await.unwrap();
        assert!(confirm.await.unwrap().take_message().is_none());
    }

    /// A quorum queue under a lane's name that holds one message and refuses more.
    pub async fn declare_tiny_lane(&self, lane: LaneId) {
        let (_connection, channel) = self.raw().await;
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        arguments.insert("x-max-length".into(), AMQPValue::LongInt(1));
        arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
        let queue = self.lane_queue(lane);
        let options = QueueDeclareOptions::durable();
        channel.queue_declare(queue.as_str().into(), options, arguments).await.unwrap();
    }
}

pub fn message(chunk_no: i64) -> ChunkMessage {
    sized(chunk_no, 5_000)
}

pub fn sized(chunk_no: i64, bytes: usize) -> ChunkMessage {
    ChunkMessage {
        kind: millrace_common::broker::MessageKind::Chunk,
        batch_id: Uuid::from_u128(9),
        chunk_no,
        chunk_id: format!("chunk/{chunk_no}"),
        epoch: 4,
        records: 200,
        charged_bytes: 5_120,
        scan: None,
        trace: None,
        compressed: false,
        body: Bytes::from(vec![u8::try_from(chunk_no.rem_euclid(251)).unwrap(); bytes]),
    }
}

pub fn messages(numbers: impl IntoIterator<Item = i64>) -> Vec<ChunkMessage> {
    numbers.into_iter().map(message).collect()
}

pub fn want(consumers: &Consumers, queues: impl IntoIterator<Item = (Queue, u16)>) {
    consumers.want(queues.into_iter().map(|(queue, prefetch)| Subscription { queue, prefetch }).collect());
}

/// The next delivery, which must come.
pub async fn next(receiver: &mut mpsc::Receiver<Delivery>) -> Delivery {
    tokio::time::timeout(PATIENCE, receiver.recv())
        .await
        .expect("no delivery came")
        .expect("the receiver ended")
}

pub async fn take(receiver: &mut mpsc::Receiver<Delivery>, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::with_capacity(count);
    for _ in 0..count {
        taken.push(next(receiver).await);
    }
    taken
}

/// That nothing comes for a while.
pub async fn nothing(receiver: &mut mpsc::Receiver<Delivery>) {
    let came = tokio::time::timeout(Duration::from_millis(400), receiver.recv()).await;
    if let Ok(Some(delivery)) = came {
        panic!("an unexpected delivery: {:?}", delivery.message);
    }
}

pub fn numbers(deliveries: &[Delivery]) -> Vec<i64> {
    let mut numbers: Vec<i64> = deliveries.iter().map(|delivery| delivery.message.chunk_no).collect();
    numbers.sort_unstable();
    numbers
}

pub fn receipts<'a>(deliveries: impl IntoIterator<Item = &'a Delivery>) -> Vec<Receipt> {
    deliveries.into_iter().map(|delivery| delivery.receipt.clone()).collect()
}

/// Waits until a condition holds, and returns how long that took.
pub async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) -> Duration {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < PATIENCE, "still not so: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    started.elapsed()
}

/// Waits until a lane has so many waiting messages.
pub async fn until_ready(topology: &Topology, lane: LaneId, ready: u32) {
    let what = format!("{ready} waiting messages in lane {lane}");
    until(&what, || async { topology.lane_depth(lane).await.is_ok_and(|depth| depth.ready == ready) }).await;
}
