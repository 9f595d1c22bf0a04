//! The floor of recipes: what the broker and the database themselves do with the same rows, and nothing else.
//!
//! Publish with confirms to a quorum queue → consume → insert a group of recipes with their jobs, each row once and in its last
//! state → ack. The tables are Millrace's own, with their indexes, without their foreign keys.

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use futures_util::{StreamExt, future::try_join_all};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Connection};
use millrace_tests::Services;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::floor::{confirmed, connect, open};

/// Consumers, each with connections of its own.
const CONSUMERS: u64 = 2;
/// Recipes of a message.
const GROUP: u64 = 400;

const INSERT_RECIPES: &str = "
INSERT INTO recipes (id, tenant_id, batch_id, recipe_type_id, recipe_type_rev_id, event_id, member_id, input, input_hash,
    is_completed, completed)
SELECT id, $2, 1, 1, 1, 1, id, input::jsonb, hash, true, clock_timestamp()
FROM unnest($1::int8[], $3::text[], $4::bytea[]) AS n (id, input, hash)";

const INSERT_JOBS: &str = "
INSERT INTO jobs (id, tenant_id, batch_id, recipe_id, node, job_type_id, job_type_rev_id, event_id, status, priority, num_exes,
    output, worker_id, worker_name, queued, started, ended, seed_micros)
SELECT id, $2, 1, recipe_id, node, 1, 1, 1, 'COMPLETED', 100, 1, output::jsonb, $2, 'floor', clock_timestamp(),
    clock_timestamp(), clock_timestamp(), 1
FROM unnest($1::int8[], $3::int8[], $4::int2[], $5::text[]) AS n (id, recipe_id, node, output)";

/// A queue and a database.
pub struct Floor {
    services: Services,
    database: millrace_tests::Database,
    queue: String,
    control: Connection,
}

impl Floor {
    /// Declares the queue and makes the tables.
    pub async fn prepare(services: &Services) -> Result<Self> {
        let database = services.create_database().await?;
        let client = database.connect().await?;
        client.batch_execute("ALTER TABLE recipes DROP CONSTRAINT IF EXISTS recipes_batch_id_fkey").await?;
        let queue = format!("bench.floor.{}", Uuid::new_v4().simple());
        let floor = Self { services: services.clone(), control: open(services).await?, database, queue };
        let mut arguments = FieldTable::default();
        arguments.insert(ShortString::from("x-queue-type"), AMQPValue::LongString("quorum".into()));
        let channel = floor.control.create_channel().await?;
        channel.queue_declare(floor.queue.as_str().into(), QueueDeclareOptions::durable(), arguments).await?;
        Ok(floor)
    }

    /// Stores this many recipes with so many jobs each; gives recipes a second.
    pub async fn run(&self, recipes: u64, jobs: u64) -> Result<f64> {
        self.database.connect().await?.batch_execute("TRUNCATE recipes, jobs").await?;
        let messages = recipes.div_ceil(GROUP);
        let began = Instant::now();
        let consuming = try_join_all((0..CONSUMERS).map(|consumer| {
            let share = messages / CONSUMERS + u64::from(consumer < messages % CONSUMERS);
            self.consume(share, recipes, jobs)
        }));
        let publishing = async {
            let connection = open(&self.services).await?;
            let channel = connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            let mut confirms = Vec::new();
            for number in 0..messages {
                let properties = BasicProperties::default()
                    .with_delivery_mode(2)
                    .with_message_id(number.to_string().as_str().into());
                let queue = self.queue.as_str().into();
                confirms.push(channel.basic_publish("".into(), queue, options, b"", properties).await?);
            }
            for confirm in confirms {
                confirmed(confirm).await?;
            }
            anyhow::Ok(())
        };
        tokio::try_join!(publishing, consuming)?;
        let took = began.elapsed().as_secs_f64();
        let client = self.database.connect().await?;
        let row = client.query_one("SELECT (SELECT count(*) FROM recipes), (SELECT count(*) FROM jobs)", &[]);
        let row = row.await?;
        let stored = (row.get::<_, i64>(0).unsigned_abs(), row.get::<_, i64>(1).unsigned_abs());
        ensure!(stored == (recipes, recipes * jobs), "the floor stored {stored:?} recipes and jobs");
        Ok(recipes as f64 / took)
    }

    /// Takes so many messages, and stores what each stands for.
    async fn consume(&self, messages: u64, recipes: u64, jobs: u64) -> Result<()> {
        let client = self.database.connect().await?;
        let statements = (client.prepare(INSERT_RECIPES).await?, client.prepare(INSERT_JOBS).await?);
        let connection = open(&self.services).await?;
        let channel = connection.create_channel().await?;
        channel.basic_qos(1, BasicQosOptions::default()).await?;
        let queue = self.queue.as_str().into();
        let options = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(queue, "".into(), options, FieldTable::default()).await?;
        let mut deliveries = consumer.take(usize::try_from(messages)?);
        while let Some(delivery) = deliveries.next().await {
            let delivery = delivery?;
            let number = delivery.properties.message_id().as_ref().context("a message without a number")?;
            let first = number.as_str().parse::<u64>()? * GROUP;
            let range = i64::try_from(first)?..i64::try_from((first + GROUP).min(recipes))?;
            store(&client, &statements, range, i64::try_from(jobs)?).await?;
            delivery.acker.ack(BasicAckOptions::default()).await?;
        }
        if messages > 0 && client.is_closed() {
            bail!("a connection of the floor ended");
        }
        Ok(())
    }

    /// Deletes the queue and the database.
    pub async fn remove(self) -> Result<()> {
        let channel = self.control.create_channel().await?;
        channel.queue_delete(self.queue.as_str().into(), QueueDeleteOptions::default()).await?;
        let maintenance = connect(&self.services.database_url).await?;
        maintenance.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", self.database.name())).await?;
        Ok(())
    }
}

/// Stores recipes and their jobs in one transaction.
async fn store(
    client: &Client,
    (insert_recipes, insert_jobs): &(tokio_postgres::Statement, tokio_postgres::Statement),
    recipes: std::ops::Range<i64>,
    jobs: i64,
) -> Result<()> {
    let tenant = Uuid::from_u128(1);
    let ids: Vec<i64> = recipes.clone().collect();
    let inputs: Vec<String> = ids
        .iter()
        .map(|id| {
            format!(r#"{{"json":{{"quantity":{},"price":{}.25,"rate":0.25}}}}"#, id % 1_000, id / 1_000)
        })
        .collect();
    // Spread like the hashes that they stand for.
    let hashes: Vec<Vec<u8>> = ids
        .iter()
        .map(|id| {
            let part = id.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64.cast_signed()).to_be_bytes();
            part.repeat(4)
        })
        .collect();
    let (mut job_ids, mut recipe_ids, mut nodes, mut outputs) = (vec![], vec![], vec![], vec![]);
    for id in recipes {
        for node in 0..jobs {
            job_ids.push(id * jobs + node);
            recipe_ids.push(id);
            nodes.push(i16::try_from(node)?);
            outputs.push(format!(r#"{{"json":{{"total":{}.25}}}}"#, id * node));
        }
    }
    client.batch_execute("BEGIN").await?;
    client.execute(insert_recipes, &[&ids, &tenant, &inputs, &hashes]).await?;
    client.execute(insert_jobs, &[&job_ids, &tenant, &recipe_ids, &nodes, &outputs]).await?;
    client.batch_execute("COMMIT").await?;
    Ok(())
}
