//! Requests that must change nothing.

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use serde_json::json;
use zfl_proto::http::{MEDIA_TYPE_BINARY, MEDIA_TYPE_JSON};
use zfl_proto::message::{Assignment, UpdateHeader};
use zfl_server::Event;

use crate::harness::{Answer, Link, Served, http_client, raw, update};
use crate::problem::{self, options, parameter_count, share_size};

/// A round of two of three clients; nobody has answered.
struct OpenRound {
    served: Served,
    /// It has its task.
    started: Link,
    /// It has not asked for its task yet.
    waiting: Link,
    /// It is not part of the round.
    idle: Link,
}

async fn open_round() -> OpenRound {
    let mut options = options(3);
    options.plan.rounds = 1;
    options.plan.clients_per_round = 2;
    options.plan.quorum = 2;
    let mut served = Served::new(options).await;
    for client in 0..3 {
        served.link(client).provision().await;
    }
    served.run();
    let (round, selected) = served.round_started().await;
    assert_eq!((round, selected.len()), (1, 2));
    let idle = (0..3).find(|client| !selected.contains(client)).unwrap();
    let started = served.link(selected[0]);
    assert_eq!(started.task().await["round"], 1);
    OpenRound {
        waiting: served.link(selected[1]),
        idle: served.link(idle),
        started,
        served,
    }
}

impl OpenRound {
    /// The clients answer as they should; nothing else must be in the model.
    async fn close(mut self) {
        let good = vec![0.5; parameter_count()];
        let answer = self
            .started
            .post_binary(update(self.started.id, 1, &good, same))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        self.waiting.task().await;
        let update = json!({
            "round": 1,
            "samples": share_size(self.waiting.id),
            "parameters": good,
            "train_loss": 0.25,
        });
        let answer = self.waiting.post_json(&update).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(*self.served.end().await.unwrap(), good);
        for (_, outcome, detail) in self.served.outcomes(1) {
            assert_eq!((outcome, detail.as_str()), ("ok", ""));
        }
    }
}

fn same<T>(_: &mut T) {}

fn check(answer: &Answer, status: u16, reason: &str) {
    let text = answer.text();
    assert_eq!(answer.status, status, "{reason}: {text}");
    assert_eq!(answer.media_type, MEDIA_TYPE_JSON, "{text}");
    let error = answer.json()["error"].as_str().unwrap().to_owned();
    assert!(error.contains(reason), "`{error}` does not say `{reason}`");
}

