//! RabbitMQ, as AMQP tells: version, alarms, the dead-letter queue, the lanes.

use std::path::Path;

use millrace_common::broker::{BrokerError, Greeting, LaneDepth, LaneId, Probe};
use millrace_common::config::Config;
use millrace_common::store::KnownLane;

use super::finding::{Findings, Status};
use super::management;

/// The oldest RabbitMQ that is tested.
const OLDEST: (u32, u32) = (3, 10);
/// Extensions of AMQP without which Millrace does not work.
const CAPABILITIES: [&str; 5] =
    ["publisher_confirms", "consumer_cancel_notify", "basic.nack", "connection.blocked", "per_consumer_qos"];
/// The most lanes that are looked at.
const MOST_LANES: usize = 500;

/// Looks at the broker; at lanes too, when the database has told which there are.
pub async fn check(
    config: &Config,
    lanes: Option<&[KnownLane]>,
    management_url: Option<&str>,
    ca: Option<&Path>,
    findings: &mut Findings,
) {
    let probe = Probe::new(&config.broker);
    match probe.greeting().await {
        Ok(greeting) => greeted(&greeting, findings),
        Err(error) => {
            let advice = "check broker.url (--config FILE, MILLRACE_BROKER__URL) and that RabbitMQ runs";
            findings.error(
                "reachable",
                error.to_string(),
                "without it nothing is pushed and nothing reaches a worker",
                advice,
            );
            return;
        }
    }
    let accepted = probe.accepts().await;
    let signed_in = !matches!(accepted, Err(BrokerError::Unavailable(_)));
    match accepted {
        Ok(()) => findings.ok("accepts-messages", "a message that no queue takes was confirmed"),
        Err(error) => findings.error(
            "accepts-messages",
            error.to_string(),
            "pushes get 503 for as long as that lasts; workers go on with what they have",
            if signed_in {
                "`rabbitmq-diagnostics alarms` names the alarm: give the broker memory or disk, or have results pulled"
            } else {
                "user, password, virtual host and rights of broker.url: configure, write and read on its queues"
            },
        ),
    }
    if signed_in {
        shared(&probe.shared().await, findings);
        match lanes {
            Some(known) => check_lanes(&probe, known, findings).await,
            None => findings.skipped(
                "lanes",
                "only the database knows which there are",
                "mend the database first",
            ),
        }
    }
    timeouts(config, findings);
    management::check(&probe, config, management_url, ca, findings).await;
}

fn greeted(greeting: &Greeting, findings: &mut Findings) {
    findings.ok(
        "reachable",
        if greeting.cluster.is_empty() { "yes".to_owned() } else { greeting.cluster.clone() },
    );
    let mut numbers = greeting.version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let (status, why) = if greeting.product != "RabbitMQ" {
        (
            Status::Warning,
            "Millrace is tested on RabbitMQ alone; other brokers differ in quorum queues and dead letters",
        )
    } else if version < OLDEST {
        (
            Status::Error,
            "dead letters of quorum queues are safe from 3.10 on (dead-letter-strategy at-least-once)",
        )
    } else {
        (Status::Ok, "")
    };
    findings.judge(
        "version",
        status,
        format!("{} {}", greeting.product, greeting.version),
        why,
        "RabbitMQ 3.10 or newer",
    );
    let missing: Vec<_> = CAPABILITIES
        .into_iter()
        .filter(|name| !greeting.capabilities.iter().any(|known| known == name))
        .collect();
    findings.judge(
        "capabilities",
        if missing.is_empty() { Status::Ok } else { Status::Error },
        if missing.is_empty() {
            "all that are needed".to_owned()
        } else {
            format!("without {}", missing.join(", "))
        },
        "an answer with 2xx relies on confirms, and workers on being told of cancelled consumers",
        "a broker that has them: RabbitMQ 3.10 or newer",
    );
}

/// The dead-letter queue.
fn shared(depth: &Result<LaneDepth, BrokerError>, findings: &mut Findings) {
    match depth {
        Ok(depth) => {
            findings.judge(
                "dead-letters",
                if depth.ready > 0 { Status::Warning } else { Status::Ok },
                format!("{} wait, {} consumers", depth.ready, depth.consumers),
                "their chunks have no outcome until a worker has looked at them",
                "start a worker; when one runs and the number stays, its log says why",
            );
        }
        Err(BrokerError::NotFound(_)) => findings.warning(
            "dead-letters",
            "the dead-letter queue or the control exchange does not exist",
            "processes declare them when they start: none has, or somebody has deleted them, and dead letters of the lanes wait in vain",
            "start the API or a worker, or restart one",
        ),
        Err(BrokerError::Mismatch(what)) => findings.error(
            "dead-letters",
            what.clone(),
            "API and workers do not start with a dead-letter queue that may lose messages",
            "stop everything, see that the queue is empty, delete it, and start again: it is declared anew",
        ),
        Err(error) => unanswered("dead-letters", error, findings),
    }
}

