//! A TCP proxy on loopback that breaks connections on purpose.
//!
//! It needs nothing but `tokio`, so that the tests of other crates can include this file by its path.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

/// Most bytes that are read at once, and most that wait in a delayed direction before reading pauses.
const READ_BYTES: usize = 64 * 1024;
const DELAYED_BYTES: usize = 4 * 1024 * 1024;

/// A direction through the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the program under test to the server.
    ToServer,
    /// From the server to the program under test.
    ToClient,
}

/// What happens to new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accept {
    /// They are connected to the server.
    Pass,
    /// The port is closed.
    Refuse,
    /// They are accepted and closed at once, as by a load balancer without a server.
    Close,
    /// They are accepted, and nothing ever comes back.
    Silent,
}

/// What happens to the bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// They pass.
    Pass,
    /// They pass this much later; the order and the rate stay.
    Delay(Duration),
    /// They vanish, and so does the end of the connection. A connection that lost bytes in this way never passes any
    /// again: the rest of its stream would be garbage.
    Swallow,
}

#[derive(Debug, Clone, Copy)]
struct Settings {
    accept: Accept,
    to_server: Flow,
    to_client: Flow,
    /// Connections that began before this many cuts are closed.
    cuts: u64,
}

#[derive(Debug)]
struct Shared {
    settings: watch::Sender<Settings>,
    /// Bytes until all connections are cut, for each direction; negative: never.
    until_cut: [AtomicI64; 2],
    /// Bytes that passed, for each direction.
    passed: [AtomicU64; 2],
    /// Bytes to add to the next idle moment of each direction.
    injected: [Mutex<Vec<u8>>; 2],
    injections: watch::Sender<u64>,
    accepted: AtomicU64,
    open: AtomicUsize,
}

/// A running proxy. Dropping it closes everything.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.task.abort();
    }
}

impl Proxy {
    /// Listens on a free loopback port and passes connections on to the server.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let pass = Settings { accept: Accept::Pass, to_server: Flow::Pass, to_client: Flow::Pass, cuts: 0 };
        let shared = Arc::new(Shared {
            settings: watch::Sender::new(pass),
            until_cut: [AtomicI64::new(-1), AtomicI64::new(-1)],
            passed: Default::default(),
            injected: Default::default(),
            injections: watch::Sender::new(0),
            accepted: AtomicU64::new(0),
            open: AtomicUsize::new(0),
        });
        let task = tokio::spawn(serve(Arc::clone(&shared), listener, server));
        Ok(Self { address, shared, task })
    }

    /// Where programs connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything passes (connections that lost bytes excepted).
    pub fn pass(&self) {
        self.set(|settings| {
            *settings =
                Settings { accept: Accept::Pass, to_server: Flow::Pass, to_client: Flow::Pass, ..*settings };
        });
    }

    /// Sets what happens to new connections.
    pub fn accept(&self, accept: Accept) {
        self.set(|settings| settings.accept = accept);
    }

    /// Sets what happens to the bytes of one direction.
    pub fn flow(&self, direction: Direction, flow: Flow) {
        self.set(|settings| match direction {
            Direction::ToServer => settings.to_server = flow,
            Direction::ToClient => settings.to_client = flow,
        });
    }

    /// Closes all open connections. New ones are treated as before.
    pub fn cut(&self) {
        self.set(|settings| settings.cuts += 1);
    }

    /// Closes all open connections and the port, as a server that is down.
    pub fn down(&self) {
        self.set(|settings| {
            settings.accept = Accept::Refuse;
            settings.cuts += 1;
        });
    }

    /// Swallows everything, and new connections get no answer: a link that is dead without anybody being told.
    pub fn black_hole(&self) {
        self.set(|settings| {
            settings.accept = Accept::Silent;
            settings.to_server = Flow::Swallow;
            settings.to_client = Flow::Swallow;
        });
    }

    /// Closes all open connections after so many more bytes of a direction; these bytes still pass.
    pub fn cut_after(&self, direction: Direction, bytes: u32) {
        self.shared.until_cut[direction as usize].store(i64::from(bytes), Ordering::SeqCst);
    }

    /// Adds bytes to a direction of one open connection, at a moment when nothing else passes there.
    pub fn inject(&self, direction: Direction, bytes: &[u8]) {
        if let Ok(mut injected) = self.shared.injected[direction as usize].lock() {
            injected.extend_from_slice(bytes);
        }
        self.shared.injections.send_modify(|count| *count += 1);
    }

    /// Connections that were accepted so far.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Connections that are open on the program's side.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Bytes that have passed in a direction.
    pub fn passed(&self, direction: Direction) -> u64 {
        self.shared.passed[direction as usize].load(Ordering::SeqCst)
    }

    fn set(&self, change: impl FnOnce(&mut Settings)) {
        self.shared.settings.send_modify(change);
    }
}

