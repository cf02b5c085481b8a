//! What is done about clients that are slow, late, fail and come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::{get, post};
use serde_json::json;
use zfl_server::{
    AdaptiveDeadline, Carry, Event, LateUpdate, Rest, Resting, Resume, Staleness, checkpoint,
};

use crate::failures::{ROUND_DEADLINE, StoppedClock, serve, updates};
use crate::harness::{Answer, Served, http_client, update};
use crate::problem::{options, parameter_count, plain_run, share_size};

/// A device that takes every task and trains none.
fn lazy_device() -> axum::Router {
    axum::Router::new()
        .route("/ready", get(async || "ready"))
        .route("/start", post(async || StatusCode::ACCEPTED))
}

/// Waits until the coordinator says that a client is back.
async fn back(served: &mut Served, wanted: u32) {
    served
        .event("the client", |event| match event {
            Event::ClientBack { client } if *client == wanted => Some(()),
            _ => None,
        })
        .await;
}

#[tokio::test]
async fn a_round_closes_with_the_updates_that_it_needs() {
    let mut options = options(4);
    options.plan.clients_per_round = 2;
    options.plan.quorum = 2;
    options.plan.policy.over_selection = 0.75;
    options.plan.rounds = 3;
    let mut served = Served::new(options).await;
    // The two others are there and never ask. The deadline is an hour away.
    for client in 0..4 {
        served.link(client).provision().await;
    }
    served.pull(1);
    served.pull(3);
    served.run();
    served.end().await.unwrap();
    let surplus = "the round has the 2 updates that it needs";
    for round in 1..=3 {
        let outcomes: Vec<_> = served
            .outcomes(round)
            .into_iter()
            .map(|o| (o.1, o.2))
            .collect();
        let outcomes: Vec<_> = outcomes.iter().map(|(o, d)| (*o, d.as_str())).collect();
        let expected = [
            ("surplus", surplus),
            ("ok", ""),
            ("surplus", surplus),
            ("ok", ""),
        ];
        assert_eq!(outcomes, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_update_moves_the_next_model() {
    let clock = StoppedClock::new();
    let mut options = options(3);
    options.deadlines.round = ROUND_DEADLINE;
    options.plan.quorum = 1;
    options.plan.rounds = 2;
    options.plan.policy.staleness = Staleness {
        rounds_max: 1,
        exponent: 1.0,
    };
    let mut served = Served::new(options).await;
    for client in 0..3 {
        served.link(client).provision().await;
    }
    served.run();
    served.round_started().await;
    let flat = |value: f32| vec![value; parameter_count()];
    let (early, late) = (served.link(0), served.link(1));
    for client in 0..3 {
        served.link(client).task().await;
    }
    assert_eq!(
        early
            .post_binary(update(0, 1, &flat(0.5), |_| {}))
            .await
            .status,
        200
    );
    updates(&mut served, 1).await;
    clock.pass(ROUND_DEADLINE).await;
    served.round_started().await;

    // Round 1 is over: 0.5 everywhere. What it was before, the task has told.
    let initial = late.task().await;
    assert_eq!(initial["round"], 2);
    let now = late.post_binary(update(1, 1, &flat(0.25), |_| {})).await;
    assert_eq!(now.json(), json!({"outcome": "accepted-late", "round": 1}));
    let again = late.post_binary(update(1, 1, &flat(0.25), |_| {})).await;
    assert_eq!(again.status, 409);
    assert!(
        again.text().contains("duplicate: client 1 "),
        "{}",
        again.text()
    );
    // It was not selected, or not started: nobody waited for it.
    let wrong = served.link(2);
    let bad = wrong.post_binary(update(2, 1, &[1.0], |_| {})).await;
    assert_eq!(bad.status, 422, "{}", bad.text());

    assert_eq!(early.task().await["round"], 2);
    assert_eq!(
        early
            .post_binary(update(0, 2, &flat(1.0), |_| {}))
            .await
            .status,
        200
    );
    updates(&mut served, 1).await;
    clock.pass(ROUND_DEADLINE).await;
    let model = served.end().await.unwrap();

    let records = served.records();
    assert_eq!(records[1].late.len(), 1);
    assert_eq!(
        (records[1].late[0].client, records[1].late[0].round),
        (1, 1)
    );
    assert_eq!(records[1].late[0].weight, 0.5);
    // Round 1 trained from the initial model w: client 1 changed it by
    // 0.25 − w, and that is added to the 0.5 that round 2 trained from.
    let first = served.history.iter().find_map(|event| match event {
        Event::Initial { model_sha256, .. } => Some(model_sha256.clone()),
        _ => None,
    });
    let mut before = vec![0.0; parameter_count()];
    let mut stream = zfl_seed::Stream::new(7, zfl_seed::Purpose::InitialWeights, 0);
    crate::problem::model()
        .initialise(&mut before, zfl_nn::Initialisation::Auto, &mut stream)
        .unwrap();
    assert_eq!(first, Some(checkpoint::hash(&before)));
    let (n, m) = (f64::from(share_size(0)), 0.5 * f64::from(share_size(1)));
    for (found, w) in model.iter().zip(&before) {
        let moved = f64::from(0.5 + (0.25 - w));
        let expected = (n + m * moved) / (n + m);
        assert!((f64::from(*found) - expected).abs() < 1e-6);
    }
}

#[tokio::test]
async fn a_device_that_begins_anew_fails_at_once_and_takes_part_again() {
    let mut options = options(2);
    options.plan.quorum = 1;
    options.plan.rounds = 2;
    let mut served = Served::new(options).await;
    let endpoint = serve(&mut served, lazy_device()).await;
    assert_eq!(served.claim(&[endpoint]).await, [0]);
    served.link(0).provision().await;
    let by_hand = served.link(1);
    by_hand.provision().await;
    served.run();
    assert_eq!(served.round_started().await, (1, vec![0, 1]));
    // Once it has been started, as the bytes that it was sent say.
    let device = served.link(0);
    loop {
        device.get("/id").send().await.unwrap();
        // Before its start it just has nothing, and is started when it has.
        device.provision().await;
        if let Some((outcome, detail)) = served.finished_by_now(0) {
            assert_eq!(
                (outcome, detail.as_str()),
                ("crashed", "began anew after it was started")
            );
            break;
        }
        tokio::task::yield_now().await;
    }
    let is_back = |event: &Event| matches!(event, Event::ClientBack { client: 0 });
    assert!(served.history.iter().any(is_back));
    by_hand.task().await;
    by_hand
        .post_binary(update(1, 1, &vec![0.1; parameter_count()], |_| {}))
        .await;
    // Its share and its number are its own as before.
    assert_eq!(served.round_started().await, (2, vec![0, 1]));
    assert_eq!(device.get("/id").send().await.unwrap().status(), 200);
    by_hand.task().await;
    by_hand
        .post_binary(update(1, 2, &vec![0.1; parameter_count()], |_| {}))
        .await;
    served.coordinator.client_lost(0, "the end");
    served.end().await.unwrap();
}

#[tokio::test]
async fn a_lost_client_is_back_once_it_has_its_data() {
    let mut options = options(2);
    options.plan.quorum = 2;
    options.plan.rounds = 1;
    options.plan.policy.failed_rounds_max = 1;
    let mut served = Served::new(options.clone()).await;
    served.pull(0);
    let link = served.link(1);
    link.provision().await;
    let lost = served.fleet_post("/lost?id=1", "tripped".to_owned()).await;
    assert_eq!(lost.status, 204);
    // A request that was on its way says nothing.
    link.provision().await;
    served.run();
    let gone = served.event("the loss", |event| match event {
        Event::ClientLost { client, .. } => Some(*client),
        _ => None,
    });
    assert_eq!(gone.await, 1);
    let unknown = served.fleet_post("/back?id=9", String::new()).await;
    assert_eq!(unknown.status, 404);
    let url = format!("http://{}/back?id=1", served.address);
    let stranger = Answer::of(http_client().post(url)).await;
    assert_eq!(stranger.status, 401);
    let back_again = served.fleet_post("/back?id=1", String::new()).await;
    assert_eq!(back_again.status, 204);
    // The round waits for it as long as a round may take.
    served.pull(1);
    back(&mut served, 1).await;
    served.end().await.unwrap();
    assert_eq!(served.course(), plain_run(&options));
}

/// A message that is damaged on its way, and a passing trouble.
#[tokio::test]
async fn a_start_that_is_refused_for_a_passing_reason_is_sent_again() {
    let mut options = options(1);
    options.plan.rounds = 1;
    let mut served = Served::new(options).await;
    let link = served.link(0);
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let start = async move || match counted.fetch_add(1, Ordering::SeqCst) {
        0 => StatusCode::BAD_REQUEST,
        1 => StatusCode::INTERNAL_SERVER_ERROR,
        _ => {
            let update = update(0, 1, &vec![0.5; parameter_count()], |_| {});
            assert_eq!(link.post_binary(update).await.status, 200);
            StatusCode::ACCEPTED
        }
    };
    let device = axum::Router::new()
        .route("/ready", get(async || "ready"))
        .route("/start", post(start));
    let endpoint = serve(&mut served, device).await;
    served.claim(&[endpoint]).await;
    served.link(0).provision().await;
    served.run();
    served.end().await.unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn so_many_rounds_in_a_row_may_fail() {
    let clock = StoppedClock::new();
    let mut options = options(2);
    options.deadlines.round = ROUND_DEADLINE;
    options.plan.rounds = 9;
    options.plan.policy.failed_rounds_max = 1;
    let mut served = Served::new(options).await;
    served.pull(0);
    served.link(1).provision().await;
    served.run();
    for round in 1..=2 {
        assert_eq!(served.round_started().await.0, round);
        updates(&mut served, 1).await;
        clock.pass(ROUND_DEADLINE).await;
    }
    assert_eq!(
        served.end().await.unwrap_err().to_string(),
        "round 2: 1 of 2 clients sent an update, the quorum is 2; client 1 is late: no update \
         within 10 s; it is failed round 2 in a row, and coordinator.failed-rounds-max is 1"
    );
    let failed = served.history.iter().filter_map(|event| match event {
        Event::RoundFailed { record, carry, .. } => Some((record.round, carry.is_some())),
        _ => None,
    });
    assert_eq!(failed.collect::<Vec<_>>(), [(1, true), (2, false)]);
}

/// Who failed is left out, and comes back.
#[tokio::test(start_paused = true)]
async fn a_client_that_failed_is_rested() {
    let clock = StoppedClock::new();
    let mut options = options(3);
    options.deadlines.round = ROUND_DEADLINE;
    options.plan.quorum = 2;
    options.plan.rounds = 7;
    options.plan.policy.rest = Rest {
        rounds: 1,
        rounds_max: 2,
    };
    let mut served = Served::new(options).await;
    served.pull(0);
    served.pull(1);
    served.link(2).provision().await;
    served.run();
    // It rests for one round, then for two.
    for (round, is_in) in (1..=7).zip([true, false, true, false, false, true, false]) {
        let (started, clients) = served.round_started().await;
        let expected: &[u32] = if is_in { &[0, 1, 2] } else { &[0, 1] };
        assert_eq!((started, clients.as_slice()), (round, expected));
        updates(&mut served, 2).await;
        if is_in {
            clock.pass(ROUND_DEADLINE).await;
        }
    }
    served.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_deadline_follows_what_rounds_took() {
    let clock = StoppedClock::new();
    let mut options = options(6);
    options.deadlines.round = Duration::from_secs(1000);
    options.plan.quorum = 5;
    options.plan.rounds = 3;
    options.plan.policy.deadline = Some(AdaptiveDeadline {
        quantile: 0.5,
        factor: 3.0,
    });
    let mut served = Served::new(options).await;
    for client in 0..6 {
        served.link(client).provision().await;
    }
    served.run();
    for round in 1..=3 {
        assert_eq!(served.round_started().await.0, round);
        let silent = u32::from(round == 3);
        for client in 0..6 {
            served.link(client).task().await;
        }
        clock.pass(Duration::from_secs(2)).await;
        for client in silent..6 {
            let update = update(client, round, &vec![0.5; parameter_count()], |_| {});
            assert_eq!(served.link(client).post_binary(update).await.status, 200);
        }
    }
    // Twelve parts took two seconds each.
    clock.pass(Duration::from_secs(5)).await;
    let (outcome, detail) = served.finished(0).await;
    assert_eq!(outcome, "late");
    assert!(detail.starts_with("no update within 6.0"), "{detail}");
    served.end().await.unwrap();
}

/// A run that goes on knows who rests and which late updates wait.
#[tokio::test]
async fn what_was_carried_is_taken_up() {
    let mut options = options(3);
    options.plan.quorum = 1;
    options.plan.rounds = 3;
    options.plan.policy.staleness = Staleness {
        rounds_max: 2,
        exponent: 1.0,
    };
    options.plan.policy.rest = Rest {
        rounds: 1,
        rounds_max: 1,
    };
    options.plan.resume = Some(Resume {
        round: 1,
        parameters: Some(Arc::new(vec![0.5; parameter_count()])),
        carry: Carry {
            resting: vec![Resting {
                client: 2,
                failures: 1,
                until_round: 2,
            }],
            late: vec![LateUpdate {
                client: 2,
                round: 1,
                sample_count: 10,
                change: vec![0.25; parameter_count()],
            }],
            ..Carry::default()
        },
        secrets: None,
    });
    let mut served = Served::new(options).await;
    for client in 0..3 {
        served.pull(client);
    }
    served.run();
    assert_eq!(served.round_started().await, (2, vec![0, 1]));
    assert_eq!(served.round_started().await, (3, vec![0, 1, 2]));
    served.end().await.unwrap();
    let late: Vec<_> = served
        .records()
        .iter()
        .map(|record| record.late.len())
        .collect();
    assert_eq!(late, [1, 0]);
    // Of a round that this coordinator has not played it knows nothing.
    let stale = update(0, 1, &vec![0.5; parameter_count()], |_| {});
    let answer = served.link(0).post_binary(stale).await;
    assert!(answer.text().contains("stale: "), "{}", answer.text());
}

/// It is told of no more often than is good for the disk.
#[tokio::test]
async fn a_client_may_begin_anew_as_often_as_it_likes() {
    let mut served = Served::new(options(1)).await;
    let link = served.link(0);
    for _ in 0..150 {
        link.provision().await;
        assert_eq!(Answer::of(link.get("/id")).await.status, 200);
    }
    link.provision().await;
    served.coordinator.client_lost(0, "the end");
    let mut told = 0;
    let lost = served.event("the end", |event| match event {
        Event::ClientBack { .. } => {
            told += 1;
            None
        }
        Event::ClientLost { .. } => Some(()),
        _ => None,
    });
    lost.await;
    assert_eq!(told, 100);
    // Once it was lost, it is news again.
    assert_eq!(Answer::of(link.get("/id")).await.status, 200);
    link.provision().await;
    back(&mut served, 0).await;
}
