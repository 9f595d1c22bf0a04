//! Following a batch by server-sent events, through restarts and lost connections.

use std::time::Instant;

use bytes::Bytes;
use reqwest::{Response, StatusCode};

use super::retry::{Outcome, Schedule, asked_wait};
use super::{Call, Client, ClientError, deepest, refusal, segment};

/// The longest line that is read, in bytes: a status is far below.
const LONGEST_LINE: usize = 1_000_000;

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerEvent {
    /// Its name.
    pub name: String,
    /// Its data.
    pub data: String,
}

/// The events of one batch.
#[derive(Debug)]
pub struct Events<'a> {
    client: &'a Client,
    batch: String,
    reader: Reader,
    response: Option<Response>,
    /// Tries since the last event.
    schedule: Schedule,
    since: Instant,
}

impl Client {
    /// Follows a batch. Nothing is sent before the first event is asked for.
    pub fn events(&self, batch: &str) -> Events<'_> {
        Events {
            client: self,
            batch: batch.to_owned(),
            reader: Reader::default(),
            response: None,
            schedule: Schedule::new(self.patience, true),
            since: Instant::now(),
        }
    }
}

impl Events<'_> {
    /// The next event; `None` when there will be no more.
    pub async fn next(&mut self) -> Result<Option<ServerEvent>, ClientError> {
        loop {
            if let Some(event) = self.reader.take() {
                self.schedule = Schedule::new(self.client.patience, true);
                self.since = Instant::now();
                return Ok(Some(event));
            }
            let failure = match self.read().await {
                Ok(true) => continue,
                Ok(false) => return Ok(None),
                Err(failure) => failure,
            };
            self.response = None;
            self.reader.forget_rest();
            let (outcome, error) = failure;
            match self.schedule.next_wait(outcome, self.since.elapsed(), rand::random()) {
                Some(wait) => {
                    (self.client.notice)(&format!("waiting {:.1} s: {error}", wait.as_secs_f64()));
                    tokio::time::sleep(wait).await;
                }
                None => return Err(error),
            }
        }
    }

    /// Reads a piece of the stream, which is opened first where needed; `false` when the server has nothing more to tell.
    async fn read(&mut self) -> Result<bool, (Outcome, ClientError)> {
        let client = self.client;
        let lost = |error: &dyn std::fmt::Display| {
            let error =
                ClientError::Unreachable { url: client.connection.url.clone(), reason: error.to_string() };
            (Outcome::NoAnswer, error)
        };
        if self.response.is_none() {
            match self.open().await? {
                Some(response) => self.response = Some(response),
                None => return Ok(false),
            }
        }
        let Some(response) = self.response.as_mut() else { return Ok(true) };
        let piece: Option<Bytes> = response.chunk().await.map_err(|error| lost(&deepest(&error)))?;
        match piece {
            Some(piece) if self.reader.push(&piece) => Ok(true),
            Some(_) => Err(lost(&"the stream has a line that is too long")),
            // The server restarts, or wants to see the key again.
            None => Err(lost(&"the stream was closed")),
        }
    }

    async fn open(&self) -> Result<Option<Response>, (Outcome, ClientError)> {
        let client = self.client;
        let unreachable = |error: reqwest::Error| {
            let outcome = if error.is_connect() { Outcome::NotSent } else { Outcome::NoAnswer };
            let error =
                ClientError::Unreachable { url: client.connection.url.clone(), reason: deepest(&error) };
            (outcome, error)
        };
        let call = Call::get(client.batch_path(&format!("/{}/events", segment(&self.batch))));
        let request_id = uuid::Uuid::new_v4().to_string();
        let mut request = client.request(&call, &request_id).map_err(unreachable)?;
        if let Some(id) = &self.reader.last_id {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        if status == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        if status.is_success() {
            return Ok(Some(response));
        }
        let asked = asked_wait(response.headers(), chrono::Utc::now());
        let body = response.bytes().await.map_err(unreachable)?;
        let refusal = refusal(status, &body, &request_id);
        Err((Outcome::Status(status, asked), ClientError::Refused(Box::new(refusal))))
    }
}

/// Makes events of bytes, as the HTML standard says; `retry` is left to the schedule.
#[derive(Debug, Default)]
struct Reader {
    line: Vec<u8>,
    name: String,
    data: Option<String>,
    id: Option<String>,
    last_id: Option<String>,
    ready: std::collections::VecDeque<ServerEvent>,
}

impl Reader {
    /// Takes bytes as they come; `false` when a line is too long.
    fn push(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            match byte {
                b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    let text = String::from_utf8_lossy(&line).into_owned();
                    self.line(text.strip_suffix('\r').unwrap_or(&text));
                }
                _ if self.line.len() >= LONGEST_LINE => return false,
                byte => self.line.push(*byte),
            }
        }
        true
    }

    fn line(&mut self, line: &str) {
        if line.is_empty() {
            if let Some(id) = self.id.take() {
                self.last_id = Some(id);
            }
            let name = std::mem::take(&mut self.name);
            if let Some(data) = self.data.take() {
                self.ready.push_back(ServerEvent { name, data });
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.name = value.to_owned(),
            "id" => self.id = Some(value.to_owned()),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            _ => {}
        }
    }

    fn take(&mut self) -> Option<ServerEvent> {
        self.ready.pop_front()
    }

    /// Forgets the beginning of an event that will not be completed.
    fn forget_rest(&mut self) {
        self.line.clear();
        self.name.clear();
        (self.data, self.id) = (None, None);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str = ": millrace\nretry: 2000\n\nid: created:1\nevent: status\ndata: {\"a\":\ndata: 1}\n\n: \n\n\
                          event: end\r\nid: end:2\r\ndata: {}\r\n\r\nevent: half\ndata: x";

    #[test]
    fn events_are_read_and_remarks_skipped() {
        let mut reader = Reader::default();
        assert!(reader.push(STREAM.as_bytes()));
        let event = |name: &str, data: &str| Some(ServerEvent { name: name.into(), data: data.into() });
        assert_eq!(reader.take(), event("status", "{\"a\":\n1}"));
        assert_eq!(reader.take(), event("end", "{}"));
        assert_eq!(reader.take(), None);
        assert_eq!(reader.last_id.as_deref(), Some("end:2"));
        reader.forget_rest();
        assert!(reader.push(b"\n"));
        assert_eq!(reader.take(), None);
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let mut reader = Reader::default();
        assert!(!reader.push(&vec![b'x'; LONGEST_LINE + 1]));
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_bytes_are_cut(cuts in prop::collection::vec(0_usize..STREAM.len(), 0..8)) {
            let mut whole = Reader::default();
            whole.push(STREAM.as_bytes());
            let mut cuts = cuts;
            cuts.sort_unstable();
            let mut pieces = Reader::default();
            let mut from = 0;
            for cut in cuts.into_iter().chain([STREAM.len()]) {
                pieces.push(&STREAM.as_bytes()[from..cut]);
                from = cut;
            }
            prop_assert_eq!(pieces.ready, whole.ready);
        }
    }
}
