//! `millrace webhook`: who is told when batches end.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::error::CliError;
use super::table::table;
use super::{Globals, say};

/// Help under `millrace webhook --help`.
pub const HELP: &str = "\
Messages are signed after the Standard Webhooks specification (webhook-id, webhook-timestamp, webhook-signature). A secret is \
shown once, when it is made.

Examples:
  millrace webhook create https://example.org/hook --event batch.completed --event batch.failed
  millrace webhook test 0198f3c2-6a6e-7d55-9f0b-3a1a3c2f4e11
  millrace webhook deliveries 0198f3c2-6a6e-7d55-9f0b-3a1a3c2f4e11 --state dead";

/// `millrace webhook`.
#[derive(Debug, Subcommand)]
pub enum WebhookCommand {
    /// Make a webhook and print its secret, once
    Create(CreateArgs),
    /// List webhooks
    List,
    /// Show a webhook
    Show(WebhookId),
    /// Change a webhook; switching it on again forgets why it was off
    Update(UpdateArgs),
    /// Delete a webhook with its messages
    Delete(WebhookId),
    /// Give a webhook another secret and print it, once; the old one signs as well for a while
    Rotate(WebhookId),
    /// Send a message that says nothing, to try a webhook out
    Test(WebhookId),
    /// List the messages of a webhook, newest first
    Deliveries(DeliveriesArgs),
    /// Deliver a message again, with the same id
    Redeliver(RedeliverArgs),
    /// Give the tenant a secret for the URLs that batches name themselves, or another one, and print it, once
    TenantSecret,
}

/// Names a webhook.
#[derive(Debug, Args)]
pub struct WebhookId {
    /// The webhook's id
    #[arg(value_name = "ID")]
    id: Uuid,
}

/// `millrace webhook create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Where messages go
    #[arg(value_name = "URL")]
    to: String,
    /// An event to tell; may be given several times [default: those that end a batch]
    #[arg(long = "event", value_name = "EVENT")]
    events: Vec<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

/// `millrace webhook update`.
#[derive(Debug, Args)]
pub struct UpdateArgs {
    #[command(flatten)]
    webhook: WebhookId,
    /// Where messages go
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// The events to tell, in place of those so far; may be given several times
    #[arg(long = "event", value_name = "EVENT")]
    events: Vec<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Whether it is told anything
    #[arg(long, value_name = "BOOL")]
    active: Option<bool>,
}

/// `millrace webhook deliveries`.
#[derive(Debug, Args)]
pub struct DeliveriesArgs {
    #[command(flatten)]
    webhook: WebhookId,
    /// Only those that are pending, delivered or dead
    #[arg(long, value_parser = ["pending", "delivered", "dead"], value_name = "STATE")]
    state: Option<String>,
    /// How many at most
    #[arg(long, default_value_t = 50, value_name = "NUMBER")]
    max: u32,
}

/// `millrace webhook redeliver`.
#[derive(Debug, Args)]
pub struct RedeliverArgs {
    #[command(flatten)]
    webhook: WebhookId,
    /// The message's id, from `webhook deliveries`
    #[arg(value_name = "DELIVERY")]
    delivery: Uuid,
}

