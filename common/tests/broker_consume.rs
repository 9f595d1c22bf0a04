//! Consuming from a real broker: settling, giving back, dead letters, and a set of queues that changes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod broker_support;

use std::time::Duration;

use broker_support::{
    LANE, message, messages, next, nothing, numbers, receipts, take, until, until_ready, want, with_broker,
};
use lapin::BasicProperties;
use lapin::options::{QueueDeleteOptions, QueuePurgeOptions};
use millrace_common::broker::{BrokerError, Consumers, LaneId, Queue, Receipt};

const LANE_QUEUE: Queue = Queue::Lane(LANE);

#[test]
fn futures_can_move_between_threads() {
    fn send<T: Send>(_: impl FnOnce(Consumers, Vec<Receipt>) -> T) {}
    send(|consumers, receipts| async move { consumers.ack(&receipts).await });
    send(|consumers, receipts| async move { consumers.requeue(&receipts).await });
    send(|consumers, _| async move { consumers.stopped().await });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_back_comes_again_and_is_marked() {
    with_broker(|broker| async move {
        broker.topology().declare_lane(LANE).await.unwrap();
        broker.publisher().publish(LANE, messages([1, 2])).await.unwrap();
        let (consumers, mut deliveries) = broker.consumers();
        want(&consumers, [(LANE_QUEUE, 10)]);
        let first = take(&mut deliveries, 2).await;
        assert!(first.iter().all(|delivery| !delivery.redelivered));
        assert_eq!(consumers.requeue(&receipts(&first[..1])).await.sent, 1);
        let again = next(&mut deliveries).await;
        assert_eq!((again.message.chunk_no, again.redelivered), (first[0].message.chunk_no, true));
        assert_eq!(consumers.requeue(&receipts(&first[..1])).await.stale, 1);
        consumers.ack(&receipts([&first[1], &again])).await;
        nothing(&mut deliveries).await;
        until_ready(&broker.topology(), LANE, 0).await;
    })
    .await;
}

/// Acknowledgements in any order, in groups: exactly the acknowledged messages are gone afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn no_message_is_acknowledged_before_its_time() {
    with_broker(|mut broker| async move {
        broker.config.delivery_limit = 100;
        let topology = broker.topology();
        topology.declare_lane(LANE).await.unwrap();
        broker.publisher().publish(LANE, messages(0..60)).await.unwrap();
        let mut left: Vec<i64> = (0..60).collect();
        // Each round settles some of what it gets, in its own order, and leaves the rest to the next round.
        let rounds: [&[&[usize]]; 4] = [
            &[&[3, 1], &[0], &[2, 4, 9, 8], &[20, 19, 18], &[5]],
            &[&[1], &[2], &[3], &[10, 12, 14, 11]],
            &[&[0, 1, 2, 3, 4, 5, 6, 7], &[20], &[9, 8]],
            &[&[25, 24, 23, 22, 21], &[0], &[1, 2, 20]],
        ];
        for groups in rounds {
            let round = broker_support::Broker { shutdown: broker.shutdown.child_token(), ..broker.clone() };
            let (consumers, mut deliveries) = round.consumers();
            want(&consumers, [(LANE_QUEUE, 100)]);
            let taken = take(&mut deliveries, left.len()).await;
            nothing(&mut deliveries).await;
            assert_eq!(numbers(&taken), left);
            for group in groups {
                let group: Vec<_> = group.iter().map(|index| &taken[*index]).collect();
                assert_eq!(consumers.ack(&receipts(group.iter().copied())).await.sent, group.len());
                left.retain(|number| !group.iter().any(|delivery| delivery.message.chunk_no == *number));
            }
            round.shutdown.cancel();
            consumers.stopped().await;
            until_ready(&topology, LANE, u32::try_from(left.len()).unwrap()).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prefetch_bounds_what_is_held_even_when_nobody_receives() {
    with_broker(|broker| async move {
        let topology = broker.topology();
        topology.declare_lane(LANE).await.unwrap();
        broker.publisher().publish(LANE, messages(0..200)).await.unwrap();
        let (consumers, mut deliveries) = broker.consumers();
        want(&consumers, [(LANE_QUEUE, 150)]);
        until_ready(&topology, LANE, 50).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(topology.lane_depth(LANE).await.unwrap().ready, 50);
        let taken = take(&mut deliveries, 150).await;
        nothing(&mut deliveries).await;
        consumers.ack(&receipts(&taken)).await;
        take(&mut deliveries, 50).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unwanted_lane_is_given_up_and_its_receipts_stay_good() {
    with_broker(|broker| async move {
        let topology = broker.topology();
        let other = LaneId(2);
        for lane in [LANE, other] {
            topology.declare_lane(lane).await.unwrap();
        }
        let publisher = broker.publisher();
        publisher.publish(LANE, messages(0..150)).await.unwrap();
        let (consumers, mut deliveries) = broker.consumers();
        want(&consumers, [(LANE_QUEUE, 200), (Queue::Lane(other), 5)]);
        until("ready", || async { consumers.is_ready() }).await;
        let taken = take(&mut deliveries, 10).await;
        want(&consumers, [(Queue::Lane(other), 5)]);
        until("given up", || async {
            let depth = topology.lane_depth(LANE).await.unwrap();
            // 150 less the 10 that were handed out and the 64 that may wait to be.
            depth.ready >= 76
        })
        .await;
        assert!(consumers.is_ready());
        assert!(taken.iter().all(|delivery| delivery.receipt.is_live()));
        assert_eq!(consumers.ack(&receipts(&taken)).await.sent, 10);
        let mut waiting = Vec::new();
        while let Ok(delivery) = deliveries.try_recv() {
            waiting.push(delivery);
        }
        assert_eq!(consumers.requeue(&receipts(&waiting)).await.sent, waiting.len());
        until_ready(&topology, LANE, 140).await;
        // With the last receipt the channel goes.
        until("stale", || async { !taken[0].receipt.is_live() }).await;
        assert_eq!(topology.lane_depth(LANE).await.unwrap().consumers, 0);
        publisher.publish(other, messages([7])).await.unwrap();
        assert_eq!(next(&mut deliveries).await.queue, Queue::Lane(other));
        // Wanted again.
        want(&consumers, [(LANE_QUEUE, 200)]);
        let again = take(&mut deliveries, 140).await;
        assert_eq!(numbers(&again).len(), 140);
        assert_eq!(consumers.ack(&receipts(&again)).await.sent, 140);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_prefetch_count_keeps_the_deliveries() {
    with_broker(|broker| async move {
        let topology = broker.topology();
        topology.declare_lane(LANE).await.unwrap();
        broker.publisher().publish(LANE, messages(0..30)).await.unwrap();
        let (consumers, mut deliveries) = broker.consumers();
        want(&consumers, [(LANE_QUEUE, 10)]);
        let mut taken = take(&mut deliveries, 10).await;
        nothing(&mut deliveries).await;
        want(&consumers, [(LANE_QUEUE, 20)]);
        taken.extend(take(&mut deliveries, 20).await);
        assert!(taken.iter().all(|delivery| delivery.receipt.is_live() && !delivery.redelivered));
        assert_eq!(numbers(&taken), (0..30).collect::<Vec<_>>());
        assert_eq!(consumers.ack(&receipts(&taken)).await.sent, 30);
        want(&consumers, [(LANE_QUEUE, 3)]);
        until("ready", || async { consumers.is_ready() }).await;
        broker.publisher().publish(LANE, messages(0..10)).await.unwrap();
        take(&mut deliveries, 3).await;
        nothing(&mut deliveries).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f07_a_lane_that_does_not_exist_is_declared_and_counted() {
    with_broker(|broker| async move {
        let topology = broker.topology();
        let publisher = broker.publisher();
        let (consumers, mut deliveries) = broker.consumers();
        want(&consumers, [(LANE_QUEUE, 10)]);
        until("ready", || async { consumers.is_ready() }).await;
        assert_eq!(consumers.redeclared(), 1);
        publisher.publish(LANE, messages([1])).await.unwrap();
        let before = next(&mut deliveries).await;

        // Deleted while it is consumed (F7).
        let (_connection, channel) = broker.raw().await;
        let queue = broker.lane_queue(LANE);
        channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
        until("declared again", || async { consumers.redeclared() == 2 && consumers.is_ready() }).await;
        assert!(!before.receipt.is_live());
        assert_eq!(consumers.ack(&receipts([&before])).await.stale, 1);
        publisher.publish(LANE, messages([2])).await.unwrap();
        let after = next(&mut deliveries).await;
        assert_eq!((after.message.chunk_no, after.redelivered), (2, false));
        // It is a lane as any other: declaring it again changes nothing.
        topology.declare_lane(LANE).await.unwrap();
        assert_eq!(consumers.ack(&receipts([&after])).await.sent, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_delivery_limit_a_chunk_becomes_a_dead_letter() {
    with_broker(|mut broker| async move {
        broker.config.delivery_limit = 2;
        broker.topology().declare_lane(LANE).await.unwrap();
        broker.publisher().publish(LANE, messages([1, 2])).await.unwrap();
        let (consumers, mut deliveries) = broker.consumers();
        want(&consumers, [(LANE_QUEUE, 10), (Queue::Dead, 10)]);
        let mut handed_out = 0;
        let dead = loop {
            let delivery = next(&mut deliveries).await;
            match (delivery.queue, delivery.message.chunk_no) {
                (Queue::Dead, _) => break delivery,
                (_, 2) => assert_eq!(consumers.ack(&receipts([&delivery])).await.sent, 1),
                _ => {
                    handed_out += 1;
                    assert_eq!(consumers.requeue(&receipts([&delivery])).await.sent, 1);
                }
            }
        };
        assert_eq!(handed_out, 3);
        assert_eq!(dead.message, message(1));
        consumers.ack(&receipts([&dead])).await;
        nothing(&mut deliveries).await;
        until("no dead letters", || async {
            broker.topology().dead_depth().await.is_ok_and(|depth| depth.ready == 0)
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f19_what_is_no_chunk_never_reaches_the_caller() {
    with_broker(|broker| async move {
        let topology = broker.topology();
        topology.declare_lane(LANE).await.unwrap();
        broker.publish_raw(&broker.lane_queue(LANE), BasicProperties::default(), b"{}").await;
        let (consumers, mut deliveries) = broker.consumers();
        want(&consumers, [(LANE_QUEUE, 1)]);
        // Prefetch 1: the refused message makes room for the next.
        broker.publisher().publish(LANE, messages([1])).await.unwrap();
        assert_eq!(next(&mut deliveries).await.message.chunk_no, 1);
        assert_eq!(consumers.malformed(), 1);
        until("a dead letter", || async { topology.dead_depth().await.is_ok_and(|depth| depth.ready == 1) })
            .await;
        want(&consumers, [(LANE_QUEUE, 1), (Queue::Dead, 1)]);
        until("both refused", || async { consumers.malformed() == 2 }).await;
        nothing(&mut deliveries).await;
        until("no dead letters", || async {
            topology.dead_depth().await.is_ok_and(|depth| depth.ready == 0)
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topology_tells_what_is_there() {
    with_broker(|broker| async move {
        let topology = broker.topology();
        let missing = topology.lane_depth(LANE).await;
        assert!(matches!(missing, Err(BrokerError::NotFound(_))), "{missing:?}");
        let missing = topology.purge_lane(LANE).await;
        assert!(matches!(missing, Err(BrokerError::NotFound(_))), "{missing:?}");
        topology.delete_lane(LANE).await.unwrap();
        topology.declare_lane(LANE).await.unwrap();
        broker.publisher().publish(LANE, messages(0..5)).await.unwrap();
        assert_eq!(topology.purge_lane(LANE).await.unwrap(), 5);
        assert_eq!(topology.lane_depth(LANE).await.unwrap().ready, 0);
        // The same name with other properties is for an operator.
        let mut other = broker.clone();
        other.config.delivery_limit += 1;
        let mismatch = other.topology().declare_lane(LANE).await;
        assert!(matches!(mismatch, Err(BrokerError::Mismatch(_))), "{mismatch:?}");
        let (_connection, channel) = broker.raw().await;
        let queue = broker.lane_queue(LANE);
        channel.queue_purge(queue.as_str().into(), QueuePurgeOptions::default()).await.unwrap();
        let mut wrong = broker.clone();
        wrong.config.url = millrace_common::config::Secret::new("http://nowhere");
        let refused = wrong.topology().declare_shared().await;
        assert!(matches!(refused, Err(BrokerError::BadUrl(_))), "{refused:?}");
    })
    .await;
}
