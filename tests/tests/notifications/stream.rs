//! A reader of server-sent events.

use millrace_tests::{Client, PATIENCE};
use reqwest::{Method, Response};
use serde_json::Value;

/// An event as it came.
#[derive(Debug, Clone)]
pub struct Event {
    pub name: String,
    pub id: String,
    pub data: Value,
}

/// An open stream.
#[derive(Debug)]
pub struct Stream {
    pub status: u16,
    response: Response,
    text: String,
    pub remarks: Vec<String>,
}

impl Stream {
    pub async fn open(client: &Client, path: &str, last: Option<&str>) -> anyhow::Result<Self> {
        let mut request = client.request(Method::GET, path);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await?;
        Ok(Self { status: response.status().as_u16(), response, text: String::new(), remarks: Vec::new() })
    }

    /// The next event; `None` when the stream has ended or was cut off.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| {
                    let lines = block.lines().filter_map(|line| line.strip_prefix(name));
                    lines
                        .map(|value| value.trim_start_matches(": ").to_owned())
                        .collect::<Vec<_>>()
                        .join("\n")
                };
                self.remarks
                    .extend(block.lines().filter_map(|line| line.strip_prefix(": ")).map(str::to_owned));
                if !field("data").is_empty() {
                    let data = serde_json::from_str(&field("data")).unwrap();
                    return Some(Event { name: field("event"), id: field("id"), data });
                }
            }
            let piece =
                tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("something in time");
            self.text.push_str(std::str::from_utf8(&piece.ok()??).unwrap());
        }
    }

    /// Reads until an event of this name says what is wanted.
    pub async fn until(&mut self, name: &str, wanted: impl Fn(&Value) -> bool) -> Event {
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("the stream ended without {name}"));
            if event.name == name && wanted(&event.data) {
                return event;
            }
        }
    }

    /// Reads until a remark holds this text.
    pub async fn until_remark(&mut self, text: &str) {
        while !self.remarks.iter().any(|remark| remark.contains(text)) {
            let piece =
                tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("something in time");
            let piece = piece.unwrap().expect("the stream goes on");
            let piece = std::str::from_utf8(&piece).unwrap();
            self.remarks.extend(piece.lines().filter_map(|line| line.strip_prefix(": ")).map(str::to_owned));
            self.text.push_str(piece);
        }
    }
}
