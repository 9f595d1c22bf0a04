//! Looking at a broker without changing it: for `millrace doctor`.

use std::sync::Arc;
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::types::parsing::parse_field_table;
use lapin::types::{AMQPValue, FieldTable};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{BasicProperties, Channel, Confirmation, ExchangeKind};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::error::BrokerError;
use super::link::{Link, LinkOptions, SMALL_FRAMES, within};
use super::names::{LaneId, Names};
use super::topology::{self, LaneDepth};
use crate::config::{BrokerConfig, Secret};
use crate::tls::{self, Verification};

/// What AMQP 0-9-1 begins with.
const PROTOCOL_HEADER: &[u8; 8] = b"AMQP\0\0\x09\x01";
/// The largest greeting that is read, in bytes.
const GREETING_BYTES: u32 = 128 * 1024;
/// How long the news that a connection is blocked may take to come after a message was sent.
const BLOCKED_POLL: Duration = Duration::from_millis(50);

/// How a broker introduces itself, before anybody has signed in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Greeting {
    /// `RabbitMQ`, or what else speaks its protocol.
    pub product: String,
    /// Its version.
    pub version: String,
    /// The name of its cluster, where it has one.
    pub cluster: String,
    /// The extensions of AMQP that it knows, such as `publisher_confirms`.
    pub capabilities: Vec<String>,
}

/// Where the management API of a broker is, as far as `broker.url` tells, and how to sign in there.
#[derive(Debug, Clone)]
pub struct ManagementAccess {
    /// Scheme, host and the usual port.
    pub url: String,
    /// The user of `broker.url`.
    pub user: String,
    /// The password of `broker.url`.
    pub password: Secret,
    /// The virtual host of `broker.url`.
    pub vhost: String,
}

/// Looks at a broker. Every call opens a connection of its own, under the deadline `broker.connect_timeout_ms`, and closes it.
#[derive(Debug)]
pub struct Probe {
    options: LinkOptions,
    names: Names,
    delivery_limit: u32,
}

impl Probe {
    /// Does not connect yet.
    pub fn new(config: &BrokerConfig) -> Self {
        Self {
            options: LinkOptions::new(config, "doctor").frame_max(SMALL_FRAMES),
            names: Names::new(&config.prefix),
            delivery_limit: config.delivery_limit,
        }
    }

    /// Whether `broker.url` asks for TLS, and the host that it names.
    ///
    /// # Errors
    /// [`BrokerError::BadUrl`].
    pub fn destination(&self) -> Result<(bool, String), BrokerError> {
        let uri = self.options.uri()?;
        Ok((uri.scheme == AMQPScheme::AMQPS, uri.authority.host.clone()))
    }

    /// Where the management API would be.
    ///
    /// # Errors
    /// [`BrokerError::BadUrl`].
    pub fn management(&self) -> Result<ManagementAccess, BrokerError> {
        let AMQPUri { scheme, authority, vhost, .. } = self.options.uri()?.clone();
        let (scheme, port) = if scheme == AMQPScheme::AMQPS { ("https", 15_671) } else { ("http", 15_672) };
        let host = authority.host;
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        Ok(ManagementAccess {
            url: format!("{scheme}://{host}:{port}"),
            user: authority.userinfo.username,
            password: Secret::new(authority.userinfo.password),
            vhost,
        })
    }

    /// The names of the lanes' queues begin with this.
    pub fn lane_prefix(&self) -> String {
        self.names.lane_prefix()
    }

    /// The dead-letter queue's name.
    pub fn dead_queue(&self) -> String {
        self.names.dead()
    }

    /// What the broker says of itself to whoever connects.
    ///
    /// # Errors
    /// [`BrokerError::Unavailable`] when nothing that speaks AMQP 0-9-1 answers, [`BrokerError::Timeout`] when nothing does in time.
    pub async fn greeting(&self) -> Result<Greeting, BrokerError> {
        let uri = self.options.uri()?;
        let unavailable = |error: &dyn std::fmt::Display| BrokerError::Unavailable(error.to_string());
        within(self.options.setup, async {
            let address = (uri.authority.host.as_str(), uri.authority.port);
            let stream = TcpStream::connect(address).await.map_err(|error| unavailable(&error))?;
            if uri.scheme == AMQPScheme::AMQP {
                return greet(stream).await;
            }
            let config = tls::client_config(self.options.authorities(), Verification::Full)
                .map_err(|error| BrokerError::Authorities(error.to_string()))?;
            let name =
                ServerName::try_from(uri.authority.host.clone()).map_err(|error| unavailable(&error))?;
            let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
            greet(stream.map_err(|error| unavailable(&error))?).await
        })
        .await
    }

    /// Signs in, and has the broker confirm a message that no queue takes. At an alarm it never would.
    ///
    /// # Errors
    /// [`BrokerError::Blocked`] at a memory or disk alarm, else as the other calls.
    pub async fn accepts(&self) -> Result<(), BrokerError> {
        let link = within(self.options.setup, Link::open(&self.options)).await?;
        let outcome = within(self.options.setup, async {
            let channel = link.channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            let nowhere = format!("{}.doctor", self.names.dead());
            let options = BasicPublishOptions::default();
            let properties = BasicProperties::default();
            let confirm = channel.basic_publish("".into(), nowhere.into(), options, b"", properties).await?;
            let blocked = async {
                while !link.is_blocked() {
                    tokio::time::sleep(BLOCKED_POLL).await;
                }
            };
            tokio::select! {
                confirmed = confirm => match confirmed? {
                    Confirmation::Ack(_) => Ok(()),
                    other => Err(BrokerError::Unavailable(format!("the broker answered {other:?}"))),
                },
                () = blocked => Err(BrokerError::Blocked),
            }
        })
        .await;
        link.close().await;
        outcome
    }

