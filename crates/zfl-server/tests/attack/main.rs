//! A coordinator under attack while 50 clients play their rounds.
//!
//! In a binary of its own, so that its memory is its own. Clients and
//! attackers live in the same process, so what is measured is more than what
//! the coordinator takes.
#![expect(clippy::unwrap_used, reason = "a test may")]
#![expect(clippy::panic, reason = "a test may")]

#[expect(dead_code, reason = "shared with the tests of the coordinator")]
#[path = "../coordinator/harness.rs"]
mod harness;
#[path = "../coordinator/problem.rs"]
mod problem;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use zfl_proto::http::MEDIA_TYPE_BINARY;
use zfl_seed::{Purpose, Stream};
use zfl_server::{Event, STRANGERS_MAX};

use harness::{Served, raw, soon, update};
use problem::{options, parameter_count, plain_run};

const CLIENT_COUNT: u32 = 50;
/// Connections that send nothing, or the beginning of a request.
const SILENT_COUNT: usize = 1000;
const HALF_COUNT: usize = 100;
/// Requests that announce 1 GB.
const ANNOUNCED_COUNT: usize = 100;
/// Requests that send a body without end.
const STREAMED_COUNT: usize = 20;
const GARBAGE_COUNT: usize = 200;
const WRONG_TOKEN_COUNT: usize = 300;
const REPLAY_COUNT: usize = 100;
const STOLEN_COUNT: usize = 100;
const GIGABYTE: usize = 1 << 30;
/// Memory may grow by this much; measured are 7 MiB.
const GROWTH_BYTES_MAX: u64 = 64 << 20;

/// A line of `/proc/self/status`, in bytes.
fn memory(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let value = status.lines().find_map(|found| found.strip_prefix(line));
    let kib = value.unwrap().trim().strip_suffix(" kB").unwrap();
    kib.parse::<u64>().unwrap() << 10
}

/// As many descriptors as the system gives: both ends are here.
fn raise_limits() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).unwrap();
}

fn head(token: &str, id: u32, framing: &str) -> String {
    format!(
        "POST /results?id={id} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: {MEDIA_TYPE_BINARY}\r\n{framing}\r\n\r\n"
    )
}

/// Sends a body until nobody takes it; the bytes that went, and the answer.
async fn stream_body(address: SocketAddr, head: String) -> (usize, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut from, mut to) = stream.into_split();
    let reading = tokio::spawn(async move {
        let mut answer = Vec::new();
        let _ = from.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    });
    let chunk = [b"10000\r\n".as_slice(), &[7; 0x10000], b"\r\n"].concat();
    let mut sent = 0;
    while sent < GIGABYTE {
        match soon("the end of a body", to.write(&chunk)).await {
            Ok(bytes) if bytes > 0 => sent += bytes,
            _ => break,
        }
    }
    drop(to);
    (sent, reading.await.unwrap())
}

