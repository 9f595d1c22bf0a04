//! A real memory alarm (F13). It concerns the whole broker, which is why it has a test binary of its own, and needs the
//! node's own tool: `MRT_SERVICES` and `MRT_SERVICES_DIR`, as `deploy/services env DIR` prints them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod broker_support;

use std::process::Command;
use std::time::Duration;

use broker_support::{LANE, messages, next, receipts, take, until, want, with_broker};
use millrace_common::broker::{BrokerError, Queue};
use tokio::time::Instant;

/// The memory alarm, while this lives.
struct Alarm {
    usual: String,
}

fn rabbitmqctl(arguments: &[&str]) -> String {
    let variable = |name| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let output = Command::new(variable("MRT_SERVICES"))
        .args(["rabbitmqctl", &variable("MRT_SERVICES_DIR")])
        .args(arguments)
        .output()
        .expect("the services' script runs");
    assert!(output.status.success(), "rabbitmqctl {arguments:?} failed");
    String::from_utf8(output.stdout).unwrap()
}

impl Alarm {
    fn raise() -> Self {
        let usual = rabbitmqctl(&["-q", "eval", "vm_memory_monitor:get_vm_memory_high_watermark()."]);
        rabbitmqctl(&["-q", "set_vm_memory_high_watermark", "absolute", "1MB"]);
        Self { usual: usual.trim().to_owned() }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let call = format!("vm_memory_monitor:set_vm_memory_high_watermark({}).", self.usual);
        rabbitmqctl(&["-q", "eval", &call]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f13_at_a_memory_alarm_pushes_are_refused_in_time_and_consumers_go_on() {
    with_broker(|mut broker| async move {
        broker.config.confirm_timeout_ms = 2_000;
        let topology = broker.topology();
        topology.declare_lane(LANE).await.unwrap();
        let publisher = broker.publisher();
        publisher.publish(LANE, messages(0..40)).await.unwrap();
        let (consumers, mut deliveries) = broker.consumers();
        want(&consumers, [(Queue::Lane(LANE), 10)]);
        let held = take(&mut deliveries, 10).await;
        {
            let _alarm = tokio::task::spawn_blocking(Alarm::raise).await.unwrap();
            // The broker blocks a connection when it publishes.
            let started = Instant::now();
            let outcome = publisher.publish(LANE, messages([100])).await;
            assert!(matches!(outcome, Err(BrokerError::Blocked | BrokerError::Timeout(_))), "{outcome:?}");
            assert!(started.elapsed() < Duration::from_millis(2_500));
            until("blocked", || async { publisher.is_blocked() }).await;
            let started = Instant::now();
            let outcome = publisher.publish(LANE, messages([101])).await;
            assert!(matches!(outcome, Err(BrokerError::Blocked)), "{outcome:?}");
            assert!(started.elapsed() < Duration::from_millis(200));
            // Consumers still acknowledge, and therefore get more.
            consumers.ack(&receipts(&held)).await;
            let more = take(&mut deliveries, 10).await;
            assert!(more.iter().all(|delivery| !delivery.redelivered));
            consumers.ack(&receipts(&more)).await;
        }
        until("not blocked", || async { publisher.is_ready() }).await;
        publisher.publish(LANE, messages([102])).await.unwrap();
        while next(&mut deliveries).await.message.chunk_no != 102 {
            want(&consumers, [(Queue::Lane(LANE), 100)]);
        }
    })
    .await;
}