/// What is wrong with the parameters of an update, in both forms.
#[tokio::test]
async fn a_refused_update_leaves_the_model_unchanged() {
    let round = open_round().await;
    let (link, id) = (&round.started, round.started.id);
    let bad = vec![9.0; parameter_count()];
    let with = |index: usize, value: f32| {
        let mut parameters = bad.clone();
        parameters[index] = value;
        parameters
    };
    let binary = async |parameters: &[f32], status, reason: &str| {
        let answer = link.post_binary(update(id, 1, parameters, same)).await;
        check(&answer, status, reason);
    };
    let count = parameter_count();
    let fewer = format!("{} parameters, the model has {count}", count - 1);
    let more = format!("{} parameters, the model has {count}", count + 1);
    binary(&bad[1..], 422, &fewer).await;
    binary(&[&bad[..], &[9.0]].concat(), 422, &more).await;
    binary(&[], 422, "0 parameters").await;
    binary(
        &with(3, f32::NAN),
        422,
        "parameter 3 of the update is not a finite",
    )
    .await;
    binary(&with(0, f32::INFINITY), 422, "parameter 0").await;
    binary(&with(171, f32::NEG_INFINITY), 422, "parameter 171").await;

    let text = async |text: String, status, reason: &str| {
        check(&link.post_text(&text).await, status, reason);
    };
    let form = |samples: u32, parameters: &str| {
        format!(r#"{{"round":1,"samples":{samples},"parameters":[{parameters}]}}"#)
    };
    let numbers = |last: &str| format!("{}{last}", "9.0,".repeat(count - 1));
    let share = share_size(id);
    text(
        form(share, &"9.0,".repeat(count - 2)[..4 * (count - 2) - 1]),
        422,
        "misshapen",
    )
    .await;
    text(form(share, &(numbers("9.0,") + "9.0")), 422, &more).await;
    text(
        form(share, &numbers("1e999")),
        400,
        "number out of range at line 1 column",
    )
    .await;
    let answer = link.post_text(&form(share, &numbers("1e39"))).await;
    assert!([400, 422].contains(&answer.status), "{}", answer.text());
    text(form(share, &numbers("null")), 400, "invalid type: null").await;
    text(form(share, &numbers("NaN")), 400, "at line 1 column").await;
    text(form(0, &numbers("9.0")), 422, "0 samples claimed").await;
    let claimed = format!(
        "{} samples claimed, the client's share has {share}",
        share + 1
    );
    text(form(share + 1, &numbers("9.0")), 422, &claimed).await;
    for (claim, reason) in [(0, "0 samples claimed"), (u32::MAX, "4294967295 samples")] {
        let body = update(id, 1, &bad, |header| header.sample_count = claim);
        check(&link.post_binary(body).await, 422, reason);
    }
    round.close().await;
}

/// What is wrong with the bytes of a message.
#[tokio::test]
async fn a_message_that_is_none_says_where() {
    let mut round = open_round().await;
    let (link, id) = (&round.started, round.started.id);
    let bad = vec![9.0; parameter_count()];
    let binary = async |change: &dyn Fn(&mut Vec<u8>), reason: &str| {
        let mut body = update(id, 1, &bad, same);
        change(&mut body);
        check(&link.post_binary(body).await, 400, reason);
    };
    binary(&|body| body.truncate(0), "ends after 0 bytes").await;
    binary(
        &|body| body.truncate(50),
        "message ends after 50 bytes, its header needs 112",
    )
    .await;
    binary(&|body| body[0] = b'{', "byte 0: not a zfl message").await;
    binary(
        &|body| body[4] = 4,
        "byte 4: message kind 4, expected Update",
    )
    .await;
    binary(&|body| body[5] = 7, "byte 5: impossible value of encoding").await;
    binary(
        &|body| body[7] = 9,
        "byte 6: impossible value of header length",
    )
    .await;
    binary(
        &|body| body[12] += 1,
        "byte 12: impossible value of payload length",
    )
    .await;
    binary(&|body| body.truncate(body.len() - 4), "its header says 688").await;
    binary(&|body| body.extend([0; 4]), "payload has 692 bytes").await;
    binary(&|body| body[UpdateHeader::HEADER_BYTES] ^= 1, "checksum").await;
    binary(&|body| body[16] ^= 1, "checksum").await;

    let text = async |body: &str, reason: &str| {
        check(&link.post_text(body).await, 400, reason);
    };
    text("", "EOF while parsing a value at line 1 column 0").await;
    text(
        "{\"round\": 1,\n \"samples\" 3}",
        "expected `:` at line 2 column 12",
    )
    .await;
    text("[1, 2]", "at line 1 column").await;
    text("{\"weights\": [0.1]}", "unknown field `weights`").await;
    text(
        "{\"round\": 1, \"samples\": 3}",
        "missing field `parameters`",
    )
    .await;
    text("{\"round\": -1}", "invalid value: integer `-1`").await;
    text(&"[".repeat(5000), "at line 1 column").await;

    // None of them decided the client's part in the round.
    let decided = |event: &Event| matches!(event, Event::ClientFinished { .. });
    let refused_of = |event: &Event, client| {
        matches!(event, Event::Refused { client: Some(of), request, .. }
            if *of == client && request == "POST /results")
    };
    let mut refused_count = 0;
    round
        .served
        .event("the refusals", |event| {
            assert!(!decided(event), "{event:?}");
            refused_count += u32::from(refused_of(event, id));
            (refused_count == 18).then_some(())
        })
        .await;
    round.close().await;
}

#[tokio::test]
async fn an_update_counts_once_and_only_in_its_round() {
    let mut round = open_round().await;
    let bad = vec![9.0; parameter_count()];
    let post = async |link: &Link, of_client: u32, of_round: u32, status, reason: &str| {
        let body = update(of_client, of_round, &bad, same);
        check(&link.post_binary(body).await, status, reason);
    };
    let (a, b, c) = (&round.started, &round.waiting, &round.idle);
    post(
        a,
        b.id,
        1,
        403,
        &format!("the update is of client {}, not {}", b.id, a.id),
    )
    .await;
    post(a, a.id, 0, 409, "stale: the update is for round 0").await;
    post(a, a.id, 2, 409, "too early: the update is for round 2").await;
    post(b, b.id, 1, 409, "was not started in round 1").await;
    post(c, c.id, 1, 409, "is not part of round 1").await;
    let late = json!({"round": 0, "samples": 1, "parameters": bad});
    check(&a.post_json(&late).await, 409, "stale");

    let good = vec![0.5; parameter_count()];
    let first = a.post_binary(update(a.id, 1, &good, same)).await;
    assert_eq!(first.status, 200, "{}", first.text());
    post(a, a.id, 1, 409, "duplicate").await;
    let again = a.post_binary(update(a.id, 1, &good, same)).await;
    check(&again, 409, "has already sent its update for round 1");
    b.task().await;
    let last = b.post_binary(update(b.id, 1, &good, same)).await;
    assert_eq!(last.status, 200, "{}", last.text());
    assert_eq!(*round.served.end().await.unwrap(), good);
    post(b, b.id, 1, 409, "too late: round 1 is closed").await;
}

#[tokio::test]
async fn a_body_has_a_bound_and_a_type() {
    let round = open_round().await;
    let link = &round.started;
    let path = format!("/results?id={}", link.id);
    let bad = update(link.id, 1, &vec![9.0; parameter_count()], same);
    for media_type in [
        "text/plain",
        "application/jsonp",
        "application/octet-stream",
    ] {
        let answer = Answer::of(link.post(&path, media_type).body(bad.clone())).await;
        check(
            &answer,
            415,
            "content type must be application/vnd.zfl or application/json",
        );
    }
    let url = format!("{}{path}", link.base);
    let untyped = link
        .http
        .post(url)
        .header(AUTHORIZATION, format!("Bearer {}", link.token))
        .body(bad);
    check(&Answer::of(untyped).await, 415, "content type must be");

    for (media_type, limit) in [(MEDIA_TYPE_BINARY, 288 + 688), (MEDIA_TYPE_JSON, 9600)] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Authorization: Bearer {}\r\nContent-Type: {media_type}\r\n",
            link.token
        );
        let reason = format!("body is larger than {limit} bytes");
        // Announced: refused before a byte of it is there.
        let announced = format!("{head}Content-Length: {}\r\n\r\n", limit + 1);
        let answer = raw(round.served.address, &[announced.as_bytes()]).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(answer.contains(&reason), "{answer}");
        // Chunked: refused when the bound is passed.
        let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
        let chunk = format!("{limit:x}\r\n{}\r\n", " ".repeat(limit));
        let parts = [chunked.as_bytes(), chunk.as_bytes(), b"1\r\n \r\n"];
        let answer = raw(round.served.address, &parts).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(answer.contains(&reason), "{answer}");
    }
    round.close().await;
}