async fn check_lanes(probe: &Probe, known: &[KnownLane], findings: &mut Findings) {
    let looked: Vec<LaneId> = known.iter().take(MOST_LANES).map(|lane| LaneId(lane.id)).collect();
    let answers = match probe.lanes(&looked).await {
        Ok(answers) => answers,
        Err(error) => return unanswered("lanes", &error, findings),
    };
    let (mut ready, mut good) = (0_u64, 0);
    for (lane, answer) in known.iter().zip(answers) {
        let name = format!("{}{}", probe.lane_prefix(), LaneId(lane.id));
        match answer {
            Ok(depth) => {
                good += 1;
                ready += u64::from(depth.ready);
            }
            Err(BrokerError::Mismatch(what)) => findings.error(
                "lane-arguments",
                format!("{name}: {what}"),
                "a lane with other arguments may lose messages or their dead letters, and no worker consumes it",
                "see that no live batch has it, delete the queue, and let the next batch declare it; broker.delivery_limit must be the \
                 same everywhere and stay as it was when lanes were made",
            ),
            Err(BrokerError::NotFound(_)) if lane.leased => findings.error(
                "lane-missing",
                format!("{name} is gone, and a live batch has it"),
                "the chunks that waited there are lost with it: they end as failed, with error.BODY_LOST, after clocks.lost_seconds",
                "find who deletes queues; redrive the failed chunks",
            ),
            Err(BrokerError::NotFound(_)) => findings.warning(
                "lane-missing",
                format!("{name} is gone; no batch has it"),
                "somebody deletes queues, and may take one that is in use next time",
                "find who; the lane is declared again when a batch needs it",
            ),
            Err(error) => unanswered("lanes", &error, findings),
        }
    }
    let rest = known.len().saturating_sub(looked.len());
    let rest = if rest > 0 { format!("; {rest} more were not looked at") } else { String::new() };
    findings.ok("lanes", format!("{good} of {} as declared, {ready} messages wait{rest}", looked.len()));
}

fn unanswered(check: &str, error: &BrokerError, findings: &mut Findings) {
    findings.error(
        check,
        error.to_string(),
        "it could not be looked at, though the broker answers",
        "the rights of the user in broker.url: configure, write and read on the queues with broker.prefix",
    );
}

/// How long a consumer may keep a message.
fn timeouts(config: &Config, findings: &mut Findings) {
    findings.ok(
        "consumer-timeout",
        format!(
            "worker.chunk_timeout_ms is {} s; RabbitMQ takes messages back after 1800 s unless told otherwise, which AMQP does not show",
            config.worker.chunk_timeout_ms / 1_000
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting(change: impl FnOnce(&mut Greeting)) -> Findings {
        let mut greeting = Greeting {
            product: "RabbitMQ".to_owned(),
            version: "3.10.8".to_owned(),
            cluster: "c".to_owned(),
            capabilities: CAPABILITIES.map(str::to_owned).to_vec(),
        };
        change(&mut greeting);
        let mut findings = Findings::default();
        findings.enter("broker");
        greeted(&greeting, &mut findings);
        findings
    }

    #[test]
    fn versions_and_extensions_are_compared() {
        for version in ["3.10.0", "3.13.7", "4.2.1"] {
            assert_eq!(
                greeting(|greeting| greeting.version = version.to_owned()).worst(),
                Status::Ok,
                "{version}"
            );
        }
        assert_eq!(
            greeting(|greeting| greeting.version = "3.9.29".to_owned()).status("broker.version"),
            Some(Status::Error)
        );
        assert_eq!(greeting(|greeting| greeting.product = "LavinMQ".to_owned()).worst(), Status::Warning);
        let findings = greeting(|greeting| drop(greeting.capabilities.pop()));
        assert_eq!(findings.status("broker.capabilities"), Some(Status::Error));
    }

    #[test]
    fn dead_letters_that_wait_are_a_warning_and_a_foreign_queue_an_error() {
        for (depth, expected) in [
            (Ok(LaneDepth { ready: 0, consumers: 1 }), Status::Ok),
            (Ok(LaneDepth { ready: 3, consumers: 0 }), Status::Warning),
            (Err(BrokerError::NotFound("x".to_owned())), Status::Warning),
            (Err(BrokerError::Mismatch("x".to_owned())), Status::Error),
        ] {
            let mut findings = Findings::default();
            findings.enter("broker");
            shared(&depth, &mut findings);
            assert_eq!(findings.status("broker.dead-letters"), Some(expected), "{depth:?}");
        }
    }
}
