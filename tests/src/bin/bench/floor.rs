//! The floor: what the broker and the database themselves do with the same bytes, and nothing else.
//!
//! Publish with confirms to a quorum queue → consume → grouped insert → ack, in one process. It is tuned as well as we know
//! how, and durable like the real thing: persistent and mandatory messages, confirms, fsync as the server has it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use millrace_tests::Services;
use tokio::sync::Semaphore;
use tokio_postgres::{Client, NoTls, Statement};
use uuid::Uuid;

use crate::payload::Payload;
use crate::rate::Rate;

/// Consumers, each with a connection of its own.
const CONSUMERS: usize = 2;
/// Commits under way at once, for each consumer, each on a database connection of its own.
const COMMITS: usize = 2;
/// Messages that a consumer holds without an ack.
const PREFETCH: u16 = 1_000;
/// Most rows of one insert.
const GROUP: usize = 250;
/// Most bytes that are published and not yet confirmed.
const WINDOW_BYTES: usize = 2_000_000;
/// Most bytes that are published and not yet acked: the queue stays short, which is when the broker is fastest.
const BACKLOG_BYTES: usize = 16_000_000;

const INSERT: &str = "INSERT INTO floor_results (batch_id, chunk_no, body) \
     SELECT $1, * FROM unnest($2::bigint[], $3::bytea[]) ON CONFLICT DO NOTHING";

/// The queue and the table of the floor.
pub struct Floor {
    services: Services,
    database: String,
    queue: String,
    control: Connection,
}

impl Floor {
    /// Declares the queue and makes the table.
    pub async fn prepare(services: &Services) -> Result<Self> {
        let id = Uuid::new_v4().simple();
        let (database, queue) = (format!("bench_floor_{id}"), format!("bench.floor.{id}"));
        let maintenance = connect(&services.database_url).await?;
        maintenance
            .batch_execute(&format!("CREATE DATABASE {database}"))
            .await
            .context("creating the floor's database")?;
        let floor = Self { services: services.clone(), control: open(services).await?, database, queue };
        floor
            .database()
            .await?
            .batch_execute(
                "CREATE TABLE floor_results (batch_id uuid, chunk_no bigint, body bytea NOT NULL, PRIMARY KEY (batch_id, chunk_no)); \
                 ALTER TABLE floor_results ALTER COLUMN body SET STORAGE EXTERNAL",
            )
            .await
            .context("making the floor's table")?;
        let mut arguments = FieldTable::default();
        arguments.insert(ShortString::from("x-queue-type"), AMQPValue::LongString("quorum".into()));
        arguments.insert(ShortString::from("x-delivery-limit"), AMQPValue::LongInt(20));
        let channel = floor.control.create_channel().await?;
        channel.queue_declare(floor.queue.as_str().into(), QueueDeclareOptions::durable(), arguments).await?;
        Ok(floor)
    }

    async fn database(&self) -> Result<Client> {
        let mut url = reqwest::Url::parse(&self.services.database_url).context("MRT_DATABASE_URL")?;
        url.set_path(&self.database);
        connect(url.as_str()).await
    }