/// Every path that belongs to a client, with a query for `id`.
fn requests(base: &str, id: &str) -> Vec<(&'static str, reqwest::RequestBuilder)> {
    let http = http_client();
    let get = |path: &str| http.get(format!("{base}{path}{id}"));
    vec![
        ("GET /training-data", get("/training-data")),
        ("GET /training-labels", get("/training-labels")),
        ("GET /start", get("/start")),
        (
            "POST /results",
            http.post(format!("{base}/results{id}"))
                .header(CONTENT_TYPE, MEDIA_TYPE_JSON)
                .body("{}"),
        ),
        ("GET /id", http.get(format!("{base}/id"))),
    ]
}

#[tokio::test]
async fn whoever_asks_must_be_known() {
    let mut served = Served::new(options(2)).await;
    let base = format!("http://{}", served.address);
    let fleet_key = format!("Bearer {}", served.coordinator.fleet_key());
    for (authorization, reason) in [
        (None, "no token: send `Authorization: Bearer <token>`"),
        (Some("Basic dXNlcg=="), "expected `Bearer <token>`"),
        (
            Some("Bearer abc"),
            "a token has 32 hexadecimal digits, this has 3",
        ),
        (Some("Bearer 0123456789abcdef0123456789abcdeg"), "digit 31"),
        (
            Some("Bearer 0123456789abcdef0123456789abcdef"),
            "unknown token",
        ),
        (Some(fleet_key.as_str()), "unknown token"),
    ] {
        for query in ["?id=0", ""] {
            for (name, mut request) in requests(&base, query) {
                if let Some(value) = authorization {
                    request = request.header(AUTHORIZATION, value);
                }
                let answer = Answer::of(request).await;
                assert_eq!(answer.status, 401, "{name}");
                check(&answer, 401, reason);
                let (client, told) = served.event("a refusal", refusal).await;
                assert_eq!((client, told.as_str()), (None, name));
            }
        }
    }
    // Nobody was let in: a fleet can have both places.
    let status = Answer::of(http_client().get(format!("{base}/status"))).await;
    assert_eq!(status.json()["clients_joined"], 0);
}

