//! The requests of a fleet host.

use reqwest::header::AUTHORIZATION;
use serde_json::{Value, json};
use zfl_server::Event;

use crate::harness::{Answer, Served, http_client};
use crate::problem::options;

fn devices(endpoints: &[&str]) -> String {
    let devices: Vec<Value> = endpoints
        .iter()
        .map(|endpoint| json!({"board": "mps2-an386", "endpoint": endpoint}))
        .collect();
    json!({ "devices": devices }).to_string()
}

async fn status(served: &Served) -> Value {
    let url = format!("http://{}/status", served.address);
    Answer::of(http_client().get(url)).await.json()
}

#[tokio::test]
async fn only_the_fleet_key_brings_or_loses_devices() {
    let mut served = Served::new(options(2)).await;
    let client = served.tokens[&0];
    for (authorization, reason) in [
        (None, "no token"),
        (Some(format!("Bearer {client}")), "unknown fleet key"),
        (
            Some(format!("Bearer {}", "0".repeat(32))),
            "unknown fleet key",
        ),
        (Some("Bearer key".to_owned()), "32 hexadecimal digits"),
    ] {
        for path in ["/fleet", "/lost?id=0", "/lost"] {
            let mut request = http_client()
                .post(format!("http://{}{path}", served.address))
                .body(devices(&["127.0.0.1:80"]));
            if let Some(value) = &authorization {
                request = request.header(AUTHORIZATION, value);
            }
            let answer = Answer::of(request).await;
            assert_eq!(answer.status, 401, "{path}: {}", answer.text());
            assert!(answer.text().contains(reason), "{}", answer.text());
            let told = |event: &Event| matches!(event, Event::Refused { client: None, .. });
            served
                .event("the refusal", |event| told(event).then_some(()))
                .await;
        }
    }
    assert_eq!(status(&served).await["clients_joined"], 0);
    assert_eq!(status(&served).await["clients_lost"], 0);
}

#[tokio::test]
async fn a_fleet_gets_the_lowest_free_numbers_or_none() {
    let served = Served::new(options(4)).await;
    // Client 1 is here already, by whichever request it began with.
    let answer = Answer::of(served.link(1).get("/start?id=1")).await;
    assert_eq!(answer.status, 204);
    let post = async |body: String| served.fleet_post("/fleet", body).await;
    let check = async |body: String, status: u16, reason: &str| {
        let answer = post(body).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.text().contains(reason), "{}", answer.text());
    };
    let reason = "4 devices for 3 free places of 4 clients";
    check(devices(&["127.0.0.1:1"; 4]), 409, reason).await;
    check("{\"devices\": [".to_owned(), 400, "at line 1 column 13").await;
    check("{\"devices\": 3}".to_owned(), 400, "invalid type").await;
    check(
        "{\"machines\": []}".to_owned(),
        400,
        "unknown field `machines`",
    )
    .await;
    for endpoint in [
        "",
        "127.0.0.1",
        ":80",
        "127.0.0.1:99999",
        "user@127.0.0.1:80",
        "127.0.0.1:80/elsewhere?",
        "a b:80",
    ] {
        let reason = format!("endpoint `{endpoint}` of device 1 is not <host>:<port>");
        check(devices(&["127.0.0.1:1", endpoint]), 422, &reason).await;
    }
    // What was refused took no place.
    assert_eq!(status(&served).await["clients_joined"], 1);
    let answer = post(devices(&["127.0.0.1:1", "[::1]:2"])).await;
    let members = answer.json()["clients"].clone();
    assert_eq!(members[0]["id"], 0);
    assert_eq!(members[1]["id"], 2);
    assert_eq!(members[1]["token"], served.tokens[&2].to_string());
    check(
        devices(&["127.0.0.1:1"; 2]),
        409,
        "2 devices for 1 free places",
    )
    .await;
    assert_eq!(
        post(devices(&["127.0.0.1:1"])).await.json()["clients"][0]["id"],
        3
    );
}

#[tokio::test]
async fn a_loss_must_name_a_client() {
    let mut served = Served::new(options(2)).await;
    for (path, code, reason) in [
        ("/lost?id=2", 404, "there is no client 2"),
        ("/lost", 400, "missing field `id`"),
        ("/lost?id=x", 400, "invalid digit"),
    ] {
        let answer = served.fleet_post(path, "gone".to_owned()).await;
        assert_eq!(answer.status, code, "{}", answer.text());
        assert!(answer.json()["error"].as_str().unwrap().contains(reason));
    }
    let answer = served.fleet_post("/lost?id=1", "x".repeat(4097)).await;
    assert_eq!(answer.status, 413, "{}", answer.text());
    assert_eq!(status(&served).await["clients_lost"], 0);
    let answer = served.fleet_post("/lost?id=1", "gone".to_owned()).await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    let (client, reason) = served
        .event("the loss", |event| match event {
            Event::ClientLost { client, reason } => Some((*client, reason.clone())),
            _ => None,
        })
        .await;
    assert_eq!((client, reason.as_str()), (1, "gone"));
}

#[tokio::test]
async fn the_status_counts() {
    let mut options = options(3);
    options.plan.quorum = 2;
    let mut served = Served::new(options).await;
    assert_eq!(
        status(&served).await,
        json!({
            "round": 0, "rounds": 4, "clients": 3,
            "clients_joined": 0, "clients_ready": 0, "clients_lost": 0, "refused": {},
        })
    );
    served.claim(&["127.0.0.1:1".parse().unwrap()]).await;
    served.coordinator.client_lost(0, "did not boot");
    served.pull(1);
    served.pull(2);
    served.run();
    served.end().await.unwrap();
    assert_eq!(
        status(&served).await,
        json!({
            "round": 4, "rounds": 4, "clients": 3,
            "clients_joined": 3, "clients_ready": 2, "clients_lost": 1, "refused": {},
        })
    );
}
