// SPDX-License-Identifier: GPL-2.0
//! A small HTTP server: `GET /metrics`, one request for a connection, everything bounded: the size of a request, the time it takes,
//! how many are under way, how long the driver may take to answer.

use super::super::sample::{Sample, Sampler};
use super::metrics;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::signal::unix::{signal, SignalKind};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Most bytes of a request.
const REQUEST_BYTES: usize = 8192;
/// Longest time for reading a request or for writing an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest wait for the driver.
const DRIVER_PATIENCE: Duration = Duration::from_secs(8);
/// Most requests at a time.
const REQUESTS: usize = 16;
/// Content type of metrics.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Content type of everything else.
const PLAIN_TYPE: &str = "text/plain; charset=utf-8";

/// Where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Address and port.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Place {
    /// `ADDRESS:PORT` or `unix:PATH`.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some("") => Err("--listen=unix:PATH needs a path".into()),
            Some(path) => Ok(Place::Unix(path.into())),
            None => text.parse().map(Place::Tcp).map_err(|_| {
                format!("--listen takes ADDRESS:PORT (127.0.0.1:9942, [::1]:9942) or unix:PATH, not '{text}'")
            }),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp(address) => write!(f, "{address}"),
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What answers have in common.
#[derive(Clone)]
pub struct Server {
    sampler: Arc<Mutex<Sampler>>,
    /// One look at a time: a driver that does not answer holds one thread, not one for each request.
    turn: Arc<Semaphore>,
    room: Arc<Semaphore>,
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: &'static str,
    kind: &'static str,
    body: String,
    with_body: bool,
}

impl Answer {
    fn plain(status: &'static str, text: &str) -> Self {
        Self {
            status,
            kind: PLAIN_TYPE,
            body: format!("{text}\n"),
            with_body: true,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let allow = match self.status.starts_with("405") {
            true => "Allow: GET, HEAD\r\n",
            false => "",
        };
        let head = format!(
            "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{allow}Connection: close\r\n\r\n",
            self.status,
            self.kind,
            self.body.len()
        );
        let body = if self.with_body {
            self.body.as_str()
        } else {
            ""
        };
        [head.as_bytes(), body.as_bytes()].concat()
    }
}

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Metrics { with_body: bool },
    Other(Answer),
}

/// Understands a request's head.
fn understand(head: &[u8]) -> Asked {
    let first = head.split(|byte| *byte == b'\n').next().unwrap_or(&[]);
    let Ok(line) = std::str::from_utf8(first) else {
        return Asked::Other(Answer::plain("400 Bad Request", "this is not HTTP"));
    };
    let words: Vec<&str> = line.split_whitespace().collect();
    let [method, target, version] = words[..] else {
        return Asked::Other(Answer::plain("400 Bad Request", "this is not HTTP"));
    };
    if !version.starts_with("HTTP/1.") {
        return Asked::Other(Answer::plain(
            "400 Bad Request",
            "only HTTP 1 is spoken here",
        ));
    }
    let with_body = method != "HEAD";
    if !["GET", "HEAD"].contains(&method) {
        return Asked::Other(Answer::plain("405 Method Not Allowed", "only GET and HEAD"));
    }
    let found = match target.split('?').next() {
        Some("/metrics") => return Asked::Metrics { with_body },
        Some("/") => Answer::plain("200 OK", "DRBD exporter: the metrics are at /metrics"),
        _ => Answer::plain("404 Not Found", "the metrics are at /metrics"),
    };
    Asked::Other(Answer { with_body, ..found })
}

impl Server {
    /// Over samples of that sampler.
    pub fn new(sampler: Sampler) -> Self {
        Self {
            sampler: Arc::new(Mutex::new(sampler)),
            turn: Arc::new(Semaphore::new(1)),
            room: Arc::new(Semaphore::new(REQUESTS)),
        }
    }

    /// A sample, if there is one in time.
    async fn sample(&self) -> Option<Sample> {
        let look = async {
            let turn = Arc::clone(&self.turn).acquire_owned().await.ok()?;
            let sampler = Arc::clone(&self.sampler);
            let work = tokio::task::spawn_blocking(move || {
                let sample = sampler
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take();
                drop(turn);
                sample
            });
            work.await.ok()
        };
        timeout(DRIVER_PATIENCE, look).await.ok().flatten()
    }

    /// Reads a request and answers it.
    async fn serve(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let answer = match timeout(PATIENCE, head(&mut stream)).await {
            // nobody is there any more
            Ok(Err(_)) => return,
            Err(_) => Answer::plain("408 Request Timeout", "the request took too long"),
            Ok(Ok(None)) => Answer::plain(
                "431 Request Header Fields Too Large",
                "the request is too long",
            ),
            Ok(Ok(Some(head))) => match understand(&head) {
                Asked::Other(answer) => answer,
                Asked::Metrics { with_body } => Answer {
                    status: "200 OK",
                    kind: METRICS_TYPE,
                    body: metrics::render(self.sample().await.as_ref()),
                    with_body,
                },
            },
        };
        let written = async {
            stream.write_all(&answer.bytes()).await?;
            stream.shutdown().await
        };
        // whoever does not take the answer goes without
        let _ = timeout(PATIENCE, written).await;
    }