fn refusal(event: &Event) -> Option<(Option<u32>, String)> {
    match event {
        Event::Refused {
            client, request, ..
        } => Some((*client, request.clone())),
        _ => None,
    }
}

#[tokio::test]
async fn an_id_belongs_to_a_token() {
    let mut served = Served::new(options(2)).await;
    let link = served.link(1);
    for (query, status, reason) in [
        ("?id=0", 403, "id 0 does not belong to this token"),
        ("?id=7", 403, "id 7 does not belong to this token"),
        ("", 400, "missing field `id`"),
        ("?id=one", 400, "invalid digit"),
    ] {
        for (name, request) in requests(&link.base, query) {
            if name == "GET /id" {
                continue;
            }
            let request = request.header(AUTHORIZATION, format!("Bearer {}", link.token));
            check(&Answer::of(request).await, status, reason);
            let (client, told) = served.event("a refusal", refusal).await;
            assert_eq!((client, told.as_str()), (Some(1), name));
        }
    }
    let answer = Answer::of(link.get("/id")).await;
    assert_eq!(answer.text(), r#"{"id":1,"samples":27}"#);
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told() {
    let served = Served::new(options(1)).await;
    let link = served.link(0);
    check(
        &Answer::of(link.get("/weights")).await,
        404,
        "no such path: /weights",
    );
    check(
        &Answer::of(link.get("/results?id=0")).await,
        405,
        "/results does not take GET",
    );
    check(
        &Answer::of(link.post("/id", "text/plain")).await,
        405,
        "/id does not take POST",
    );
}

#[tokio::test]
async fn a_client_chooses_the_form() {
    let served = Served::new(options(2)).await;
    let link = served.link(1);
    for accept in [
        "application/vnd.zfl",
        "text/html, application/vnd.zfl;q=0.9",
        "Application/Vnd.Zfl",
    ] {
        let answer = Answer::of(link.get("/id").header(ACCEPT, accept)).await;
        assert_eq!(answer.media_type, MEDIA_TYPE_BINARY);
        assert_eq!(Assignment::decode(&answer.body).unwrap().sample_count, 27);
    }
    for accept in ["*/*", "application/json", "application/vnd.zflx"] {
        let answer = Answer::of(link.get("/id").header(ACCEPT, accept)).await;
        assert_eq!(answer.media_type, MEDIA_TYPE_JSON);
    }
    let data = Answer::of(link.get("/training-data?id=1")).await.json();
    assert_eq!(data["inputs"], problem::INPUT_COUNT);
    assert_eq!(data["value_scale"], 0.0625);
    assert_eq!(data["data"].as_array().unwrap().len(), 27);
    assert_eq!(data["data"][0].as_array().unwrap().len(), 16);
    let labels = Answer::of(link.get("/training-labels?id=1")).await.json();
    assert_eq!(labels["classes"], problem::CLASS_COUNT);
    assert_eq!(labels["labels"].as_array().unwrap().len(), 27);
    let none = Answer::of(link.get("/start?id=1")).await;
    assert_eq!((none.status, none.body.len()), (204, 0));
}

/// A header may grow: what this version does not know of it is passed over.
#[tokio::test]
async fn a_longer_header_is_accepted() {
    let mut round = open_round().await;
    let good = vec![0.5; parameter_count()];
    for link in [&round.started, &round.waiting] {
        link.task().await;
        let mut body = update(link.id, 1, &good, same);
        body.splice(
            UpdateHeader::HEADER_BYTES..UpdateHeader::HEADER_BYTES,
            [0xff; 100],
        );
        body[6] = 212;
        let answer = link.post_binary(body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(*round.served.end().await.unwrap(), good);
}
