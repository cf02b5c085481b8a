//! Clients that fail, each in its way.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::{any, get, post};
use tokio::net::{TcpListener, TcpSocket};
use zfl_server::{Coordinator, Event};

use crate::harness::{Served, raw, soon, update};
use crate::problem::{options, parameter_count, plain_run};

pub(crate) const ROUND_DEADLINE: Duration = Duration::from_secs(10);

/// Time stands still until a test advances it: whoever is early enough is so
/// on the slowest machine. (A running blocking task keeps tokio from
/// advancing time by itself; it ends after a minute, so that a test that
/// hangs fails.)
pub(crate) struct StoppedClock {
    _release: mpsc::Sender<()>,
}

impl StoppedClock {
    pub(crate) fn new() -> Self {
        let (release, released) = mpsc::channel();
        tokio::task::spawn_blocking(move || released.recv_timeout(Duration::from_secs(60)));
        Self { _release: release }
    }

    pub(crate) async fn pass(&self, deadline: Duration) {
        tokio::time::advance(deadline + Duration::from_millis(1)).await;
    }
}

/// Waits until `count` updates of the open round are there.
pub(crate) async fn updates(served: &mut Served, count: usize) {
    let mut seen = 0;
    served
        .event("the updates", |event| {
            seen += usize::from(matches!(event, Event::ClientFinished { .. }));
            (seen == count).then_some(())
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn with_a_quorum_the_run_goes_on_without_the_late() {
    let clock = StoppedClock::new();
    let mut options = options(3);
    options.deadlines.round = ROUND_DEADLINE;
    options.plan.quorum = 2;
    options.plan.rounds = 2;
    let mut served = Served::new(options).await;
    served.pull(0);
    served.pull(1);
    let silent = served.link(2);
    silent.provision().await;
    served.run();
    for round in 1..=2 {
        assert_eq!(served.round_started().await, (round, vec![0, 1, 2]));
        assert_eq!(silent.task().await["round"], round);
        updates(&mut served, 2).await;
        clock.pass(ROUND_DEADLINE).await;
        let (outcome, detail) = served.finished(2).await;
        assert_eq!(
            (outcome, detail.as_str()),
            ("late", "no update within 10 s")
        );
    }
    let parameters = served.end().await.unwrap();
    for round in 1..=2 {
        let outcomes: Vec<_> = served.outcomes(round).into_iter().map(|o| o.1).collect();
        assert_eq!(outcomes, ["ok", "ok", "late"]);
    }
    // Now it comes, and changes nothing.
    let answer = silent
        .post_binary(update(2, 1, &vec![9.0; parameter_count()], |_| {}))
        .await;
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert!(parameters.iter().all(|parameter| *parameter < 9.0));
}

#[tokio::test(start_paused = true)]
async fn without_a_quorum_the_error_names_the_client() {
    let clock = StoppedClock::new();
    let mut options = options(3);
    options.deadlines.round = ROUND_DEADLINE;
    let mut served = Served::new(options).await;
    served.pull(0);
    served.pull(2);
    served.link(1).provision().await;
    served.run();
    served.round_started().await;
    updates(&mut served, 2).await;
    clock.pass(ROUND_DEADLINE).await;
    assert_eq!(
        served.end().await.unwrap_err().to_string(),
        "round 1: 2 of 3 clients sent an update, the quorum is 3; \
         client 1 is late: no update within 10 s"
    );
}

/// A device that takes the connection and says nothing.
#[tokio::test(start_paused = true)]
async fn a_device_that_never_answers_is_late() {
    let clock = StoppedClock::new();
    let mut options = options(2);
    options.deadlines.round = ROUND_DEADLINE;
    options.plan.quorum = 1;
    options.plan.rounds = 1;
    let mut served = Served::new(options).await;
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    assert_eq!(served.claim(&[deaf.local_addr().unwrap()]).await, [0]);
    served.link(0).provision().await;
    served.pull(1);
    served.run();
    assert_eq!(served.finished(1).await.0, "ok");
    clock.pass(ROUND_DEADLINE).await;
    served.end().await.unwrap();
    let (_, outcome, detail) = served.outcomes(1)[0].clone();
    assert_eq!(
        (outcome, detail.as_str()),
        ("late", "no update within 10 s")
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_fetches_its_data_is_unreachable() {
    let clock = StoppedClock::new();
    let mut options = options(2);
    options.deadlines.ready = ROUND_DEADLINE;
    options.plan.quorum = 1;
    options.plan.rounds = 2;
    let mut served = Served::new(options).await;
    served.link(1).provision().await;
    served.pull(1);
    served.run();
    let initial = |event: &Event| matches!(event, Event::Initial { .. }).then_some(());
    served.event("the initial model", initial).await;
    clock.pass(ROUND_DEADLINE).await;
    // The second round does not wait for it again.
    served.end().await.unwrap();
    for round in 1..=2 {
        let outcomes = served.outcomes(round);
        assert_eq!(outcomes[0].1, "unreachable");
        assert_eq!(outcomes[0].2, "did not fetch its training data within 10 s");
        assert_eq!(outcomes[1].1, "ok");
    }
}

/// Nobody listens there.
#[tokio::test]
async fn a_device_that_refuses_connections_is_unreachable() {
    let mut options = options(1);
    options.deadlines.round = Duration::from_secs(1);
    let mut served = Served::new(options).await;
    // Bound, so that no other test gets the port, and not listening.
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind(([127, 0, 0, 1], 0).into()).unwrap();
    served.claim(&[closed.local_addr().unwrap()]).await;
    served.link(0).provision().await;
    served.run();
    let error = served.end().await.unwrap_err().to_string();
    assert!(
        error.contains("client 0 is unreachable: /ready: "),
        "{error}"
    );
    assert!(error.contains("refused"), "{error}");
}

#[tokio::test]
async fn a_lost_client_is_crashed_at_once() {
    let mut options = options(3);
    options.plan.quorum = 2;
    options.plan.rounds = 3;
    let mut served = Served::new(options).await;
    // One is called and hangs, so that the loss must also end the call.
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    assert_eq!(served.claim(&[deaf.local_addr().unwrap()]).await, [0]);
    served.link(0).provision().await;
    served.pull(1);
    served.pull(2);
    served.run();
    served.round_started().await;
    // The deadline is an hour away.
    let answer = served
        .fleet_post("/lost?id=0", "panicked: out of cheese".to_owned())
        .await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    let (outcome, detail) = served.finished(0).await;
    assert_eq!(
        (outcome, detail.as_str()),
        ("crashed", "panicked: out of cheese")
    );
    served.end().await.unwrap();
    assert_eq!(served.outcomes(1).len(), 3);
    for round in 2..=3 {
        let ids: Vec<u32> = served.outcomes(round).into_iter().map(|o| o.0).collect();
        assert_eq!(ids, [1, 2], "the lost client is not selected again");
    }
}

#[tokio::test]
async fn a_run_ends_when_too_few_clients_are_left() {
    let mut served = Served::new(options(2)).await;
    served.pull(0);
    served.coordinator.client_lost(1, "exited with code 1");
    served.coordinator.client_lost(1, "and again");
    served.run();
    assert_eq!(
        served.end().await.unwrap_err().to_string(),
        "round 1: 1 of 2 clients are left, the quorum is 2; client 1: exited with code 1"
    );
    let told = served
        .history
        .iter()
        .filter(|event| matches!(event, Event::ClientLost { .. }));
    assert_eq!(told.count(), 1);
}

/// A client's time counts from its turn, and that of one that is not called
/// from the start of the round.
#[tokio::test(start_paused = true)]
async fn the_time_of_a_client_counts_from_its_turn() {
    let clock = StoppedClock::new();
    let mut options = options(5);
    options.deadlines.round = ROUND_DEADLINE;
    options.plan.quorum = 1;
    options.plan.rounds = 1;
    options.parallel = NonZeroU32::new(1);
    let mut served = Served::new(options).await;
    let mut deaf = Vec::new();
    for _ in 0..3 {
        deaf.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
    }
    let endpoints: Vec<SocketAddr> = deaf.iter().map(|deaf| deaf.local_addr().unwrap()).collect();
    assert_eq!(served.claim(&endpoints).await, [0, 1, 2]);
    // It has its data and never asks for its task.
    for client in 0..4 {
        served.link(client).provision().await;
    }
    served.pull(4);
    served.run();
    assert_eq!(served.finished(4).await.0, "ok");
    let mut calls = Vec::new();
    for (client, deaf) in (0..).zip(&deaf) {
        // Its turn has begun.
        calls.push(soon("the call", deaf.accept()).await.unwrap());
        let asked = calls.len();
        clock.pass(ROUND_DEADLINE).await;
        // In any order: the first turn ends with the round's first deadline.
        let mut late: Vec<u32> = match asked {
            1 => vec![client, 3],
            _ => vec![client],
        };
        while !late.is_empty() {
            let (client, outcome, detail) = served
                .event("a late client", |event| match event {
                    Event::ClientFinished {
                        client,
                        outcome,
                        detail,
                        ..
                    } => Some((*client, outcome.name(), detail.clone())),
                    _ => None,
                })
                .await;
            assert!(late.contains(&client), "client {client} in turn {asked}");
            late.retain(|waited| *waited != client);
            assert_eq!(
                (outcome, detail.as_str()),
                ("late", "no update within 10 s")
            );
        }
    }
    served.end().await.unwrap();
}

/// A turn that is over by a loss is the next client's, long before its time is
/// up.
#[tokio::test]
async fn a_loss_gives_its_turn_to_the_next() {
    let mut options = options(3);
    options.plan.quorum = 2;
    options.plan.rounds = 1;
    options.parallel = NonZeroU32::new(1);
    let mut served = Served::new(options).await;
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    assert_eq!(served.claim(&[deaf.local_addr().unwrap()]).await, [0]);
    served.link(0).provision().await;
    for client in 1..3 {
        assert_eq!(served.device(|_| {}).await, client);
    }
    served.run();
    let _call = soon("the call", deaf.accept()).await.unwrap();
    served.coordinator.client_lost(0, "panicked");
    served.end().await.unwrap();
    let outcomes: Vec<_> = served.outcomes(1).into_iter().map(|o| o.1).collect();
    assert_eq!(outcomes, ["crashed", "ok", "ok"]);
}

/// Lost while the run waits for its data: no waiting for the deadline.
#[tokio::test]
async fn a_client_lost_before_it_is_ready_holds_nobody_up() {
    let mut options = options(2);
    options.plan.quorum = 1;
    options.plan.rounds = 1;
    let mut served = Served::new(options).await;
    served.pull(0);
    served.run();
    let initial = |event: &Event| matches!(event, Event::Initial { .. }).then_some(());
    served.event("the initial model", initial).await;
    served.coordinator.client_lost(1, "did not boot");
    served.end().await.unwrap();
    let outcomes = served.outcomes(1);
    assert_eq!(
        (outcomes[1].1, outcomes[1].2.as_str()),
        ("crashed", "did not boot")
    );
}

#[tokio::test]
async fn a_model_that_does_not_fit_is_rejected_with_the_devices_words() {
    let mut options = options(2);
    options.plan.quorum = 1;
    options.plan.rounds = 1;
    let mut served = Served::new(options).await;
    // Enough for the share and nothing more.
    assert_eq!(served.device(|device| device.shrink(512)).await, 0);
    served.pull(1);
    served.run();
    served.end().await.unwrap();
    let (_, outcome, detail) = served.outcomes(1)[0].clone();
    assert_eq!(outcome, "rejected");
    let wanted = "/start answered 507: does not fit: needs ";
    assert!(detail.starts_with(wanted), "{detail}");
    assert!(detail.ends_with(" bytes of 512"), "{detail}");
    assert_eq!(served.records()[0].clients[0].board, "by-hand");
}

#[tokio::test]
async fn a_busy_device_is_asked_again() {
    let options = options(2);
    let mut served = Served::new(options.clone()).await;
    let mut left = None;
    served
        .device(|device| {
            *device.busy_count.lock().unwrap() = 3;
            left = Some(Arc::clone(&device.busy_count));
        })
        .await;
    served.device(|_| {}).await;
    served.run();
    served.end().await.unwrap();
    assert_eq!(*left.unwrap().lock().unwrap(), 0);
    assert_eq!(served.course(), plain_run(&options));
}

pub(crate) async fn serve(served: &mut Served, router: axum::Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    served
        .clients
        .spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

/// A device reaches nothing but the virtual network; it must not make the
/// coordinator call the host's other services on its behalf.
#[tokio::test]
async fn a_device_cannot_send_the_coordinator_elsewhere() {
    let mut options = options(1);
    options.plan.rounds = 1;
    let mut served = Served::new(options).await;
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let trap = axum::Router::new().fallback(any(async move || {
        counted.fetch_add(1, Ordering::Relaxed);
    }));
    let trap = serve(&mut served, trap).await;
    let redirect = async move || {
        let mut headers = HeaderMap::new();
        let location = format!("http://{trap}/start").parse().unwrap();
        headers.insert(header::LOCATION, location);
        (StatusCode::TEMPORARY_REDIRECT, headers, "line 1\r\nline 2")
    };
    let device = axum::Router::new()
        .route("/ready", get(async || "ready"))
        .route("/start", post(redirect));
    let endpoint = serve(&mut served, device).await;
    served.claim(&[endpoint]).await;
    served.link(0).provision().await;
    served.run();
    let error = served.end().await.unwrap_err().to_string();
    assert!(
        error.ends_with("client 0 is rejected: /start answered 307: line 1  line 2"),
        "{error}"
    );
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

/// A device can answer without end; only the beginning is told.
#[tokio::test]
async fn a_devices_refusal_has_a_bound() {
    let mut options = options(1);
    options.plan.rounds = 1;
    let mut served = Served::new(options).await;
    let device = axum::Router::new()
        .route("/ready", get(async || "ready"))
        .route(
            "/start",
            post(async || (StatusCode::BAD_REQUEST, "x".repeat(1 << 20))),
        );
    let endpoint = serve(&mut served, device).await;
    served.claim(&[endpoint]).await;
    served.link(0).provision().await;
    served.run();
    let error = served.end().await.unwrap_err().to_string();
    assert!(error.contains("/start answered 400: xxx"), "{error}");
    assert_eq!(error.matches('x').count(), 300);
}

#[tokio::test]
async fn a_port_in_use_is_told_with_the_remedy() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let error = Coordinator::listen(address).await.unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("failed to listen on {address}: ")),
        "{error}"
    );
    assert!(error.contains("in use"), "{error}");
    assert!(error.ends_with("or 0 for any free one"), "{error}");
}

#[tokio::test]
async fn garbage_does_not_disturb_a_run() {
    let options = options(2);
    let mut served = Served::new(options.clone()).await;
    let (address, token) = (served.address, served.tokens[&0]);
    let cut_off = format!(
        "POST /results?id=0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/vnd.zfl\r\nContent-Length: 500\r\n\r\nZFL1"
    );
    let garbage: [&[u8]; 6] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 this is TLS\r\n\r\n",
        b"GET /id HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\nno colon\r\n\r\n",
        b"POST /results?id=0 HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /results?id=0 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
    ];
    served.pull(0);
    served.pull(1);
    served.run();
    for round in 1..=options.plan.rounds {
        assert_eq!(served.round_started().await.0, round);
        for bytes in garbage {
            let answer = raw(address, &[bytes]).await;
            let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
            assert!(refused, "{answer}");
        }
        // Connections that end in the middle of a head and of a body.
        for bytes in [b"GET /id HT".as_slice(), cut_off.as_bytes()] {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            stream.writable().await.unwrap();
            assert_eq!(stream.try_write(bytes).unwrap(), bytes.len());
            drop(stream);
        }
    }
    served.end().await.unwrap();
    assert_eq!(served.course(), plain_run(&options));
}

/// A sender that goes away is not one that sends too much.
#[tokio::test]
async fn a_body_that_is_cut_off_is_told_as_such() {
    let mut served = Served::new(options(1)).await;
    let head = format!(
        "POST /results?id=0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{{\r\nzz\r\n",
        served.tokens[&0]
    );
    raw(served.address, &[head.as_bytes()]).await;
    let reason = served
        .event("the refusal", |event| match event {
            Event::Refused { reason, .. } => Some(reason.clone()),
            _ => None,
        })
        .await;
    assert_eq!(reason, "body was cut off by its sender");
}
