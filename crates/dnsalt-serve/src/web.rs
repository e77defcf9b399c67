//! The page: a browser looks up names that nobody knew before, and shows who asked us for them.
//!
//! | address | answer |
//! |---|---|
//! | `GET /`, `GET /r/LINK` | the page; the second shows a result that is there |
//! | `POST /tests` | a new test: its link, and the names to look up |
//! | `GET /tests/LINK` | what is known of it, or 404 |
//! | `GET /tests/LINK/events` | the same as it comes in, as server-sent events, until there is no more |
//!
//! A link is not the token that resolvers see: who runs a resolver cannot look at its visitors' results by it.

mod live;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use data_encoding::BASE32_DNSSEC;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::Serialize;
use siphasher::sip::SipHasher24;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::accept::{self, OF_A_NETWORK, Places};
use crate::answer::Answers;
use crate::server::{now, random};
use crate::stats::Count;
use crate::token::Body;

/// Until a request is there.
const PATIENCE: Duration = Duration::from_secs(10);
/// For all requests of a connection together.
const LONGEST: Duration = Duration::from_secs(120);
/// The least that hyper allows.
const BUFFER: usize = 8192;

const PAGE: &str = include_str!("web/page.html");
const SCRIPT: &str = include_str!("web/page.js");
const STYLE: &str = include_str!("web/page.css");

/// A page to serve.
#[derive(Clone, Debug)]
pub struct Web {
    /// Where; best on this machine only, with a proxy before it that speaks TLS.
    pub listen: Vec<SocketAddr>,
    /// The style that it shares with other pages: colours by the words of verdicts, tables, plots.
    pub style: &'static str,
}

/// What all requests share.
#[derive(Debug)]
struct Pages {
    answers: Arc<Answers>,
    /// From links to tests.
    key: [u8; 16],
    page: String,
    style: String,
}

/// A test that a browser is to make.
#[derive(Serialize)]
struct Begun {
    link: String,
    /// To be looked up, for whatever type.
    names: Vec<String>,
}

/// Serves the page at one address for as long as the server runs.
pub(crate) async fn serve(
    listener: TcpListener,
    answers: Arc<Answers>,
    key: [u8; 16],
    style: &'static str,
) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let zone = answers.zone().text();
    let pages = Pages {
        page: PAGE.replace("{ZONE}", zone),
        style: [style, STYLE].concat(),
        answers: Arc::clone(&answers),
        key,
    };
    let policy = policy(zone);
    let router = axum::Router::new()
        .route("/", get(page))
        .route("/r/{link}", get(page))
        .route("/page.css", get(style_sheet))
        .route("/page.js", get(|| async { ([(header::CONTENT_TYPE, "text/javascript")], SCRIPT) }))
        .route("/tests", post(begin))
        .route("/tests/{link}", get(result))
        .route("/tests/{link}/events", get(events))
        .with_state(Arc::new(pages))
        .layer(axum::middleware::map_response(move |response: Response| {
            let policy = policy.clone();
            async move { with_headers(response, policy) }
        }));
    // Of this machine, where a proxy asks for all, there may be as many as there is room for.
    let local = listener.local_addr()?.ip().is_loopback();
    let places = Places::new(if local { usize::MAX } else { OF_A_NETWORK });
    accept::serve(listener, places, answers.stats(), |stream, _| {
        let router = router.clone();
        async move { converse(stream, router).await }
    })
    .await;
    Ok(())
}

async fn converse(stream: TcpStream, router: axum::Router) {
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(BUFFER);
    let conversation =
        protocol.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // Whoever goes away before the end has what it wanted.
    let _ = timeout(LONGEST, conversation).await;
}

/// Nothing from elsewhere; pictures only to make the browser look up names of the zone.
fn policy(zone: &str) -> HeaderValue {
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src *.{zone}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy)
        .unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"))
}

fn with_headers(mut response: Response, policy: HeaderValue) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn page(State(pages): State<Arc<Pages>>) -> Html<String> {
    pages.answers.stats().add(Count::Page);
    Html(pages.page.clone())
}

async fn style_sheet(State(pages): State<Arc<Pages>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css")], pages.style.clone())
}

/// Nothing is kept of it until the first query arrives.
async fn begin(State(pages): State<Arc<Pages>>) -> Result<Json<Begun>, StatusCode> {
    let link: [u8; 16] = random().map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let link = BASE32_DNSSEC.encode(&link);
    let names = pages.answers.browser_names(pages.test(&link), now());
    Ok(Json(Begun { link, names }))
}

async fn result(
    State(pages): State<Arc<Pages>>,
    Path(link): Path<String>,
) -> Result<Json<live::Progress>, StatusCode> {
    let progress = live::progress(&pages.answers, pages.test(&link), 0, true);
    progress.map(Json).ok_or(StatusCode::NOT_FOUND)
}

async fn events(State(pages): State<Arc<Pages>>, Path(link): Path<String>) -> Response {
    let events = live::events(Arc::clone(&pages.answers), pages.test(&link));
    let stream = Sse::new(events).keep_alive(KeepAlive::default());
    // A proxy that waits until it has enough shows everything at the end.
    ([("x-accel-buffering", "no")], stream).into_response()
}

impl Pages {
    /// The test behind a link; any text is one.
    fn test(&self, link: &str) -> Body {
        SipHasher24::new_with_key(&self.key).hash(link.as_bytes())
    }
}

#[cfg(test)]
mod tests;
