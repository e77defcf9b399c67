//! The server: sockets first, then no more rights than answering takes, then threads.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::accept::{OF_A_NETWORK, Places};
use crate::answer::{Answers, Secrets};
use crate::privileges::{self, Dropped, User};
use crate::stats::Count;
use crate::tcp;
use crate::udp;
use crate::web::{self, Web};
use crate::zone::Zone;

/// How often tests that are over are forgotten.
const SWEEP: Duration = Duration::from_secs(60);

/// How to serve.
#[derive(Clone, Debug)]
pub struct Options {
    /// The zone, with the addresses of its name server; without, those that are listened on.
    pub zone: Zone,
    /// Where to listen, over UDP and TCP.
    pub listen: Vec<SocketAddr>,
    /// Threads that answer over UDP, for each address.
    pub threads: usize,
    /// Replies over UDP that a network gets a second without a cookie; 0 for no limit.
    pub rate: u32,
    /// Tests that are kept at a time.
    pub sessions: usize,
    /// What the server is called (RFC 5001).
    pub nsid: Option<String>,
    /// Who it runs as.
    pub user: User,
    /// A page for browsers.
    pub web: Option<Web>,
}

/// Why it cannot serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// An address that says nothing to resolvers, and from which replies may leave with another.
    #[error(
        "{0}: give the addresses of this machine that resolvers are to ask, each with --listen"
    )]
    NoAddress(SocketAddr),
    /// An address that is taken, or not ours to take.
    #[error("{address}: cannot be listened on over {protocol}: {cause}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// UDP or TCP.
        protocol: &'static str,
        /// What the system said.
        cause: io::Error,
    },
    /// The system gave no random numbers, threads or timers.
    #[error("{what}: {cause}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        cause: io::Error,
    },
}

/// Sockets that are open; nobody is answered yet.
#[derive(Debug)]
pub struct Server {
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
    web: Vec<TcpListener>,
    style: &'static str,
    /// From links of the page to tests.
    links: [u8; 16],
    answers: Arc<Answers>,
    user: User,
}

impl Server {
    /// Opens all sockets, before rights are given up.
    ///
    /// # Errors
    /// When an address cannot be had.
    pub fn bind(options: Options) -> Result<Self, ServeError> {
        let (mut udp, mut tcp) = (Vec::new(), Vec::new());
        for &address in &options.listen {
            if address.ip().is_unspecified() {
                return Err(ServeError::NoAddress(address));
            }
            let failed = |protocol| move |cause| ServeError::Listen { address, protocol, cause };
            let mut address = address;
            for _ in 0..options.threads.max(1) {
                let socket = udp::bind(address).map_err(failed("UDP"))?;
                // Where the system chooses a port, it chooses one for all.
                address = socket.local_addr().map_err(failed("UDP"))?;
                udp.push(socket);
            }
            tcp.push(listener(address)?);
        }
        let mut zone = options.zone;
        if zone.addresses().is_empty() {
            let mut addresses: Vec<IpAddr> = options.listen.iter().map(SocketAddr::ip).collect();
            addresses.dedup();
            zone = zone.with_addresses(addresses);
        }
        let mut web = Vec::new();
        let style = options.web.as_ref().map_or("", |web| web.style);
        if let Some(page) = options.web {
            zone = zone.with_page();
            web = page.listen.into_iter().map(listener).collect::<Result<_, _>>()?;
        }
        let drawing = system("drawing keys");
        let answers = Answers::new(
            zone,
            options.nsid,
            options.rate,
            options.sessions,
            &secrets().map_err(&drawing)?,
        );
        let links = random().map_err(drawing)?;
        let (answers, user) = (Arc::new(answers), options.user);
        Ok(Server { udp, tcp, web, style, links, answers, user })
    }

    /// Where it listens, with ports that the system chose.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.tcp.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Where the page is.
    pub fn pages(&self) -> Vec<SocketAddr> {
        self.web.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// What it counts, for as long as anybody wants to know.
    pub fn numbers(&self) -> Numbers {
        Numbers { answers: Arc::clone(&self.answers) }
    }

    /// Gives up all rights but to answer; for the calling thread and those that it starts.
    ///
    /// # Errors
    /// When the system refuses that.
    pub fn drop_privileges(&self) -> Result<Dropped, ServeError> {
        privileges::drop_all(self.user).map_err(system("giving up rights"))
    }

    /// Answers from now on, until what is returned is dropped.
    ///
    /// # Errors
    /// When threads cannot be started.
    pub fn run(self) -> Result<Running, ServeError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("serve")
            .enable_all()
            .build()
            .map_err(system("starting threads"))?;
        let places = Places::new(OF_A_NETWORK);
        for listener in self.tcp {
            let _entered = runtime.enter();
            let listener =
                tokio::net::TcpListener::from_std(listener).map_err(system("listening"))?;
            runtime.spawn(tcp::serve(listener, Arc::clone(&self.answers), Arc::clone(&places)));
        }
        for listener in self.web {
            let answers = Arc::clone(&self.answers);
            let page = web::serve(listener, answers, self.links, self.style);
            runtime.spawn(async move {
                if let Err(error) = page.await {
                    tracing::error!(%error, "the page is not served");
                }
            });
        }
        let answers = Arc::clone(&self.answers);
        runtime.spawn(async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                answers.sessions().expire(now());
            }
        });
        let stop = Arc::new(AtomicBool::new(false));
        let mut running = Running { stop, threads: Vec::new(), runtime: Some(runtime) };
        for socket in self.udp {
            let (answers, stop) = (Arc::clone(&self.answers), Arc::clone(&running.stop));
            let thread = thread::Builder::new().name("udp".to_owned());
            let spawned = thread.spawn(move || udp::serve(&socket, &answers, &stop));
            running.threads.push(spawned.map_err(system("starting threads"))?);
        }
        Ok(running)
    }
}

/// What a server counts.
#[derive(Clone, Debug)]
pub struct Numbers {
    answers: Arc<Answers>,
}

impl Numbers {
    /// How many.
    pub fn get(&self, count: Count) -> u64 {
        self.answers.stats().get(count)
    }

    /// Tests that are kept.
    pub fn tests(&self) -> usize {
        self.answers.sessions().len()
    }
}

/// A server that answers; dropped, it stops.
#[derive(Debug)]
pub struct Running {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

fn system(what: &'static str) -> impl Fn(io::Error) -> ServeError {
    move |cause| ServeError::System { what, cause }
}

/// Drawn anew each time: what was given out before is not known any more.
fn secrets() -> io::Result<Secrets> {
    Ok(Secrets { cookie: random()?, tokens: random()?, bodies: random()?, limit: random()? })
}

/// 16 bytes that nobody knows.
pub(crate) fn random() -> io::Result<[u8; 16]> {
    let mut key = [0; 16];
    let mut filled = 0;
    while filled < key.len() {
        let flags = rustix::rand::GetRandomFlags::empty();
        filled += rustix::rand::getrandom(&mut key[filled..], flags)?;
    }
    Ok(key)
}

fn listener(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let failed = |cause| ServeError::Listen { address, protocol: "TCP", cause };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Nanoseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
