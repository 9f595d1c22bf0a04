//! Consuming and control events over broken connections to a real broker.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod broker_support;

use std::collections::BTreeSet;
use std::time::Duration;

use broker_support::proxy::{Accept, Direction, Flow};
use broker_support::{
    LANE, messages, next, nothing, numbers, receipts, take, until, until_ready, want, with_broker,
};
use millrace_common::broker::{Control, ControlEvent, Queue};
use tokio::sync::broadcast;
use tokio::time::Instant;
use uuid::Uuid;

const LANE_QUEUE: Queue = Queue::Lane(LANE);

#[tokio::test(flavor = "multi_thread")]
async fn f43_after_a_cut_consumption_goes_on_with_the_same_limit() {
    with_broker(|broker| async move {
        let topology = broker.topology();
        topology.declare_lane(LANE).await.unwrap();
        broker.publisher().publish(LANE, messages(0..40)).await.unwrap();
        let (proxy, through) = broker.through_proxy().await;
        let (consumers, mut deliveries) = through.consumers();
        want(&consumers, [(LANE_QUEUE, 8)]);
        let mut seen = BTreeSet::new();
        for _ in 0..3 {
            let before = take(&mut deliveries, 8).await;
            // Part of it is acknowledged and stays so; the rest comes again.
            assert_eq!(consumers.ack(&receipts(&before[..2])).await.sent, 2);
            seen.extend(numbers(&before[..2]));
            let more = take(&mut deliveries, 2).await;
            nothing(&mut deliveries).await;
            proxy.cut();
            let cut = Instant::now();
            until("stale", || async { !before[2].receipt.is_live() }).await;
            assert!(cut.elapsed() < Duration::from_secs(1));
            let late = consumers.ack(&receipts(before.iter().chain(&more))).await;
            assert_eq!((late.sent, late.stale), (0, 10));

            let again = take(&mut deliveries, 8).await;
            assert!(cut.elapsed() < Duration::from_secs(3), "{:?}", cut.elapsed());
            assert!(again.iter().all(|delivery| delivery.redelivered && delivery.receipt.is_live()));
            assert!(numbers(&again).iter().all(|number| !seen.contains(number)));
            // Still 8 and no more (F43).
            nothing(&mut deliveries).await;
            assert_eq!(consumers.requeue(&receipts(&again)).await.sent, 8);
        }
        proxy.pass();
        while seen.len() < 40 {
            let delivery = next(&mut deliveries).await;
            assert!(seen.insert(delivery.message.chunk_no), "acknowledged messages do not come again");
            consumers.ack(&receipts([&delivery])).await;
        }
        nothing(&mut deliveries).await;
        until_ready(&topology, LANE, 0).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f10_an_outage_ends_within_the_backoff() {
    with_broker(|broker| async move {
        broker.topology().declare_lane(LANE).await.unwrap();
        let (proxy, through) = broker.through_proxy().await;
        let (consumers, mut deliveries) = through.consumers();
        want(&consumers, [(LANE_QUEUE, 8)]);
        until("ready", || async { consumers.is_ready() }).await;
        proxy.down();
        until("not ready", || async { !consumers.is_ready() }).await;
        broker.publisher().publish(LANE, messages([1])).await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        proxy.pass();
        let back = Instant::now();
        next(&mut deliveries).await;
        assert!(back.elapsed() < Duration::from_secs(3), "{:?}", back.elapsed());
    })
    .await;
}

/// An acknowledgement that is written but never arrives: the message comes again (F3).
#[tokio::test(flavor = "multi_thread")]
async fn f03_a_lost_acknowledgement_means_a_redelivery() {
    with_broker(|broker| async move {
        broker.topology().declare_lane(LANE).await.unwrap();
        broker.publisher().publish(LANE, messages([1])).await.unwrap();
        let (proxy, through) = broker.through_proxy().await;
        let (consumers, mut deliveries) = through.consumers();
        want(&consumers, [(LANE_QUEUE, 8)]);
        let first = next(&mut deliveries).await;
        proxy.cut_after(Direction::ToServer, 0);
        assert_eq!(consumers.ack(&receipts([&first])).await.sent, 1);
        let again = next(&mut deliveries).await;
        assert!(again.redelivered);
        assert_eq!(again.message, first.message);
        assert_eq!(consumers.ack(&receipts([&first, &again])).await.sent, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f11_a_half_open_link_is_noticed_within_two_heartbeats() {
    with_broker(|broker| async move {
        broker.topology().declare_lane(LANE).await.unwrap();
        let (proxy, through) = broker.through_proxy().await;
        let (consumers, mut deliveries) = through.consumers();
        want(&consumers, [(LANE_QUEUE, 8)]);
        broker.publisher().publish(LANE, messages([1])).await.unwrap();
        let first = next(&mut deliveries).await;
        proxy.flow(Direction::ToServer, Flow::Swallow);
        proxy.flow(Direction::ToClient, Flow::Swallow);
        let dead = Instant::now();
        until("noticed", || async { !first.receipt.is_live() }).await;
        // Two heartbeats of 2 s, and room for a busy machine.
        assert!(dead.elapsed() < Duration::from_secs(7), "{:?}", dead.elapsed());
        // New connections were accepted and stay silent: attempts give up, one after another.
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert!(proxy.open() <= 3, "{} connections are left", proxy.open());
        proxy.pass();
        let back = Instant::now();
        let again = next(&mut deliveries).await;
        assert!(again.redelivered);
        // The attempt under way (2 s), then the backoff.
        assert!(back.elapsed() < Duration::from_secs(8), "{:?}", back.elapsed());
    })
    .await;
}

/// Only one direction is dead: nothing that is sent arrives, while deliveries still come.
#[tokio::test(flavor = "multi_thread")]
async fn f11_a_link_that_is_dead_in_one_direction_is_given_up() {
    with_broker(|broker| async move {
        broker.topology().declare_lane(LANE).await.unwrap();
        let (proxy, through) = broker.through_proxy().await;
        let (consumers, mut deliveries) = through.consumers();
        want(&consumers, [(LANE_QUEUE, 8)]);
        broker.publisher().publish(LANE, messages([1])).await.unwrap();
        let first = next(&mut deliveries).await;
        proxy.flow(Direction::ToServer, Flow::Swallow);
        consumers.ack(&receipts([&first])).await;
        // The broker misses our heartbeats and closes the connection, or falls silent.
        until("noticed", || async { !first.receipt.is_live() }).await;
        proxy.pass();
        assert!(next(&mut deliveries).await.redelivered);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f11_a_silent_peer_costs_one_connection_at_a_time() {
    with_broker(|broker| async move {
        broker.topology().declare_lane(LANE).await.unwrap();
        let (proxy, through) = broker.through_proxy().await;
        proxy.accept(Accept::Silent);
        let (consumers, mut deliveries) = through.consumers();
        want(&consumers, [(LANE_QUEUE, 8)]);
        // The set-up deadline is 2 s, and the pauses between attempts are short at first.
        until("several attempts", || async { proxy.accepted() >= 4 }).await;
        assert!(proxy.open() <= 1, "{} connections are open", proxy.open());
        assert!(!consumers.is_ready());
        proxy.pass();
        broker.publisher().publish(LANE, messages([1])).await.unwrap();
        next(&mut deliveries).await;
    })
    .await;
}

/// The broker closes the channel and keeps the connection (F8), as for a consumer timeout (F6).
#[tokio::test(flavor = "multi_thread")]
async fn f08_a_channel_error_leaves_no_zombie() {
    with_broker(|broker| async move {
        let topology = broker.topology();
        topology.declare_lane(LANE).await.unwrap();
        let (proxy, through) = broker.through_proxy().await;
        let (consumers, mut deliveries) = through.consumers();
        want(&consumers, [(LANE_QUEUE, 8)]);
        broker.publisher().publish(LANE, messages([1])).await.unwrap();
        let first = next(&mut deliveries).await;
        let connections = proxy.accepted();
        // basic.ack of a delivery tag that does not exist, on the first channel: 406.
        let mut frame = vec![1, 0, 1, 0, 0, 0, 13, 0, 60, 0, 80];
        frame.extend(999_u64.to_be_bytes());
        frame.extend([0, 0xCE]);
        proxy.inject(Direction::ToServer, &frame);
        let again = next(&mut deliveries).await;
        assert!(again.redelivered && again.receipt.is_live() && !first.receipt.is_live());
        assert_eq!(consumers.ack(&receipts([&first])).await.stale, 1);
        assert_eq!(consumers.ack(&receipts([&again])).await.sent, 1);
        assert_eq!(proxy.accepted(), connections, "the connection stays");
        assert_eq!(topology.lane_depth(LANE).await.unwrap().consumers, 1);
        until_ready(&topology, LANE, 0).await;
    })
    .await;
}

/// Lost connections alone push a chunk over the delivery limit; it is then a dead letter, not lost (F45).
#[tokio::test(flavor = "multi_thread")]
async fn f45_disconnects_alone_end_in_the_dead_letter_queue() {
    with_broker(|mut broker| async move {
        broker.config.delivery_limit = 3;
        broker.topology().declare_lane(LANE).await.unwrap();
        broker.publisher().publish(LANE, messages([1, 2])).await.unwrap();
        let (proxy, through) = broker.through_proxy().await;
        let (consumers, mut deliveries) = through.consumers();
        want(&consumers, [(LANE_QUEUE, 8), (Queue::Dead, 8)]);
        let mut dead = Vec::new();
        let mut cuts = 0;
        while dead.len() < 2 {
            let delivery = next(&mut deliveries).await;
            match delivery.queue {
                Queue::Dead => {
                    consumers.ack(&receipts([&delivery])).await;
                    dead.push(delivery);
                }
                Queue::Lane(_) if delivery.receipt.is_live() => {
                    cuts += 1;
                    proxy.cut();
                    until("noticed", || async { !delivery.receipt.is_live() }).await;
                }
                Queue::Lane(_) => {}
            }
        }
        assert_eq!(numbers(&dead), [1, 2]);
        assert!(cuts >= 3, "{cuts} cuts");
    })
    .await;
}

async fn expect(events: &mut broadcast::Receiver<ControlEvent>, wanted: &ControlEvent) {
    let came = async {
        loop {
            let event = events.recv().await.unwrap();
            if event == *wanted {
                return;
            }
            // What a process tells itself after its connection was built.
            assert_eq!(event, ControlEvent::PlanChanged);
        }
    };
    tokio::time::timeout(Duration::from_secs(10), came).await.expect("the event did not come");
}

#[tokio::test(flavor = "multi_thread")]
async fn control_events_reach_every_process_also_after_a_cut() {
    with_broker(|broker| async move {
        let (proxy, through) = broker.through_proxy().await;
        let api = Control::start(&broker.config, broker.shutdown.clone());
        let worker = Control::start(&through.config, broker.shutdown.clone());
        let (mut at_api, mut at_worker) = (api.subscribe(), worker.subscribe());
        until("ready", || async { api.is_ready() && worker.is_ready() }).await;
        let batch_id = Uuid::new_v4();
        let opened = ControlEvent::BatchOpened { batch_id };
        let sent = Instant::now();
        api.send(opened.clone());
        expect(&mut at_worker, &opened).await;
        assert!(sent.elapsed() < Duration::from_secs(1));
        expect(&mut at_api, &opened).await;
        let paused = ControlEvent::BatchPaused { batch_id };
        worker.send(paused.clone());
        expect(&mut at_api, &paused).await;
        expect(&mut at_worker, &paused).await;

        proxy.cut();
        // It may have missed something, and says so.
        let told = tokio::time::timeout(Duration::from_secs(10), at_worker.recv()).await.unwrap().unwrap();
        assert_eq!(told, ControlEvent::PlanChanged);
        let closed = ControlEvent::BatchClosed { batch_id };
        api.send(closed.clone());
        expect(&mut at_worker, &closed).await;
        let cancelled = ControlEvent::BatchCancelled { batch_id };
        worker.send(cancelled.clone());
        expect(&mut at_api, &closed).await;
        expect(&mut at_api, &cancelled).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sending_control_events_never_waits() {
    with_broker(|broker| async move {
        let (proxy, through) = broker.through_proxy().await;
        proxy.down();
        let control = Control::start(&through.config, broker.shutdown.clone());
        let started = Instant::now();
        for _ in 0..10_000 {
            control.send(ControlEvent::PlanChanged);
        }
        assert!(started.elapsed() < Duration::from_secs(1));
        assert!(!control.is_ready());
        broker.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(3), control.stopped()).await.expect("it ends");
    })
    .await;
}
