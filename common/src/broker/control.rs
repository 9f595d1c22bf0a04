//! Control events: they make things quick, and nothing depends on them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Consumer};
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use uuid::Uuid;

use super::error::BrokerError;
use super::link::{Backoff, CurrentLink, Link, LinkOptions, SMALL_FRAMES, next_link, supervise, within};
use super::names::Names;
use super::topology::declare_control;
use crate::config::BrokerConfig;

/// Events that wait to be sent; further ones are dropped.
const WAITING_EVENTS: usize = 256;
/// Events that a subscriber may lag behind before it misses some.
const SUBSCRIBER_LAG: usize = 256;

/// What every process is told at once. All of it can also be read from the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ControlEvent {
    /// A batch was opened.
    BatchOpened {
        /// The batch.
        batch_id: Uuid,
    },
    /// A batch takes no more chunks.
    BatchClosed {
        /// The batch.
        batch_id: Uuid,
    },
    /// A closed batch has its outcome: nothing about it changes any more but that its results are pulled.
    BatchFinished {
        /// The batch.
        batch_id: Uuid,
    },
    /// A batch was cancelled: nothing of it is to be evaluated any more.
    BatchCancelled {
        /// The batch.
        batch_id: Uuid,
    },
    /// A batch was paused.
    BatchPaused {
        /// The batch.
        batch_id: Uuid,
    },
    /// A paused batch goes on.
    BatchResumed {
        /// The batch.
        batch_id: Uuid,
    },
    /// Batches, quotas or workers changed so that the plan may be another. A process also tells itself this when its
    /// control connection was rebuilt, because it may have missed events.
    PlanChanged,
}

/// Sends and receives control events. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Control {
    outgoing: mpsc::Sender<ControlEvent>,
    incoming: broadcast::Sender<ControlEvent>,
    listening: Arc<AtomicBool>,
    stopped: CancellationToken,
}

impl Control {
    /// Starts to connect; to be called within a runtime.
    pub fn start(config: &BrokerConfig, shutdown: CancellationToken) -> Self {
        let options = LinkOptions::new(config, "control").frame_max(SMALL_FRAMES);
        let setup = options.setup;
        let (link, supervisor) = supervise(options, shutdown.clone());
        let (outgoing, events) = mpsc::channel(WAITING_EVENTS);
        let (incoming, _) = broadcast::channel(SUBSCRIBER_LAG);
        let control = Self {
            outgoing,
            incoming: incoming.clone(),
            listening: Arc::new(AtomicBool::new(false)),
            stopped: CancellationToken::new(),
        };
        let names = Names::new(&config.prefix);
        let listening = Arc::clone(&control.listening);
        tokio::spawn(listen(link.clone(), names.clone(), setup, incoming, listening));
        tokio::spawn(speak(link, names, setup, events, shutdown));
        let done = control.stopped.clone();
        tokio::spawn(async move {
            let _ = supervisor.await;
            done.cancel();
        });
        control
    }

    /// Events from now on, those that this process sends included. Who lags more than 256 events behind misses some,
    /// and should look at everything.
    pub fn subscribe(&self) -> broadcast::Receiver<ControlEvent> {
        self.incoming.subscribe()
    }

    /// Tells every process. Never waits and never fails: events are dropped when too many wait for a connection.
    pub fn send(&self, event: ControlEvent) {
        if self.outgoing.try_send(event).is_err() {
            debug!("dropped a control event");
        }
    }

    /// Whether events of other processes arrive.
    pub fn is_ready(&self) -> bool {
        self.listening.load(Ordering::Relaxed)
    }

    /// Waits until, after the shutdown, the connection is closed.
    pub async fn stopped(&self) {
        self.stopped.cancelled().await;
    }
}

/// Receives events on one connection after another.
async fn listen(
    mut current: CurrentLink,
    names: Names,
    setup: std::time::Duration,
    incoming: broadcast::Sender<ControlEvent>,
    listening: Arc<AtomicBool>,
) {
    let mut backoff = Backoff::new();
    while let Some(link) = next_link(&mut current).await {
        match within(setup, subscribe(&link, &names)).await {
            Ok((_channel, mut consumer)) => {
                backoff.succeeded();
                listening.store(true, Ordering::Relaxed);
                // Events may have passed while nobody listened.
                let _ = incoming.send(ControlEvent::PlanChanged);
                // The stream is never polled again after its first error or end.
                while let Some(Ok(delivery)) = consumer.next().await {
                    match serde_json::from_slice(&delivery.data) {
                        // Without a subscriber nobody misses it.
                        Ok(event) => drop(incoming.send(event)),
                        // Of a newer or older version.
                        Err(_) => debug!("ignored an unknown control event"),
                    }
                }
                listening.store(false, Ordering::Relaxed);
            }
            Err(error) if link.is_up() => warn!(%error, "cannot listen to control events"),
            Err(_) => {}
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

/// An exclusive queue of this process, bound to the exchange.
async fn subscribe(link: &Link, names: &Names) -> Result<(Channel, Consumer), BrokerError> {
    let channel = link.channel().await?;
    declare_control(&channel, names).await?;
    let options = QueueDeclareOptions::exclusive().auto_delete();
    let queue = channel.queue_declare("".into(), options, FieldTable::default()).await?;
    let (exchange, nothing) = (names.control(), FieldTable::default());
    let options = QueueBindOptions::default();
    channel.queue_bind(queue.name().clone(), exchange.as_str().into(), "".into(), options, nothing).await?;
    let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
    let consumer =
        channel.basic_consume(queue.name().clone(), "".into(), options, FieldTable::default()).await?;
    Ok((channel, consumer))
}

/// Sends events on one connection after another.
async fn speak(
    mut current: CurrentLink,
    names: Names,
    setup: std::time::Duration,
    mut events: mpsc::Receiver<ControlEvent>,
    shutdown: CancellationToken,
) {
    let mut backoff = Backoff::new();
    while let Some(link) = next_link(&mut current).await {
        let opened = within(setup, async {
            let channel = link.channel().await?;
            declare_control(&channel, &names).await?;
            Ok(channel)
        });
        if let Ok(channel) = opened.await {
            backoff.succeeded();
            while channel.status().connected() && link.is_up() {
                let event = tokio::select! {
                    event = events.recv() => event,
                    () = link.ended().cancelled() => break,
                    () = shutdown.cancelled() => None,
                };
                let Some(event) = event else { return };
                let Ok(body) = serde_json::to_vec(&event) else { continue };
                let options = BasicPublishOptions::default();
                let properties = BasicProperties::default().with_content_type("application/json".into());
                let exchange = names.control();
                let sent =
                    channel.basic_publish(exchange.as_str().into(), "".into(), options, &body, properties);
                if sent.await.is_err() {
                    break;
                }
            }
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn events_have_a_stable_form() {
        let event = ControlEvent::BatchCancelled { batch_id: Uuid::nil() };
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(text, r#"{"event":"batch_cancelled","batch_id":"00000000-0000-0000-0000-000000000000"}"#);
        assert_eq!(serde_json::from_str::<ControlEvent>(&text).unwrap(), event);
        assert_eq!(serde_json::to_string(&ControlEvent::PlanChanged).unwrap(), r#"{"event":"plan_changed"}"#);
    }
}