    /// Publishes for this long, then waits until everything is stored and acked.
    pub async fn run(&self, payload: &Payload, output_bytes: usize, time: Duration) -> Result<Rate> {
        self.database().await?.batch_execute("TRUNCATE floor_results").await?;
        let backlog = (BACKLOG_BYTES / payload.mean_bytes()).clamp(2 * GROUP, 20_000);
        let progress = Arc::new(Progress { room: Semaphore::new(backlog), acked: AtomicU64::new(0) });
        let output: Arc<[u8]> = vec![b'7'; output_bytes].into();

        let mut consumers = Vec::new();
        for _ in 0..CONSUMERS {
            let mut commits = Vec::new();
            for _ in 0..COMMITS {
                let client = self.database().await?;
                let insert = client.prepare(INSERT).await?;
                commits.push(Commit {
                    client,
                    insert,
                    batch: Uuid::from_u128(1),
                    output: Arc::clone(&output),
                });
            }
            let connection = open(&self.services).await?;
            let channel = connection.create_channel().await?;
            channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
            let (queue, progress) = (self.queue.clone(), Arc::clone(&progress));
            consumers.push(tokio::spawn(async move {
                let _open = connection;
                consume(&channel, &queue, &commits, &progress).await
            }));
        }

        let publishing = open(&self.services).await?;
        let channel = publishing.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let began = Instant::now();
        let chunks = publish(&channel, &self.queue, payload, &progress, began + time).await?;
        while progress.acked.load(Ordering::Acquire) < chunks {
            if consumers.iter().any(tokio::task::JoinHandle::is_finished) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let elapsed = began.elapsed();
        for consumer in consumers {
            if consumer.is_finished() {
                consumer.await.context("a consumer of the floor")??;
                bail!("a consumer of the floor ended early");
            }
            consumer.abort();
        }
        let stored: i64 =
            self.database().await?.query_one("SELECT count(*) FROM floor_results", &[]).await?.get(0);
        if u64::try_from(stored) != Ok(chunks) {
            bail!("the floor published {chunks} chunks and stored {stored}");
        }
        Ok(Rate { chunks, records: chunks * payload.records as u64, elapsed })
    }

    /// Deletes the queue and the database.
    pub async fn remove(self) -> Result<()> {
        let channel = self.control.create_channel().await?;
        channel.queue_delete(self.queue.as_str().into(), QueueDeleteOptions::default()).await?;
        let maintenance = connect(&self.services.database_url).await?;
        maintenance.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", self.database)).await?;
        Ok(())
    }
}

struct Progress {
    room: Semaphore,
    acked: AtomicU64,
}

async fn publish(
    channel: &Channel,
    queue: &str,
    payload: &Payload,
    progress: &Progress,
    until: Instant,
) -> Result<u64> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let mut window = VecDeque::new();
    let (mut in_flight, mut chunks) = (0, 0_u64);
    while Instant::now() < until {
        let data = payload.data(chunks);
        progress.room.acquire().await?.forget();
        while in_flight + data.len() > WINDOW_BYTES {
            let Some((confirm, bytes)) = window.pop_front() else { break };
            confirmed(confirm).await?;
            in_flight -= bytes;
        }
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_message_id(chunks.to_string().as_str().into());
        let confirm = channel.basic_publish("".into(), queue.into(), options, data, properties).await?;
        window.push_back((confirm, data.len()));
        in_flight += data.len();
        chunks += 1;
    }
    for (confirm, _) in window {
        confirmed(confirm).await?;
    }
    Ok(chunks)
}

/// Waits until the broker has a message.
pub async fn confirmed(confirm: lapin::PublisherConfirm) -> Result<()> {
    match confirm.await? {
        Confirmation::Ack(None) => Ok(()),
        other => bail!("the broker did not take a message of the floor: {other:?}"),
    }
}

async fn consume(channel: &Channel, queue: &str, commits: &[Commit], progress: &Progress) -> Result<()> {
    let consumer = channel
        .basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default())
        .await?;
    // A group is whatever is there, so it grows while commits are under way. `buffered` keeps their order, so that one ack can
    // stand for all messages before it, and starts the next but one only when the oldest is done: its connection is free.
    let mut committed = consumer
        .ready_chunks(GROUP)
        .enumerate()
        .map(|(at, group)| commits[at % COMMITS].store(group))
        .buffered(COMMITS);
    while let Some(group) = committed.next().await {
        let (last, count) = group?;
        last.acker.ack(BasicAckOptions { multiple: true }).await?;
        progress.acked.fetch_add(count as u64, Ordering::Release);
        progress.room.add_permits(count);
    }
    bail!("the broker ended a consumer of the floor")
}

struct Commit {
    client: Client,
    insert: Statement,
    batch: Uuid,
    output: Arc<[u8]>,
}

impl Commit {
    /// Stores a group in one statement, hence one transaction; gives its last delivery and its size.
    async fn store(&self, group: Vec<lapin::Result<Delivery>>) -> Result<(Delivery, usize)> {
        let group = group.into_iter().collect::<lapin::Result<Vec<Delivery>>>()?;
        let mut numbers = Vec::with_capacity(group.len());
        for delivery in &group {
            let number = delivery.properties.message_id().as_ref().context("a message without a number")?;
            numbers.push(number.as_str().parse::<i64>()?);
        }
        let bodies: Vec<&[u8]> = vec![&self.output; numbers.len()];
        self.client.execute(&self.insert, &[&self.batch, &numbers, &bodies]).await?;
        let count = group.len();
        Ok((group.into_iter().next_back().context("an empty group")?, count))
    }
}

/// Opens a connection to the broker.
pub async fn open(services: &Services) -> Result<Connection> {
    let properties = ConnectionProperties::default().with_connection_name("bench floor".into());
    let connecting = Connection::connect(&services.broker_url, properties);
    Ok(tokio::time::timeout(Duration::from_secs(10), connecting)
        .await
        .context("connecting to the broker")??)
}

/// Opens a connection to a database.
pub async fn connect(url: &str) -> Result<Client> {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls).await.context("connecting to the database")?;
    tokio::spawn(connection);
    Ok(client)
}
