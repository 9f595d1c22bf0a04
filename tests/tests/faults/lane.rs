//! A lane as RabbitMQ's other users see it: messages are taken out, changed and put back.

use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeleteOptions,
};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use millrace_common::broker::LaneId;
use millrace_tests::{Fleet, PATIENCE, broker, wait_until};

/// Raw access to the first lane of a fleet, which its first batch leases.
pub struct Lane {
    channel: Channel,
    connection: Connection,
    pub queue: String,
}

impl Lane {
    pub async fn of(fleet: &Fleet) -> Self {
        let connection =
            Connection::connect(&fleet.services().broker_url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Self { channel, connection, queue: format!("{}.lane.0001", fleet.prefix()) }
    }

    /// Takes everything out that waits.
    pub async fn take(&self) -> Vec<Delivery> {
        let mut taken = Vec::new();
        while let Some(message) =
            self.channel.basic_get(self.queue.as_str().into(), BasicGetOptions::default()).await.unwrap()
        {
            self.channel.basic_ack(message.delivery.delivery_tag, BasicAckOptions::default()).await.unwrap();
            taken.push(message.delivery);
        }
        taken
    }

    /// Takes messages and says nothing of them, as a consumer does whose machine is gone. They come back when it hangs up.
    pub async fn hold(self, messages: usize) -> Self {
        for _ in 0..messages {
            let queue = self.queue.as_str().into();
            assert!(self.channel.basic_get(queue, BasicGetOptions::default()).await.unwrap().is_some());
        }
        self
    }

    /// Closes the connection; what it held is in the lane again.
    pub async fn hang_up(self) {
        self.connection.close(200, "".into()).await.unwrap();
    }

    /// Puts a message in.
    pub async fn put(&self, properties: BasicProperties, body: &[u8]) {
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let queue = self.queue.as_str().into();
        let confirm = self.channel.basic_publish("".into(), queue, options, body, properties).await.unwrap();
        assert!(confirm.await.unwrap().take_message().is_none(), "the lane does not exist");
    }

    /// Deletes the queue with everything in it.
    pub async fn delete(&self) {
        let options = QueueDeleteOptions::default();
        self.channel.queue_delete(self.queue.as_str().into(), options).await.unwrap();
    }
}

/// Waits until so many messages wait in the first lane for a consumer.
pub async fn until_ready(fleet: &Fleet, messages: u32) {
    let broker = broker(fleet);
    wait_until(&format!("{messages} messages wait in the lane"), PATIENCE, || async {
        let depth = broker.lane_depth(LaneId(1)).await?;
        anyhow::ensure!(depth.ready == messages, "there are {}", depth.ready);
        Ok(Some(()))
    })
    .await
    .unwrap();
}

/// How often chunks were started after a redelivery, for each chunk of the fleet's batches.
pub async fn attempts(fleet: &Fleet) -> Vec<(String, i32)> {
    let database = fleet.database().connect().await.unwrap();
    let rows = database.query("SELECT chunk_id, attempts FROM chunks ORDER BY chunk_no", &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// One number from the fleet's database.
pub async fn count(fleet: &Fleet, query: &str) -> i64 {
    fleet.database().connect().await.unwrap().query_one(query, &[]).await.unwrap().get(0)
}
