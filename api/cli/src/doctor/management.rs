//! RabbitMQ, as its management API tells: alarms, memory, disk, feature flags, and policies that override what lanes are declared with.

use std::path::Path;
use std::time::Duration;

use millrace_common::broker::{ManagementAccess, Probe};
use millrace_common::config::Config;
use millrace_common::https;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::finding::{Findings, Status};

/// How long one answer may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// Feature flags without which lanes lose dead letters.
const NEEDED_FLAGS: [&str; 2] = ["quorum_queue", "stream_queue"];

/// A node, as far as it is looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Node {
    name: String,
    running: bool,
    mem_alarm: bool,
    disk_free_alarm: bool,
    mem_used: u64,
    mem_limit: Value,
    disk_free: Value,
    disk_free_limit: Value,
    partitions: Vec<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Flag {
    name: String,
    state: String,
    stability: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Queue {
    name: String,
    policy: Option<String>,
    operator_policy: Option<String>,
    effective_policy_definition: Option<Value>,
    members: Vec<Value>,
    online: Vec<Value>,
}

/// Asks the management API, where there is one.
pub async fn check(
    probe: &Probe,
    config: &Config,
    url: Option<&str>,
    ca: Option<&Path>,
    findings: &mut Findings,
) {
    let Ok(mut access) = probe.management() else { return };
    if let Some(url) = url {
        access.url = url.trim_end_matches('/').to_owned();
    }
    let broker_ca = (!config.broker.tls_ca.is_empty()).then(|| Path::new(&config.broker.tls_ca));
    match Api::open(access, ca.or(broker_ca)) {
        Ok(api) => match api.ask(config, probe).await {
            Ok((nodes, flags, queues)) => {
                findings.ok("management", api.access.url.clone());
                judge_nodes(&nodes, findings);
                judge_flags(&flags, findings);
                judge_queues(&queues, config, findings);
            }
            Err(error) => absent(&error, url.is_some(), findings),
        },
        Err(error) => absent(&error, url.is_some(), findings),
    }
}

fn absent(error: &str, asked_for: bool, findings: &mut Findings) {
    let advice = "the plugin rabbitmq_management, a user with the tag `monitoring`, and --management-url where it is elsewhere";
    if asked_for {
        let why = "policies, alarms, feature flags, memory and disk could not be looked at";
        findings.warning("management", error, why, advice);
    } else {
        findings.skipped(
            "management",
            format!("{error}: no policies, alarms, feature flags, memory, disk"),
            advice,
        );
    }
}

struct Api {
    client: reqwest::Client,
    access: ManagementAccess,
}

impl Api {
    fn open(access: ManagementAccess, ca: Option<&Path>) -> Result<Self, String> {
        let client = https::client_within(ca, access.url.starts_with("https://"), DEADLINE)
            .map_err(|error| error.to_string())?
            .no_proxy()
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { client, access })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        let request = self
            .client
            .get(format!("{}/api/{path}", self.access.url))
            .basic_auth(&self.access.user, Some(self.access.password.expose()));
        // Errors of the client have the address in them, but not the credentials, which are in a header.
        let answer = request.send().await.map_err(|_| format!("no answer from {}", self.access.url))?;
        if !answer.status().is_success() {
            return Err(format!("{} says {}", self.access.url, answer.status().as_u16()));
        }
        answer.json().await.map_err(|_| format!("{} is no management API", self.access.url))
    }

    async fn ask(
        &self,
        config: &Config,
        probe: &Probe,
    ) -> Result<(Vec<Node>, Vec<Flag>, Vec<Queue>), String> {
        let nodes = self.get("nodes").await?;
        let flags = self.get("feature-flags").await?;
        let vhost =
            percent_encoding::utf8_percent_encode(&self.access.vhost, percent_encoding::NON_ALPHANUMERIC);
        let columns = "name,policy,operator_policy,effective_policy_definition,members,online";
        let mut queues: Vec<Queue> = self.get(&format!("queues/{vhost}?columns={columns}")).await?;
        let (lanes, dead) = (probe.lane_prefix(), probe.dead_queue());
        queues.retain(|queue| queue.name.starts_with(&lanes) || queue.name == dead);
        tracing::debug!(prefix = config.broker.prefix, queues = queues.len(), "asked the management API");
        Ok((nodes, flags, queues))
    }
}