/// Runs `millrace webhook`.
pub async fn run(globals: &Globals, command: WebhookCommand) -> Result<(), CliError> {
    let client = globals.client()?;
    match command {
        WebhookCommand::Create(args) => {
            let made =
                client.create_webhook(&body(Some(args.to), args.events, args.description, None)).await?;
            globals.show(&made, || format!("{}secret       {}\n", describe(&made), text(&made["secret"])));
            say("The secret is not shown again.");
        }
        WebhookCommand::List => {
            let list = client.webhooks().await?;
            globals.show(&list, || {
                let rows = rows(&list, |webhook| {
                    vec![
                        text(&webhook["id"]),
                        text(&webhook["url"]),
                        words(&webhook["events"]),
                        state(webhook).to_owned(),
                        text(&webhook["created_by"]),
                    ]
                });
                table(&["ID", "URL", "EVENTS", "STATE", "BY"], &rows)
            });
        }
        WebhookCommand::Show(webhook) => {
            let shown = client.webhook(&webhook.id.to_string()).await?;
            globals.show(&shown, || describe(&shown));
        }
        WebhookCommand::Update(args) => {
            let change = body(args.to, args.events, args.description, args.active);
            let changed = client.update_webhook(&args.webhook.id.to_string(), &change).await?;
            globals.show(&changed, || describe(&changed));
        }
        WebhookCommand::Delete(webhook) => {
            let deleted = client.delete_webhook(&webhook.id.to_string()).await?;
            globals.show(&deleted, || format!("webhook {} was deleted\n", webhook.id));
        }
        WebhookCommand::Rotate(webhook) => {
            let rotated = client.rotate_webhook(Some(&webhook.id.to_string())).await?;
            globals.show(&rotated, || format!("secret       {}\n", text(&rotated["secret"])));
            say("The secret is not shown again. The one before signs as well for a while.");
        }
        WebhookCommand::TenantSecret => {
            let rotated = client.rotate_webhook(None).await?;
            globals.show(&rotated, || format!("secret       {}\n", text(&rotated["secret"])));
            say("The secret is not shown again. The one before signs as well for a while.");
        }
        WebhookCommand::Test(webhook) => {
            let test = client.test_webhook(&webhook.id.to_string()).await?;
            globals.show(&test, || format!("message {} is on its way\n", text(&test["id"])));
        }
        WebhookCommand::Deliveries(args) => {
            let id = args.webhook.id.to_string();
            let list = client.deliveries(&id, args.state.as_deref(), args.max).await?;
            globals.show(&list, || {
                let rows = rows(&list, |delivery| {
                    vec![
                        text(&delivery["id"]),
                        text(&delivery["event"]),
                        text(&delivery["batch_id"]),
                        text(&delivery["state"]),
                        text(&delivery["attempts"]),
                        text(&delivery["last_status"]),
                        text(&delivery["created_at"]),
                        text(&delivery["last_error"]),
                    ]
                });
                table(&["ID", "EVENT", "BATCH", "STATE", "ATTEMPTS", "STATUS", "CREATED", "ERROR"], &rows)
            });
        }
        WebhookCommand::Redeliver(args) => {
            let again = client.redeliver(&args.webhook.id.to_string(), &args.delivery.to_string()).await?;
            globals.show(&again, || format!("message {} is on its way again\n", args.delivery));
        }
    }
    Ok(())
}

/// What is given, and nothing else.
fn body(
    url: Option<String>,
    events: Vec<String>,
    description: Option<String>,
    active: Option<bool>,
) -> Value {
    let mut body = Map::new();
    let mut give = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    give("url", url.map(Value::from));
    give("events", (!events.is_empty()).then(|| json!(events)));
    give("description", description.map(Value::from));
    give("active", active.map(Value::from));
    Value::Object(body)
}

fn rows(list: &Value, row: impl Fn(&Value) -> Vec<String>) -> Vec<Vec<String>> {
    list["data"].as_array().into_iter().flatten().map(row).collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

fn words(value: &Value) -> String {
    value.as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(",")
}

fn state(webhook: &Value) -> &'static str {
    match (
        webhook["active"].as_bool(),
        webhook["disabled_reason"].is_string(),
        webhook["failing_since"].is_string(),
    ) {
        (Some(true), _, false) => "active",
        (Some(true), _, true) => "failing",
        (_, true, _) => "disabled",
        _ => "off",
    }
}

fn describe(webhook: &Value) -> String {
    let mut lines = format!(
        "id           {}\nurl          {}\nevents       {}\nstate        {}\n",
        text(&webhook["id"]),
        text(&webhook["url"]),
        words(&webhook["events"]),
        state(webhook),
    );
    for (label, field) in
        [("description", "description"), ("failing", "failing_since"), ("reason", "disabled_reason")]
    {
        if let Some(value) = webhook[field].as_str().filter(|value| !value.is_empty()) {
            lines.push_str(&format!("{label:<13}{value}\n"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_given_is_sent() {
        assert_eq!(body(None, Vec::new(), None, None), json!({}));
        let all = body(Some("u".to_owned()), vec!["e".to_owned()], Some(String::new()), Some(false));
        assert_eq!(all, json!({"url": "u", "events": ["e"], "description": "", "active": false}));
    }

    #[test]
    fn a_webhook_reads_well() {
        let webhook = json!({
            "id": "7", "url": "https://example.org/hook", "events": ["batch.failed", "batch.completed"], "active": false,
            "description": "", "failing_since": null, "disabled_reason": "the receiver answered 410 Gone",
        });
        insta::assert_snapshot!(describe(&webhook), @r"
        id           7
        url          https://example.org/hook
        events       batch.failed,batch.completed
        state        disabled
        reason       the receiver answered 410 Gone
        ");
    }
}
