//! Connections that are silent, slow, or too many.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use zfl_server::{
    CONNECTIONS_PER_CLIENT_MAX, Event, HEAD_BYTES_MAX, HEAD_DEADLINE, REFUSALS_TOLD_MAX,
    STRANGERS_MAX,
};

use crate::harness::{Answer, Served, http_client, raw, soon};
use crate::problem::options;

async fn connect(address: SocketAddr) -> TcpStream {
    soon("a connection", TcpStream::connect(address))
        .await
        .unwrap()
}

/// What comes until the other side closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset is an end as well.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn send(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
}

/// Reads an answer as it comes, as far as the end of its head.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon("an answer", stream.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// A request that waits: its connection stays open.
fn waiting(token: &str) -> String {
    format!("GET /start?id=0&wait=60 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n")
}

async fn refusal(served: &mut Served) -> (&'static str, String) {
    served
        .event("a refusal", |event| match event {
            Event::Refused { kind, reason, .. } => Some((kind.name(), reason.clone())),
            _ => None,
        })
        .await
}

/// Time passes where nothing else happens.
#[tokio::test(start_paused = true)]
async fn silent_and_slow_connections_are_closed() {
    let mut served = Served::new(options(1)).await;
    for bytes in ["", "GET /sta", "GET /status HTTP/1.1\r\nHost: x\r\n"] {
        let mut stream = connect(served.address).await;
        let began = Instant::now();
        send(&mut stream, bytes.as_bytes()).await;
        assert!(!rest(&mut stream).await.contains("HTTP/1.1 200"));
        let waited = began.elapsed();
        let most = HEAD_DEADLINE + Duration::from_secs(5);
        assert!((HEAD_DEADLINE..most).contains(&waited), "{waited:?}");
        let (kind, reason) = refusal(&mut served).await;
        assert_eq!(
            (kind, reason.as_str()),
            ("silent", "closed: no request within 30 s")
        );
    }
    assert_eq!(served.coordinator.refusals()["silent"], 3);
}

/// It may be silent between its requests, and is closed all the same.
#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed() {
    let mut served = Served::new(options(1)).await;
    let mut stream = connect(served.address).await;
    for _ in 0..3 {
        send(&mut stream, b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(head(&mut stream).await.starts_with("HTTP/1.1 200"));
        let mut body = [0; 10];
        stream.read_exact(&mut body).await.unwrap();
        assert_eq!(&body, b"{\"round\":0");
        while !body.ends_with(b"{}}") {
            body.rotate_left(1);
            body[9] = stream.read_u8().await.unwrap();
        }
    }
    let began = Instant::now();
    assert_eq!(rest(&mut stream).await, "");
    assert!(began.elapsed() >= HEAD_DEADLINE - Duration::from_secs(1));
    assert_eq!(refusal(&mut served).await.0, "idle");
    assert_eq!(served.coordinator.refusals().len(), 1);
}