    /// Serves one connection besides the others; too many wait their turn in the listener.
    async fn spawn(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Ok(permit) = Arc::clone(&self.room).acquire_owned().await else {
            return;
        };
        let server = self.clone();
        tokio::spawn(async move {
            server.serve(stream).await;
            drop(permit);
        });
    }
}

/// The head of a request; `None`: it is too long.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let mut chunk = [0u8; 1024];
    loop {
        let count = stream.read(&mut chunk).await?;
        bytes.extend_from_slice(chunk.get(..count).unwrap_or(&[]));
        let complete = bytes.windows(4).any(|end| end == b"\r\n\r\n")
            || bytes.windows(2).any(|end| end == b"\n\n");
        match () {
            () if complete => return Ok(Some(bytes)),
            () if bytes.len() > REQUEST_BYTES => return Ok(None),
            () if count == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            () => {}
        }
    }
}

/// A Unix socket that is removed at the end.
struct Socket(UnixListener, PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.1);
    }
}

/// Makes the socket; one that a dead process left behind gives way.
async fn unix_socket(path: &PathBuf) -> io::Result<Socket> {
    let is_socket =
        std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if is_socket && UnixStream::connect(path).await.is_err() {
        std::fs::remove_file(path)?;
    }
    Ok(Socket(UnixListener::bind(path)?, path.clone()))
}

/// Listens until SIGTERM or SIGINT.
pub fn run(place: &Place, server: Server) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()?;
    let done = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
            failed = listen(place, &server) => failed,
        }
    });
    // a driver that does not answer holds nobody up
    runtime.shutdown_background();
    done
}

async fn listen(place: &Place, server: &Server) -> io::Result<()> {
    match place {
        Place::Tcp(address) => {
            let listener = TcpListener::bind(address).await?;
            println!("listening on http://{}/metrics", listener.local_addr()?);
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => server.spawn(stream).await,
                    Err(error) => wait_out(error).await?,
                }
            }
        }
        Place::Unix(path) => {
            let socket = unix_socket(path).await?;
            println!("listening on {place}");
            loop {
                match socket.0.accept().await {
                    Ok((stream, _)) => server.spawn(stream).await,
                    Err(error) => wait_out(error).await?,
                }
            }
        }
    }
}

/// A connection that is gone or a lack of descriptors passes; anything else ends the service.
async fn wait_out(error: io::Error) -> io::Result<()> {
    let passes = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted | io::ErrorKind::OutOfMemory
    );
    // ENFILE, EMFILE
    if passes || matches!(error.raw_os_error(), Some(23 | 24)) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        return Ok(());
    }
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(request: &[u8]) -> String {
        match understand(request) {
            Asked::Metrics { with_body } => format!("metrics {with_body}"),
            Asked::Other(answer) => answer.status.into(),
        }
    }

    #[test]
    fn requests_are_understood_or_refused() {
        assert_eq!(
            status(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"),
            "metrics true"
        );
        assert_eq!(status(b"GET /metrics?x=1 HTTP/1.0\r\n\r\n"), "metrics true");
        assert_eq!(status(b"HEAD /metrics HTTP/1.1\r\n\r\n"), "metrics false");
        assert_eq!(status(b"GET / HTTP/1.1\r\n\r\n"), "200 OK");
        assert_eq!(status(b"GET /x HTTP/1.1\r\n\r\n"), "404 Not Found");
        assert_eq!(
            status(b"POST /metrics HTTP/1.1\r\n\r\n"),
            "405 Method Not Allowed"
        );
        for wrong in [
            &b"\xff\xfe\r\n\r\n"[..],
            b"GET\r\n\r\n",
            b"",
            b"GET /metrics HTTP/2\r\n\r\n",
        ] {
            assert_eq!(status(wrong), "400 Bad Request", "{wrong:?}");
        }
    }

    #[test]
    fn an_answer_tells_its_length_and_ends_the_connection() {
        let text =
            String::from_utf8(Answer::plain("405 Method Not Allowed", "no").bytes()).expect("text");
        assert!(
            text.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"),
            "{text}"
        );
        assert!(
            text.contains("Content-Length: 3\r\n") && text.contains("Allow: GET, HEAD\r\n"),
            "{text}"
        );
        assert!(text.ends_with("Connection: close\r\n\r\nno\n"), "{text}");
    }
}