    /// What waits in the dead-letter queue, when it and the control exchange are as every process declares them.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] when one is missing, [`BrokerError::Mismatch`] when one has other properties.
    pub async fn shared(&self) -> Result<LaneDepth, BrokerError> {
        self.look(async |channel| {
            let depth = topology::depth(channel, &self.names.dead()).await?;
            let options = ExchangeDeclareOptions { passive: true, durable: true, ..Default::default() };
            let control = self.names.control();
            channel
                .exchange_declare(control.into(), ExchangeKind::Fanout, options, FieldTable::default())
                .await?;
            // They are there, so that this compares and makes nothing.
            topology::declare_shared(channel, &self.names).await?;
            Ok(depth)
        })
        .await
    }

    /// What waits in these lanes, when they are as every process declares them. One answer for each.
    ///
    /// # Errors
    /// When the broker is not reachable. What is wrong with a lane is in its answer: [`BrokerError::NotFound`] and
    /// [`BrokerError::Mismatch`].
    pub async fn lanes(&self, lanes: &[LaneId]) -> Result<Vec<Result<LaneDepth, BrokerError>>, BrokerError> {
        let link = within(self.options.setup, Link::open(&self.options)).await?;
        let mut answers = Vec::with_capacity(lanes.len());
        let mut channel = within(self.options.setup, link.channel()).await?;
        for lane in lanes.iter().copied() {
            if !channel.status().connected() {
                channel = within(self.options.setup, link.channel()).await?;
            }
            let answer = within(self.options.setup, async {
                let depth = topology::depth(&channel, &self.names.lane(lane)).await?;
                topology::declare_lane(&channel, &self.names, lane, self.delivery_limit).await?;
                Ok(depth)
            })
            .await;
            match answer {
                Err(error) if !matches!(error, BrokerError::NotFound(_) | BrokerError::Mismatch(_)) => {
                    link.close().await;
                    return Err(error);
                }
                other => answers.push(other),
            }
        }
        link.close().await;
        Ok(answers)
    }

    async fn look<T>(
        &self,
        work: impl AsyncFnOnce(&Channel) -> Result<T, BrokerError>,
    ) -> Result<T, BrokerError> {
        let link = within(self.options.setup, Link::open(&self.options)).await?;
        let outcome = within(self.options.setup, async { work(&link.channel().await?).await }).await;
        link.close().await;
        outcome
    }
}

/// Reads what a broker says first (`Connection.Start`).
async fn greet<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> Result<Greeting, BrokerError> {
    let broken = |error: std::io::Error| BrokerError::Unavailable(format!("no greeting: {error}"));
    stream.write_all(PROTOCOL_HEADER).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let mut head = [0; 7];
    stream.read_exact(&mut head).await.map_err(broken)?;
    let foreign = || BrokerError::Unavailable("what answers there does not speak AMQP 0-9-1".to_owned());
    let [1, 0, 0, size @ ..] = head else { return Err(foreign()) };
    let size = u32::from_be_bytes(size);
    if size > GREETING_BYTES {
        return Err(foreign());
    }
    let mut payload = vec![0; size as usize];
    stream.read_exact(&mut payload).await.map_err(broken)?;
    parse(&payload).ok_or_else(foreign)
}

/// Class and method 10, two numbers of the version, and the table with what the broker is.
fn parse(payload: &[u8]) -> Option<Greeting> {
    let table = payload.strip_prefix(&[0, 10, 0, 10, 0, 9])?;
    let (_, table) = parse_field_table(table).ok()?;
    let text = |name: &str| match table.inner().get(name) {
        Some(AMQPValue::LongString(text)) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
        _ => String::new(),
    };
    let capabilities = match table.inner().get("capabilities") {
        Some(AMQPValue::FieldTable(known)) => known
            .inner()
            .iter()
            .filter(|(_, value)| **value == AMQPValue::Boolean(true))
            .map(|(name, _)| name.as_str().to_owned())
            .collect(),
        _ => Vec::new(),
    };
    Some(Greeting {
        product: text("product"),
        version: text("version"),
        cluster: text("cluster_name"),
        capabilities,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[tokio::test]
    async fn what_is_no_broker_is_told_apart() {
        for answer in [&b"AMQP\0\x01\0\0"[..], b"HTTP/1.1 400 Bad Request\r\n", b"\x01\0\0\xff\0\0\0", b""] {
            let (ours, mut theirs) = tokio::io::duplex(64);
            theirs.write_all(answer).await.unwrap();
            theirs.shutdown().await.unwrap();
            assert!(matches!(greet(ours).await, Err(BrokerError::Unavailable(_))), "{answer:?}");
        }
    }

    #[test]
    fn the_management_api_is_guessed_from_the_url() {
        let at = |url: &str| {
            let config = BrokerConfig { url: Secret::new(url), ..BrokerConfig::default() };
            Probe::new(&config).management().unwrap()
        };
        assert_eq!(at("amqp://a:b@rabbit:5672/x").url, "http://rabbit:15672");
        let secure = at("amqps://a:b%21@rabbit:5671/%2f");
        assert_eq!((secure.url.as_str(), secure.vhost.as_str()), ("https://rabbit:15671", "/"));
        assert_eq!((secure.user.as_str(), secure.password.expose()), ("a", "b!"));
        assert!(!format!("{secure:?}").contains("b!"));
    }
}
