//! Queries over TCP (RFC 7766): few connections, each for a short time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::accept::{self, Places};
use crate::answer::Answers;
use crate::query::Over;
use crate::server::now;

/// Queries of one connection.
const QUERIES: usize = 128;
/// Until the next query is there, or a reply is taken.
const PATIENCE: Duration = Duration::from_secs(5);
/// A longer query is none that we know.
const LONGEST: usize = 1500;

/// Answers for as long as the server runs.
pub(crate) async fn serve(listener: TcpListener, answers: Arc<Answers>, places: Arc<Places>) {
    let all = Arc::clone(&answers);
    accept::serve(listener, places, all.stats(), move |stream, from| {
        let answers = Arc::clone(&answers);
        async move {
            // Whoever goes away before the end has what it wanted.
            let _ = converse(stream, from, &answers).await;
        }
    })
    .await;
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