/// Each refusal of this kind that is told from here on, up to so many.
async fn told(served: &mut Served, kinds: &[&str], count: usize) {
    let mut seen = 0;
    served
        .event("the refusals", |event| {
            seen += usize::from(
                matches!(event, Event::Refused { kind, .. } if kinds.contains(&kind.name())),
            );
            (seen == count).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_is_completed_under_attack() {
    raise_limits();
    let mut options = options(CLIENT_COUNT);
    options.plan.rounds = 3;
    let mut served = Served::new(options.clone()).await;
    let address = served.address;
    // One client holds round 1 open until all has been tried in it.
    let held = CLIENT_COUNT - 1;
    for client in 0..held {
        served.pull(client);
    }
    let last = served.link(held);
    last.provision().await;
    served.run();
    assert_eq!(served.round_started().await.0, 1);
    for _ in 0..held {
        let ok = |event: &Event| matches!(event, Event::ClientFinished { .. }).then_some(());
        served.event("an update", ok).await;
    }
    let before = memory("VmRSS:");
    let mut expected: BTreeMap<&str, u64> = BTreeMap::new();

    // Connections without a request, and half of one. They stay.
    let mut silent = Vec::new();
    for index in 0..SILENT_COUNT + HALF_COUNT {
        let mut stream = soon("a connection", TcpStream::connect(address))
            .await
            .unwrap();
        if index >= SILENT_COUNT {
            let _ = stream.write_all(b"POST /results?id=0 HTTP/1.1\r\nHo").await;
        }
        silent.push(stream);
    }
    told(&mut served, &["crowded"], silent.len() - STRANGERS_MAX).await;

    // Bodies of 1 GB: announced by one who may send an update, and by one who
    // may not.
    let (token, nobody) = (served.tokens[&0].to_string(), "0".repeat(32));
    let announced = format!("Content-Length: {GIGABYTE}");
    for _ in 0..ANNOUNCED_COUNT {
        let answer = raw(address, &[head(&token, 0, &announced).as_bytes()]).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        let answer = raw(address, &[head(&nobody, 0, &announced).as_bytes()]).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    }
    *expected.entry("too-large").or_default() += ANNOUNCED_COUNT as u64;
    *expected.entry("token").or_default() += ANNOUNCED_COUNT as u64;

    // And sent.
    let mut streams = JoinSet::new();
    for index in 0..STREAMED_COUNT {
        // No more than four at a time with one token.
        let token = served.tokens[&(index as u32 / 4)].to_string();
        let token = if index % 2 == 0 { &token } else { &nobody };
        let head = head(token, index as u32 / 4, "Transfer-Encoding: chunked");
        streams.spawn(stream_body(address, head));
    }
    for (sent, answer) in streams.join_all().await {
        // What lies between the two in the system's buffers, and no more.
        assert!(sent < 32 << 20, "{sent} bytes went");
        let is_answered = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
        assert!(is_answered, "{answer}");
    }
    *expected.entry("too-large").or_default() += STREAMED_COUNT as u64 / 2;
    *expected.entry("token").or_default() += STREAMED_COUNT as u64 / 2;

    // Bytes that mean nothing.
    let mut noise = Stream::new(1, Purpose::Partition, 0);
    for _ in 0..GARBAGE_COUNT {
        let mut bytes: Vec<u8> = (0..200).map(|_| noise.next_u32() as u8 | 0x80).collect();
        bytes.extend_from_slice(b"\r\n\r\n");
        let answer = raw(address, &[&bytes]).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
            "{answer}"
        );
    }
    expected.insert("malformed", GARBAGE_COUNT as u64);

    // Tokens that nobody has.
    for index in 0..WRONG_TOKEN_COUNT {
        let request = format!(
            "GET /training-data?id=0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Authorization: Bearer {index:032x}\r\n\r\n"
        );
        let answer = raw(address, &[request.as_bytes()]).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    }
    *expected.entry("token").or_default() += WRONG_TOKEN_COUNT as u64;

    // Updates again, and for another client.
    let link = served.link(0);
    let replay = update(0, 1, &vec![9.0; parameter_count()], |_| {});
    for _ in 0..REPLAY_COUNT {
        let answer = link.post_binary(replay.clone()).await;
        assert_eq!(answer.status, 409, "{}", answer.text());
    }
    expected.insert("duplicate", REPLAY_COUNT as u64);
    for index in 0..STOLEN_COUNT {
        let mut thief = served.link(1);
        // Another's id, and another's update with one's own.
        thief.id = (index % 2) as u32;
        let stolen = update(held, 1, &vec![9.0; parameter_count()], |_| {});
        let answer = thief.post_binary(stolen).await;
        assert_eq!(answer.status, 403, "{}", answer.text());
    }
    expected.insert("identity", STOLEN_COUNT as u64);

    // The last client gets through.
    served.pull(held);
    assert_eq!(served.round_started().await.0, 2);
    for _ in 0..REPLAY_COUNT {
        let answer = link.post_binary(replay.clone()).await;
        assert_eq!(answer.status, 409, "{}", answer.text());
    }
    expected.insert("stale", REPLAY_COUNT as u64);
    served.end().await.unwrap();
    let grown = memory("VmHWM:").saturating_sub(before);

    // Not a bit of the models has changed.
    assert_eq!(served.course(), plain_run(&options));
    // And each refusal is counted, those that stayed silent with their end.
    let silent_count = silent.len() as u64;
    drop(silent);
    let all_ended = async {
        loop {
            let mut counts = served.coordinator.refusals();
            let mut of_kind = |kind| counts.remove(kind).unwrap_or(0);
            let ended = of_kind("silent") + of_kind("crowded");
            assert!(ended <= silent_count, "{ended}");
            if ended == silent_count {
                break counts;
            }
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(
        soon("the end of all connections", all_ended).await,
        expected
    );
    println!("memory grew by {} KiB", grown >> 10);
    assert!(grown < GROWTH_BYTES_MAX, "{grown} bytes");
}
