//! How fast one process publishes and consumes, on the broker at hand. Run it alone and in release:
//! `cargo test --release -p millrace-common --test broker_rates -- --ignored --nocapture`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod broker_support;

use std::time::Duration;

use broker_support::{LANE, messages, receipts, until_ready, want, with_broker};
use futures_util::future::join_all;
use millrace_common::broker::{LaneId, Queue};
use tokio::time::Instant;

const TOTAL: usize = 60_000;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn rates() {
    with_broker(|broker| async move {
        let topology = broker.topology();
        for lane in 1..=2 {
            topology.declare_lane(LaneId(lane)).await.unwrap();
        }
        let publisher = broker.publisher();
        for (callers, per_call) in [(1, 1), (1, 50), (16, 1), (64, 1), (256, 1), (16, 20), (4, 200)] {
            let rounds = (TOTAL / if callers * per_call < 16 { 12 } else { 3 }) / (callers * per_call);
            let started = Instant::now();
            let slowest = join_all((0..callers).map(|_| async {
                let mut slowest = Duration::ZERO;
                for _ in 0..rounds {
                    let one = Instant::now();
                    publisher.publish(LANE, messages(0..i64::try_from(per_call).unwrap())).await.unwrap();
                    slowest = slowest.max(one.elapsed());
                }
                slowest
            }))
            .await;
            let count = rounds * callers * per_call;
            let seconds = started.elapsed().as_secs_f64();
            eprintln!(
                "publish, {callers} callers with {per_call} each: {:.0} messages/s, {:.2} ms a call, slowest {:?}",
                count as f64 / seconds,
                1000.0 * seconds / rounds as f64,
                slowest.iter().max().unwrap(),
            );
            topology.purge_lane(LANE).await.unwrap();
        }
        for _ in 0..TOTAL / 500 {
            publisher.publish(LANE, messages(0..500)).await.unwrap();
        }
        for (prefetch, group) in [(256, 1), (256, 64), (256, 256), (1000, 256)] {
            let all = u32::try_from(TOTAL / 5).unwrap();
            let before = topology.lane_depth(LANE).await.unwrap().ready;
            let round = broker_support::Broker { shutdown: broker.shutdown.child_token(), ..broker.clone() };
            let (consumers, mut deliveries) = round.consumers();
            want(&consumers, [(Queue::Lane(LANE), prefetch)]);
            let mut taken = Vec::new();
            let mut count = 0;
            let mut started = None;
            while count < all {
                let delivery = deliveries.recv().await.unwrap();
                started.get_or_insert_with(Instant::now);
                taken.push(delivery);
                if taken.len() >= group || deliveries.is_empty() {
                    count += u32::try_from(taken.len()).unwrap();
                    consumers.ack(&receipts(&taken)).await;
                    taken.clear();
                }
            }
            let seconds = started.unwrap().elapsed().as_secs_f64();
            eprintln!(
                "consume and ack, prefetch {prefetch}, groups of up to {group}: {:.0} messages/s",
                f64::from(count) / seconds
            );
            want(&consumers, []);
            tokio::time::sleep(Duration::from_millis(300)).await;
            while let Ok(delivery) = deliveries.try_recv() {
                consumers.requeue(&receipts([&delivery])).await;
            }
            round.shutdown.cancel();
            consumers.stopped().await;
            until_ready(&topology, LANE, before - count).await;
        }
        // Both at once, on a lane of its own.
        let lane = LaneId(2);
        let (consumers, mut deliveries) = broker.consumers();
        want(&consumers, [(Queue::Lane(lane), 256)]);
        let consuming = tokio::spawn(async move {
            let mut taken = Vec::new();
            let mut count = 0;
            while count < TOTAL {
                taken.push(deliveries.recv().await.unwrap());
                if taken.len() >= 64 || deliveries.is_empty() {
                    count += taken.len();
                    consumers.ack(&receipts(&taken)).await;
                    taken.clear();
                }
            }
        });
        let started = Instant::now();
        join_all((0..16).map(|_| async {
            for _ in 0..TOTAL / 16 / 20 + 1 {
                publisher.publish(lane, messages(0..20)).await.unwrap();
            }
        }))
        .await;
        consuming.await.unwrap();
        let seconds = started.elapsed().as_secs_f64();
        eprintln!("publish and consume at once: {:.0} messages/s", TOTAL as f64 / seconds);
        assert!(TOTAL as f64 / seconds > 500.0);
    })
    .await;
}