/// However many are silent, whoever says something is heard.
#[tokio::test]
async fn strangers_make_room_for_each_other() {
    let mut served = Served::new(options(1)).await;
    let mut strangers = Vec::new();
    // The first of all is a client, and nobody's to close.
    let mut client = connect(served.address).await;
    let token = served.tokens[&0].to_string();
    send(&mut client, waiting(&token).as_bytes()).await;
    let ready = |event: &Event| matches!(event, Event::ClientProvisioned { .. }).then_some(());
    served.event("the client", ready).await;
    for _ in 0..STRANGERS_MAX + 10 {
        strangers.push(connect(served.address).await);
    }
    let answer = Answer::of(http_client().get(format!("http://{}/status", served.address))).await;
    assert_eq!(answer.status, 200);
    // The oldest went first: ten, and one for the question.
    for stranger in &mut strangers[..10] {
        soon("the end of a connection", rest(stranger)).await;
        assert_eq!(refusal(&mut served).await.0, "crowded");
    }
    served.run();
    assert!(head(&mut client).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_client_has_so_many_connections() {
    let mut served = Served::new(options(2)).await;
    let token = served.tokens[&0].to_string();
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS_PER_CLIENT_MAX {
        let mut stream = connect(served.address).await;
        // Not the end of the head yet, so that what follows is in order.
        send(&mut stream, b"GET /id HTTP/1.1\r\nHost: x\r\n").await;
        let rest = format!("Authorization: Bearer {token}\r\n\r\n");
        send(&mut stream, rest.as_bytes()).await;
        assert!(head(&mut stream).await.starts_with("HTTP/1.1 200"));
        streams.push(stream);
    }
    let one_more = raw(served.address, &[waiting(&token).as_bytes()]).await;
    assert!(one_more.starts_with("HTTP/1.1 429 "), "{one_more}");
    assert!(one_more.contains("more than 8 connections with this token"));
    // The other client has its own.
    let other = Answer::of(served.link(1).get("/id")).await;
    assert_eq!(other.status, 200);
    assert_eq!(served.coordinator.refusals()["crowded"], 1);
    // One that ends is one that may begin.
    drop(streams.pop());
    let again = async {
        while Answer::of(served.link(0).get("/id")).await.status == 429 {
            tokio::task::yield_now().await;
        }
    };
    soon("room", again).await;
    let told = refusal(&mut served).await;
    assert_eq!(told.0, "crowded");
}

/// What is no HTTP is refused before it is large.
#[tokio::test]
async fn bytes_that_are_no_request_are_counted() {
    let mut served = Served::new(options(1)).await;
    let long = format!(
        "GET /id?{} HTTP/1.1\r\n\r\n",
        "x".repeat(2 * HEAD_BYTES_MAX)
    );
    for bytes in [b"\x16\x03\x01\0\r\n\r\n".as_slice(), long.as_bytes()] {
        let answer = raw(served.address, &[bytes]).await;
        let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
        assert!(refused, "{answer}");
        assert_eq!(refusal(&mut served).await.0, "malformed");
    }
    let nowhere = raw(
        served.address,
        &[b"DELETE /id HTTP/1.1\r\nConnection: close\r\n\r\nGET /nowhere HTTP/1.1\r\n\r\n"],
    )
    .await;
    assert!(nowhere.starts_with("HTTP/1.1 405 "), "{nowhere}");
    assert_eq!(refusal(&mut served).await.0, "method");
    let nowhere = Answer::of(served.link(0).get("/nowhere")).await;
    assert_eq!(nowhere.status, 404);
    assert_eq!(refusal(&mut served).await.0, "not-found");
    drop(connect(served.address).await);
    assert_eq!(
        refusal(&mut served).await.1,
        "closed by its sender before there was a request"
    );
    let status = Answer::of(served.link(0).get("/status")).await.json();
    assert_eq!(
        status["refused"],
        serde_json::json!({"malformed": 2, "method": 1, "not-found": 1, "silent": 1})
    );
}

/// A million refusals must not fill a disk.
#[tokio::test]
async fn not_every_refusal_is_told() {
    let mut served = Served::new(options(1)).await;
    let count = REFUSALS_TOLD_MAX + 20;
    let mut stream = connect(served.address).await;
    for _ in 0..count {
        send(&mut stream, b"GET /id HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let head = head(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 401"));
        let length = head.split("content-length: ").nth(1).unwrap();
        let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
        stream.read_exact(&mut vec![0; length]).await.unwrap();
    }
    assert_eq!(served.coordinator.refusals()["token"], count);
    served.coordinator.client_lost(0, "the end");
    let mut told = 0;
    served
        .event("the end", |event| match event {
            Event::Refused { .. } => {
                told += 1;
                None
            }
            Event::ClientLost { .. } => Some(()),
            _ => None,
        })
        .await;
    assert_eq!(told, REFUSALS_TOLD_MAX);
}

/// Who may send an update must send it in time.
#[tokio::test(start_paused = true)]
async fn a_slow_body_is_given_up() {
    let mut served = Served::new(options(1)).await;
    let token = served.tokens[&0];
    let mut stream = connect(served.address).await;
    let head = format!(
        "POST /results?id=0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/vnd.zfl\r\nContent-Length: 500\r\n\r\nZFL1"
    );
    let began = Instant::now();
    send(&mut stream, head.as_bytes()).await;
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(refusal(&mut served).await.0, "too-slow");
    let most = Duration::from_secs(65);
    assert!((Duration::from_secs(60)..most).contains(&began.elapsed()));
}

/// `docs/security.md` names a test for each promise.
#[test]
fn each_test_that_is_named_exists() {
    let crates = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let crates = crates.unwrap();
    let document = crates.parent().unwrap().join("docs/security.md");
    let document = std::fs::read_to_string(document).unwrap();
    let mut sources = String::new();
    let mut folders = ["zfl-server/src", "zfl-server/tests", "zfl-net/tests"]
        .map(|folder| crates.join(folder))
        .to_vec();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    let rows = document.lines().filter(|line| line.starts_with("| "));
    let of_threats = rows.filter(|row| row.trim_matches('|').split('|').count() == 4);
    let (mut threats, mut tests) = (0, 0);
    for row in of_threats.skip(1) {
        let shown_by = row.trim_matches('|').rsplit('|').next().unwrap();
        let mut named = 0;
        for name in shown_by.split('`').skip(1).step_by(2) {
            let is_test_name = name.contains('_') && !name.contains(['(', '.']);
            if is_test_name {
                assert!(sources.contains(&format!("fn {name}(")), "no test {name}");
                named += 1;
            }
        }
        threats += 1;
        tests += named;
    }
    assert!(
        threats >= 15 && tests >= 25,
        "{threats} threats, {tests} tests"
    );
}
