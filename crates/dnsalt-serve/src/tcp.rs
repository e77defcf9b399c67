//! Queries over TCP (RFC 7766): few connections, each for a short time.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::answer::Answers;
use crate::limit::network;
use crate::query::Over;
use crate::server::now;
use crate::stats::Count;

/// Connections at a time, and of one network.
const CONNECTIONS: usize = 1024;
const OF_A_NETWORK: usize = 64;
/// Queries of one connection.
const QUERIES: usize = 128;
/// Until the next query is there, or a reply is taken.
const PATIENCE: Duration = Duration::from_secs(5);
/// A longer query is none that we know.
const LONGEST: usize = 1500;

/// Who has connections, and how many.
#[derive(Debug, Default)]
pub(crate) struct Places {
    taken: Mutex<(usize, HashMap<u64, usize>)>,
}

/// One of the connections; dropped, there is room for another.
#[derive(Debug)]
struct Place {
    places: Arc<Places>,
    network: u64,
}

impl Places {
    fn take(self: &Arc<Self>, from: SocketAddr) -> Option<Place> {
        let network = network(from.ip());
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, networks) = &mut *taken;
        let own = networks.get(&network).copied().unwrap_or(0);
        if *all == CONNECTIONS || own == OF_A_NETWORK {
            return None;
        }
        *all += 1;
        networks.insert(network, own + 1);
        Some(Place { places: Arc::clone(self), network })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, networks) = &mut *taken;
        *all -= 1;
        if let Some(own) = networks.get_mut(&self.network) {
            *own -= 1;
            if *own == 0 {
                networks.remove(&self.network);
            }
        }
    }
}

/// Accepts connections for as long as the server runs.
pub(crate) async fn serve(listener: TcpListener, answers: Arc<Answers>, places: Arc<Places>) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => match places.take(from) {
                Some(place) => {
                    let answers = Arc::clone(&answers);
                    tokio::spawn(async move {
                        let _place = place;
                        // Whoever goes away before the end has what it wanted.
                        let _ = converse(stream, from, &answers).await;
                    });
                }
                None => answers.stats().add(Count::Full),
            },
            Err(error) => {
                // No descriptors left, say: it will be so for a while.
                tracing::warn!(%error, "TCP");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn converse(
    mut stream: TcpStream,
    from: SocketAddr,
    answers: &Answers,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut query, mut reply, mut framed) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..QUERIES {
        let length = usize::from(timeout(PATIENCE, stream.read_u16()).await??);
        if length > LONGEST {
            return Ok(());
        }
        query.resize(length, 0);
        timeout(PATIENCE, stream.read_exact(&mut query)).await??;
        if !answers.answer(&query, from, Over::Tcp, now(), &mut reply) {
            return Ok(());
        }
        framed.clear();
        framed.extend_from_slice(&u16::try_from(reply.len()).unwrap_or(0).to_be_bytes());
        framed.extend_from_slice(&reply);
        timeout(PATIENCE, stream.write_all(&framed)).await??;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_so_many_and_one_network_has_not_all() {
        let places = Arc::new(Places::default());
        let take = |text: &str| places.take(text.parse().unwrap());
        let own: Vec<_> = (0..100).filter_map(|_| take("192.0.2.1:5000")).collect();
        assert_eq!(own.len(), OF_A_NETWORK);
        assert!(take("192.0.2.99:1").is_none() && take("192.0.3.1:1").is_some());
        let others: Vec<_> = (0..30)
            .flat_map(|n| (0..OF_A_NETWORK).map(move |_| n))
            .filter_map(|n| take(&format!("10.0.{n}.1:53")))
            .collect();
        assert_eq!(own.len() + others.len(), CONNECTIONS);
        drop((own, others));
        assert_eq!(*places.taken.lock().unwrap(), (0, HashMap::new()));
    }
}