fn judge_nodes(nodes: &[Node], findings: &mut Findings) {
    const MB: u64 = 1_000_000;
    for node in nodes {
        let down = !node.running || !node.partitions.is_empty();
        findings.judge(
            "node",
            if down { Status::Error } else { Status::Ok },
            format!(
                "{} {}",
                node.name,
                if !node.running {
                    "is down"
                } else if down {
                    "sees a partition"
                } else {
                    "runs"
                }
            ),
            "lanes with too few members left take no messages",
            "start the node, or heal the network between the nodes",
        );
        if !node.running {
            continue;
        }
        let alarms: Vec<_> = [(node.mem_alarm, "memory"), (node.disk_free_alarm, "disk")]
            .into_iter()
            .filter_map(|(on, name)| on.then_some(name))
            .collect();
        findings.judge(
            "alarms",
            if alarms.is_empty() { Status::Ok } else { Status::Error },
            if alarms.is_empty() {
                format!("{}: none", node.name)
            } else {
                format!("{}: {}", node.name, alarms.join(", "))
            },
            "while an alarm is on, the broker takes no messages and pushes get 503",
            "give the node memory or disk, or have results pulled so that lanes empty",
        );
        // A node that cannot find its limits out says so in words.
        if let Some(limit) = node.mem_limit.as_u64().filter(|limit| *limit > 0) {
            let tight = node.mem_used.saturating_mul(10) > limit.saturating_mul(8);
            findings.judge(
                "memory",
                if tight { Status::Warning } else { Status::Ok },
                format!("{}: {} of {} MB", node.name, node.mem_used / MB, limit / MB),
                "at the mark the broker takes no messages any more",
                "more memory, or a higher vm_memory_high_watermark; quorum queues want 1 GB and more",
            );
        }
        if let (Some(free), Some(limit)) = (node.disk_free.as_u64(), node.disk_free_limit.as_u64()) {
            findings.judge(
                "disk",
                if free < limit.saturating_mul(2) { Status::Warning } else { Status::Ok },
                format!("{}: {} MB free, alarm below {} MB", node.name, free / MB, limit / MB),
                "below the limit the broker takes no messages any more",
                "a larger disk; lanes hold at most the input buffers of all live batches",
            );
        }
    }
}

fn judge_flags(flags: &[Flag], findings: &mut Findings) {
    let off: Vec<_> =
        flags.iter().filter(|flag| flag.state == "disabled" && flag.stability != "experimental").collect();
    let needed = off.iter().any(|flag| NEEDED_FLAGS.contains(&flag.name.as_str()));
    let status = match (needed, off.is_empty()) {
        (true, _) => Status::Error,
        (false, false) => Status::Warning,
        (false, true) => Status::Ok,
    };
    let names: Vec<_> = off.iter().map(|flag| flag.name.as_str()).collect();
    findings.judge(
        "feature-flags",
        status,
        if names.is_empty() {
            "all stable ones are on".to_owned()
        } else {
            format!("off: {}", names.join(", "))
        },
        if needed {
            "lanes are quorum queues whose dead letters are kept at least once, which needs these flags"
        } else {
            "the next release of RabbitMQ may refuse to start without them"
        },
        "rabbitmqctl enable_feature_flag all",
    );
}

/// What a policy does to a lane that it must not; keys that every lane sets itself have no effect.
fn harm(key: &str, value: &Value, config: &Config) -> Option<(Status, &'static str)> {
    let number = value.as_u64();
    match key {
        "message-ttl" => {
            Some((Status::Error, "chunks that wait longer leave their lane as dead letters or for good"))
        }
        "expires" => {
            Some((Status::Error, "a lane that nobody uses for so long is deleted, with what is in it"))
        }
        "max-length" | "max-length-bytes" => Some((
            Status::Warning,
            "pushes get 503 when the lane is that full; input budgets are what bounds it",
        )),
        "consumer-timeout" if number.is_some_and(|limit| limit <= config.worker.chunk_timeout_ms) => Some((
            Status::Error,
            "the broker takes chunks back that are still being evaluated (worker.chunk_timeout_ms is longer)",
        )),
        "delivery-limit" if number.is_some_and(|limit| limit < u64::from(config.broker.delivery_limit)) => {
            Some((Status::Warning, "chunks become dead letters earlier than broker.delivery_limit says"))
        }
        _ => None,
    }
}

