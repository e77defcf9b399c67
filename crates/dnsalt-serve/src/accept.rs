//! Connections: so many at a time, and so many of one network.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use crate::limit::network;
use crate::stats::{Count, Stats};

/// Connections at a time.
const CONNECTIONS: usize = 1024;
/// The same of one network.
pub(crate) const OF_A_NETWORK: usize = 64;

/// Who has connections, and how many.
#[derive(Debug)]
pub(crate) struct Places {
    of_a_network: usize,
    taken: Mutex<(usize, HashMap<u64, usize>)>,
}

/// One of the connections; dropped, there is room for another.
#[derive(Debug)]
struct Place {
    places: Arc<Places>,
    network: u64,
}

impl Places {
    /// With room for so many of one network.
    pub(crate) fn new(of_a_network: usize) -> Arc<Self> {
        Arc::new(Places { of_a_network, taken: Mutex::default() })
    }

    fn take(self: &Arc<Self>, from: SocketAddr) -> Option<Place> {
        let network = network(from.ip());
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, networks) = &mut *taken;
        let own = networks.get(&network).copied().unwrap_or(0);
        if *all == CONNECTIONS || own >= self.of_a_network {
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

/// Accepts connections for as long as the server runs, and lets `converse` have each.
pub(crate) async fn serve<F>(
    listener: TcpListener,
    places: Arc<Places>,
    stats: &Stats,
    converse: impl Fn(TcpStream, SocketAddr) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        match listener.accept().await {
            Ok((stream, from)) => match places.take(from) {
                Some(place) => {
                    let conversation = converse(stream, from);
                    tokio::spawn(async move {
                        let _place = place;
                        conversation.await;
                    });
                }
                None => stats.add(Count::Full),
            },
            Err(error) => {
                // No descriptors left, say: it will be so for a while.
                tracing::warn!(%error, "TCP");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_so_many_and_one_network_has_not_all() {
        let places = Places::new(64);
        let take = |text: &str| places.take(text.parse().unwrap());
        let own: Vec<_> = (0..100).filter_map(|_| take("192.0.2.1:5000")).collect();
        assert_eq!(own.len(), 64);
        assert!(take("192.0.2.99:1").is_none() && take("192.0.3.1:1").is_some());
        let others: Vec<_> = (0..30)
            .flat_map(|n| (0..64).map(move |_| n))
            .filter_map(|n| take(&format!("10.0.{n}.1:53")))
            .collect();
        assert_eq!(own.len() + others.len(), CONNECTIONS);
        drop((own, others));
        assert_eq!(*places.taken.lock().unwrap(), (0, HashMap::new()));
    }
}
