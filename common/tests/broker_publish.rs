//! Publishing to a real broker: what `Ok` means, and how failures are told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod broker_support;

use std::time::Duration;

use broker_support::proxy::{Accept, Direction, Flow};
use broker_support::{LANE, message, messages, next, sized, take, until, until_ready, want, with_broker};
use bytes::Bytes;
use futures_util::future::join_all;
use lapin::options::BasicGetOptions;
use millrace_common::broker::{
    BrokerError, ChunkMessage, LaneId, MAX_MESSAGE_BYTES, Publisher, Queue, Topology,
};
use millrace_common::trace::TraceContext;
use tokio::time::Instant;
use uuid::Uuid;

/// Handlers run these on a runtime with several threads.
#[test]
fn futures_can_move_between_threads() {
    fn send<T: Send>(_: impl FnOnce(Publisher, Topology) -> T) {}
    send(|publisher, _| async move { publisher.publish(LANE, Vec::new()).await });
    send(|_, topology| async move { topology.declare_shared().await });
    send(|_, topology| async move { topology.declare_lane(LANE).await });
    send(|_, topology| async move { topology.purge_lane(LANE).await });
    send(|_, topology| async move { topology.lane_depth(LANE).await });
    send(|_, topology| async move { topology.delete_lane(LANE).await });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_goes_through_a_lane_unchanged() {
    with_broker(|broker| async move {
        let topology = broker.topology();
        topology.declare_lane(LANE).await.unwrap();
        let publisher = broker.publisher();
        let sent = [
            ChunkMessage {
                kind: millrace_common::broker::MessageKind::Chunk,
                batch_id: Uuid::new_v4(),
                chunk_no: i64::MAX,
                chunk_id: "Käse / \"1\"\n".to_owned(),
                epoch: 12,
                records: u32::MAX,
                charged_bytes: 1 << 40,
                scan: millrace_calc::scan(b"{\"inputs\":[{}]}").ok(),
                trace: TraceContext::parse(&format!("00-{:032x}-{:016x}-01", 5, 6), Some("vendor=1")),
                compressed: true,
                body: Bytes::from((0..=255).collect::<Vec<u8>>()),
            },
            ChunkMessage { body: Bytes::new(), ..message(0) },
            sized(2, 3_000_000),
        ];
        publisher.publish(LANE, sent.to_vec()).await.unwrap();
        assert_eq!(topology.lane_depth(LANE).await.unwrap().ready, 3);

        let (consumers, mut deliveries) = broker.consumers();
        want(&consumers, [(Queue::Lane(LANE), 10)]);
        let taken = take(&mut deliveries, 3).await;
        for (delivery, message) in taken.iter().zip(&sent) {
            assert_eq!(&delivery.message, message);
            assert_eq!((delivery.queue, delivery.redelivered), (Queue::Lane(LANE), false));
            assert!(delivery.receipt.is_live());
        }
        let settled = consumers.ack(&broker_support::receipts(&taken)).await;
        assert_eq!((settled.sent, settled.stale), (3, 0));
        let again = consumers.ack(&broker_support::receipts(&taken)).await;
        assert_eq!((again.sent, again.stale), (0, 3), "a receipt settles once");

        broker.shutdown.cancel();
        consumers.stopped().await;
        publisher.stopped().await;
        assert!(!taken[0].receipt.is_live());
        until_ready(&topology, LANE, 0).await;
        let late = publisher.publish(LANE, messages([1])).await;
        assert!(matches!(late, Err(BrokerError::ShuttingDown)), "{late:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_persistent_and_carry_no_more_than_needed() {
    with_broker(|broker| async move {
        broker.topology().declare_lane(LANE).await.unwrap();
        broker.publisher().publish(LANE, messages([1])).await.unwrap();
        let (_connection, channel) = broker.raw().await;
        let queue = broker.lane_queue(LANE);
        let got = channel.basic_get(queue.as_str().into(), BasicGetOptions { no_ack: true }).await.unwrap();
        let properties = got.unwrap().delivery.properties;
        assert_eq!(properties.delivery_mode(), &Some(2));
        assert_eq!(properties.content_encoding(), &None);
        let headers = properties.headers().as_ref().unwrap().inner();
        let names: Vec<&str> =
            headers.keys().map(|name| name.as_str()).filter(|name| !name.starts_with("x-")).collect();
        assert_eq!(names, ["batch-id", "charged-bytes", "chunk-id", "chunk-no", "lane-epoch", "records"]);
    })
    .await;
}

/// The client library hands a returned message to whichever confirm comes next; the caller whose message was returned
/// must learn of it all the same, and nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn f17_a_missing_lane_fails_its_callers_and_no_others() {
    with_broker(|broker| async move {
        let topology = broker.topology();
        topology.declare_lane(LANE).await.unwrap();
        let publisher = broker.publisher();
        let missing = LaneId(2);
        let mut expected = 0;
        for round in 0..20_i64 {
            let calls = (0..60_i64).map(|call| {
                let lane = if (call * 7 + round) % 3 == 0 { missing } else { LANE };
                let count = 1 + call % 4;
                let publisher = &publisher;
                async move { (lane, count, publisher.publish(lane, messages(0..count)).await) }
            });
            for (lane, count, outcome) in join_all(calls).await {
                if lane == LANE {
                    outcome.unwrap();
                    expected += u32::try_from(count).unwrap();
                } else {
                    let queue = broker.lane_queue(missing);
                    assert!(
                        matches!(&outcome, Err(BrokerError::Unroutable(name)) if *name == queue),
                        "{outcome:?}"
                    );
                }
            }
        }
        assert_eq!(topology.lane_depth(LANE).await.unwrap().ready, expected);
        topology.declare_lane(missing).await.unwrap();
        publisher.publish(missing, messages([1])).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f15_a_full_queue_refuses() {
    with_broker(|broker| async move {
        broker.declare_tiny_lane(LANE).await;
        let publisher = broker.publisher();
        // A burst may pass before the queue knows that it is full.
        let _ = publisher.publish(LANE, messages(0..10)).await;
        let outcome = publisher.publish(LANE, messages(0..10)).await;
        assert!(matches!(outcome, Err(BrokerError::Nacked(_))), "{outcome:?}");
        assert!(outcome.unwrap_err().is_transient());
        // After that the channel is as good as before.
        let topology = broker.topology();
        topology.declare_lane(LaneId(2)).await.unwrap();
        publisher.publish(LaneId(2), messages(0..10)).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_is_kept_and_larger_messages_pass_alone() {
    with_broker(|mut broker| async move {
        broker.config.window_bytes = 20_000;
        let topology = broker.topology();
        topology.declare_lane(LANE).await.unwrap();
        let publisher = broker.publisher();
        let calls = (0..4).map(|_| publisher.publish(LANE, messages(0..100)));
        for outcome in join_all(calls).await {
            outcome.unwrap();
        }
        publisher.publish(LANE, vec![sized(1, 100_000), sized(2, 1), sized(3, 100_000)]).await.unwrap();
        assert_eq!(topology.lane_depth(LANE).await.unwrap().ready, 403);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f18_too_large_is_refused_before_anything_is_sent() {
    with_broker(|broker| async move {
        let topology = broker.topology();
        topology.declare_lane(LANE).await.unwrap();
        let publisher = broker.publisher();
        let outcome = publisher.publish(LANE, vec![message(1), sized(2, MAX_MESSAGE_BYTES + 1)]).await;
        assert!(matches!(outcome, Err(BrokerError::TooLarge { .. })), "{outcome:?}");
        let long_id = ChunkMessage { chunk_id: "x".repeat(40_000), ..message(1) };
        let outcome = publisher.publish(LANE, vec![long_id]).await;
        assert!(matches!(outcome, Err(BrokerError::TooLarge { .. })), "{outcome:?}");
        assert_eq!(topology.lane_depth(LANE).await.unwrap().ready, 0);
        publisher.publish(LANE, vec![sized(3, MAX_MESSAGE_BYTES)]).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_waits_for_the_connection_up_to_its_deadline() {
    with_broker(|broker| async move {
        broker.topology().declare_lane(LANE).await.unwrap();
        let (proxy, mut through) = broker.through_proxy().await;
        through.config.confirm_timeout_ms = 3_000;
        proxy.down();
        let publisher = through.publisher();
        assert!(!publisher.is_ready() && !publisher.is_blocked());
        let started = Instant::now();
        let outcome = publisher.publish(LANE, messages([1])).await;
        assert!(matches!(outcome, Err(BrokerError::Unavailable(_))), "{outcome:?}");
        assert!(started.elapsed() >= Duration::from_secs(3) && started.elapsed() < Duration::from_secs(4));

        let waiting = tokio::spawn({
            let publisher = publisher.clone();
            async move { publisher.publish(LANE, messages([2])).await }
        });
        proxy.pass();
        tokio::time::timeout(Duration::from_secs(5), until("ready", || async { publisher.is_ready() }))
            .await
            .unwrap();
        // Whether this one made it depends on the backoff; the next one certainly does.
        let _ = waiting.await.unwrap();
        publisher.publish(LANE, messages([3])).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f16_a_confirm_that_is_lost_is_an_error_and_the_retry_succeeds() {
    with_broker(|broker| async move {
        broker.topology().declare_lane(LANE).await.unwrap();
        let (proxy, mut through) = broker.through_proxy().await;
        // The next word from the broker is the confirm, never a heartbeat.
        through.config.heartbeat_seconds = 60;
        let publisher = through.publisher();
        publisher.publish(LANE, messages([0])).await.unwrap();
        for round in 1..=5 {
            proxy.cut_after(Direction::ToClient, 0);
            let started = Instant::now();
            let outcome = publisher.publish(LANE, messages([round])).await;
            assert!(matches!(outcome, Err(BrokerError::Unavailable(_))), "{outcome:?}");
            assert!(started.elapsed() < Duration::from_secs(1), "the loss is noticed at once");
            publisher.publish(LANE, messages([round])).await.unwrap();
        }
        // The broker stored the first attempts as well.
        assert_eq!(broker.topology().lane_depth(LANE).await.unwrap().ready, 11);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f11_a_dead_link_costs_a_deadline_and_is_noticed_within_two_heartbeats() {
    with_broker(|broker| async move {
        broker.topology().declare_lane(LANE).await.unwrap();
        let (proxy, mut through) = broker.through_proxy().await;
        through.config.confirm_timeout_ms = 1_000;
        let publisher = through.publisher();
        publisher.publish(LANE, messages([0])).await.unwrap();
        proxy.black_hole();
        let dead_since = Instant::now();
        let outcome = publisher.publish(LANE, messages(1..50)).await;
        assert!(matches!(outcome, Err(BrokerError::Timeout(1_000))), "{outcome:?}");
        assert!(dead_since.elapsed() < Duration::from_millis(1_500));
        until("not ready", || async { !publisher.is_ready() }).await;
        // Two heartbeats of 2 s, and room for a busy machine.
        assert!(dead_since.elapsed() < Duration::from_secs(7), "{:?}", dead_since.elapsed());
        // The peer is silent now: each attempt gives up at its deadline and leaves nothing behind.
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(proxy.open() <= 2, "{} connections are left", proxy.open());
        proxy.pass();
        let took = until("ready", || async { publisher.is_ready() }).await;
        assert!(took < Duration::from_secs(8), "{took:?}");
        publisher.publish(LANE, messages([51])).await.unwrap();
    })
    .await;
}

/// `connection.blocked` and `connection.unblocked`, as the broker sends them at an alarm.
#[tokio::test(flavor = "multi_thread")]
async fn f13_a_blocked_connection_refuses_at_once_and_recovers() {
    with_broker(|broker| async move {
        broker.topology().declare_lane(LANE).await.unwrap();
        let (proxy, mut through) = broker.through_proxy().await;
        through.config.confirm_timeout_ms = 1_000;
        let publisher = through.publisher();
        publisher.publish(LANE, messages([0])).await.unwrap();
        proxy.inject(Direction::ToClient, &[1, 0, 0, 0, 0, 0, 8, 0, 10, 0, 60, 3, b'l', b'o', b'w', 0xCE]);
        until("blocked", || async { publisher.is_blocked() }).await;
        assert!(!publisher.is_ready());
        let started = Instant::now();
        let outcome = publisher.publish(LANE, messages([1])).await;
        assert!(matches!(outcome, Err(BrokerError::Blocked)), "{outcome:?}");
        assert!(started.elapsed() < Duration::from_millis(100));
        proxy.inject(Direction::ToClient, &[1, 0, 0, 0, 0, 0, 4, 0, 10, 0, 61, 0xCE]);
        until("ready", || async { publisher.is_ready() }).await;
        publisher.publish(LANE, messages([2])).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f12_a_peer_that_closes_every_connection_is_not_stormed() {
    with_broker(|broker| async move {
        let (proxy, through) = broker.through_proxy().await;
        proxy.accept(Accept::Close);
        let publisher = through.publisher();
        tokio::time::sleep(Duration::from_secs(4)).await;
        let attempts = proxy.accepted();
        assert!((3..=14).contains(&attempts), "{attempts} attempts in 4 s");
        assert!(!publisher.is_ready());
        proxy.pass();
        let took = until("ready", || async { publisher.is_ready() }).await;
        assert!(took < Duration::from_secs(6), "{took:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_call_leaves_the_publisher_in_order() {
    with_broker(|broker| async move {
        let topology = broker.topology();
        topology.declare_lane(LANE).await.unwrap();
        let (proxy, through) = broker.through_proxy().await;
        let publisher = through.publisher();
        publisher.publish(LANE, messages([0])).await.unwrap();
        proxy.flow(Direction::ToClient, Flow::Delay(Duration::from_millis(50)));
        for _ in 0..20 {
            let call = publisher.publish(LANE, messages(0..20));
            let abandoned = tokio::time::timeout(Duration::from_millis(10), call).await;
            assert!(abandoned.is_err());
        }
        publisher.publish(LANE, messages([1])).await.unwrap();
        let (consumers, mut deliveries) = broker.consumers();
        want(&consumers, [(Queue::Lane(LANE), 1)]);
        assert_eq!(next(&mut deliveries).await.message, message(0));
    })
    .await;
}