fn judge_queues(queues: &[Queue], config: &Config, findings: &mut Findings) {
    let empty = Map::new();
    let mut harmless = 0;
    for queue in queues {
        let definition =
            queue.effective_policy_definition.as_ref().and_then(Value::as_object).unwrap_or(&empty);
        let names: Vec<&str> = [queue.policy.as_deref(), queue.operator_policy.as_deref()]
            .into_iter()
            .flatten()
            .filter(|name| !name.is_empty())
            .collect();
        let mut harmed = false;
        for (key, value) in definition {
            if let Some((status, why)) = harm(key, value, config) {
                harmed = true;
                findings.judge(
                    "policy",
                    status,
                    format!("{}: {key} = {value} by the policy {}", queue.name, names.join(" and ")),
                    why,
                    "clear the policy, or have its pattern leave out the queues of broker.prefix (rabbitmqctl list_policies)",
                );
            }
        }
        harmless += usize::from(!harmed);
        let (members, online) = (queue.members.len(), queue.online.len());
        if members > 0 && online * 2 <= members {
            findings.error(
                "quorum",
                format!("{}: {online} of {members} members", queue.name),
                "without a majority a lane neither takes nor gives messages",
                "start the nodes that are missing",
            );
        }
    }
    findings.ok("policies", format!("{harmless} of {} queues are as they were declared", queues.len()));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use serde_json::json;

    use super::*;

    fn queues(definition: Value) -> Findings {
        let queue = json!({"name": "millrace.lane.0001", "policy": "all", "effective_policy_definition": definition,
            "members": ["a", "b", "c"], "online": ["a", "b"]});
        let mut findings = Findings::default();
        findings.enter("broker");
        judge_queues(&[serde_json::from_value(queue).unwrap()], &Config::default(), &mut findings);
        findings
    }

    #[test]
    fn only_policies_that_change_a_lane_are_named() {
        for harmless in [
            json!({}),
            json!([]),
            json!({"queue-leader-locator": "balanced", "delivery-limit": 20, "consumer-timeout": 3_600_000}),
        ] {
            assert_eq!(queues(harmless.clone()).worst(), Status::Ok, "{harmless}");
        }
        for (definition, status) in [
            (json!({"message-ttl": 1}), Status::Error),
            (json!({"expires": 1}), Status::Error),
            (json!({"max-length": 1}), Status::Warning),
            (json!({"max-length-bytes": 1}), Status::Warning),
            (json!({"consumer-timeout": 600_000}), Status::Error),
            (json!({"delivery-limit": 2}), Status::Warning),
        ] {
            assert_eq!(queues(definition.clone()).status("broker.policy"), Some(status), "{definition}");
        }
    }

    #[test]
    fn nodes_that_run_short_are_named_before_the_alarm() {
        let judge = |change: Value| {
            let mut node = json!({"name": "rabbit@a", "running": true, "mem_used": 5, "mem_limit": 10, "disk_free": 100,
                "disk_free_limit": 50, "partitions": []});
            node.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            let mut findings = Findings::default();
            findings.enter("broker");
            judge_nodes(&[serde_json::from_value(node).unwrap()], &mut findings);
            findings
        };
        assert_eq!(
            judge(json!({"mem_limit": "memory_monitor_off", "disk_free": "disk_free_monitoring_disabled"}))
                .worst(),
            Status::Ok
        );
        assert_eq!(judge(json!({})).worst(), Status::Ok);
        assert_eq!(judge(json!({"mem_used": 9})).status("broker.memory"), Some(Status::Warning));
        assert_eq!(judge(json!({"disk_free": 99})).status("broker.disk"), Some(Status::Warning));
        assert_eq!(judge(json!({"mem_alarm": true})).status("broker.alarms"), Some(Status::Error));
        assert_eq!(judge(json!({"running": false})).status("broker.node"), Some(Status::Error));
        assert_eq!(judge(json!({"partitions": ["rabbit@b"]})).status("broker.node"), Some(Status::Error));
    }

    #[test]
    fn flags_that_lanes_need_are_errors() {
        for (name, stability, expected) in [
            ("stream_queue", "stable", Status::Error),
            ("khepri_db", "experimental", Status::Ok),
            ("message_containers", "stable", Status::Warning),
        ] {
            let flag =
                Flag { name: name.to_owned(), state: "disabled".to_owned(), stability: stability.to_owned() };
            let mut findings = Findings::default();
            findings.enter("broker");
            judge_flags(&[flag], &mut findings);
            assert_eq!(findings.worst(), expected, "{name}");
        }
    }
}