async fn serve(shared: Arc<Shared>, listener: TcpListener, server: SocketAddr) {
    let Ok(address) = listener.local_addr() else { return };
    let mut settings = shared.settings.subscribe();
    let mut listener = Some(listener);
    loop {
        let accept = settings.borrow_and_update().accept;
        if accept == Accept::Refuse {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(address).await.ok();
        }
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await.ok().map(|(stream, _)| stream),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // All senders are gone: the proxy was dropped.
            changed = settings.changed() => if changed.is_err() { return },
            Some(client) = accepted => {
                shared.accepted.fetch_add(1, Ordering::SeqCst);
                if accept != Accept::Close {
                    let shared = Arc::clone(&shared);
                    tokio::spawn(async move { connection(&shared, client, server, accept).await });
                }
            }
        }
    }
}

/// Counts a connection while the program keeps its end open.
struct Open<'a>(&'a AtomicUsize);

impl<'a> Open<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn connection(shared: &Arc<Shared>, client: TcpStream, server: SocketAddr, accept: Accept) {
    let cuts = shared.settings.borrow().cuts;
    let open = Open::new(&shared.open);
    let _ = client.set_nodelay(true);
    let (from_client, to_client) = client.into_split();
    if accept == Accept::Silent {
        let mut pump = Pump::new(shared, Direction::ToServer, cuts);
        pump.swallowed = true;
        pump.open = Some(open);
        pump.run(from_client, None).await;
        return;
    }
    let Ok(upstream) = TcpStream::connect(server).await else { return };
    let _ = upstream.set_nodelay(true);
    let (from_server, to_server) = upstream.into_split();
    let mut forth = Pump::new(shared, Direction::ToServer, cuts);
    forth.open = Some(open);
    let mut back = Pump::new(shared, Direction::ToClient, cuts);
    // The first direction that ends takes the other along.
    tokio::select! {
        () = forth.run(from_client, Some(to_server)) => {}
        () = back.run(from_server, Some(to_client)) => {}
    }
}

struct Pump<'a> {
    shared: &'a Shared,
    direction: Direction,
    settings: watch::Receiver<Settings>,
    injections: watch::Receiver<u64>,
    cuts: u64,
    swallowed: bool,
    open: Option<Open<'a>>,
}

impl<'a> Pump<'a> {
    fn new(shared: &'a Shared, direction: Direction, cuts: u64) -> Self {
        let (settings, injections) = (shared.settings.subscribe(), shared.injections.subscribe());
        Self { shared, direction, settings, injections, cuts, swallowed: false, open: None }
    }

    /// Moves bytes until the connection is to be closed.
    async fn run(&mut self, mut from: OwnedReadHalf, mut to: Option<OwnedWriteHalf>) {
        let mut buffer = vec![0; READ_BYTES];
        let mut delayed: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
        let mut waiting = 0;
        let mut ended = false;
        loop {
            let settings = *self.settings.borrow_and_update();
            if settings.cuts != self.cuts {
                return;
            }
            let flow = match self.direction {
                Direction::ToServer => settings.to_server,
                Direction::ToClient => settings.to_client,
            };
            let due = delayed.front().map(|(due, _)| *due);
            tokio::select! {
                biased;
                changed = self.settings.changed() => if changed.is_err() { return },
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    if let Some((_, bytes)) = delayed.pop_front() {
                        waiting -= bytes.len();
                        if !self.forward(&mut to, &bytes).await {
                            return;
                        }
                    }
                }
                read = from.read(&mut buffer), if !ended && waiting < DELAYED_BYTES => {
                    let count = read.unwrap_or(0);
                    if count == 0 {
                        self.open = None;
                    }
                    match flow {
                        // Nobody is told of the end either.
                        _ if self.swallowed && to.is_some() => ended = count == 0,
                        Flow::Swallow if to.is_some() => (self.swallowed, ended) = (true, count == 0),
                        _ if count == 0 => return,
                        _ if self.swallowed => {}
                        Flow::Delay(time) => {
                            waiting += count;
                            delayed.push_back((Instant::now() + time, buffer[..count].to_vec()));
                        }
                        Flow::Pass | Flow::Swallow => {
                            if !self.forward(&mut to, &buffer[..count]).await {
                                return;
                            }
                        }
                    }
                }
                _ = self.injections.changed() => {
                    let injected = match self.shared.injected[self.direction as usize].lock() {
                        Ok(mut injected) => std::mem::take(&mut *injected),
                        Err(_) => return,
                    };
                    if !injected.is_empty() && !self.forward(&mut to, &injected).await {
                        return;
                    }
                }
            }
        }
    }

    /// Passes bytes on. False when the connection is to be closed.
    async fn forward(&self, to: &mut Option<OwnedWriteHalf>, bytes: &[u8]) -> bool {
        let Some(to) = to else { return true };
        let until_cut = &self.shared.until_cut[self.direction as usize];
        let left = until_cut.load(Ordering::SeqCst);
        let allowed = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        if to.write_all(&bytes[..allowed]).await.is_err() {
            return false;
        }
        self.shared.passed[self.direction as usize].fetch_add(allowed as u64, Ordering::SeqCst);
        if left < 0 {
            return true;
        }
        if left > allowed as i64 {
            until_cut.store(left - allowed as i64, Ordering::SeqCst);
            return true;
        }
        until_cut.store(-1, Ordering::SeqCst);
        self.shared.settings.send_modify(|settings| settings.cuts += 1);
        false
    }
}
