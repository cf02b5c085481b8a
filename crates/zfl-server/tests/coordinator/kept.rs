//! Clients that still have their share, and say so.

use reqwest::header::{ACCEPT, ETAG, HeaderValue, IF_NONE_MATCH};
use zfl_proto::http::MEDIA_TYPE_BINARY;
use zfl_proto::message::{DataHeader, DataPart};
use zfl_server::Event;

use crate::harness::{Answer, Link, Served, http_client, soon};
use crate::problem::options;

const PARTS: [(&str, DataPart); 2] = [
    ("/training-data", DataPart::Samples),
    ("/training-labels", DataPart::Labels),
];

/// Status, tag and body of an answer.
async fn ask(request: reqwest::RequestBuilder) -> (u16, Option<String>, Vec<u8>) {
    let response = soon("an answer", request.send()).await.unwrap();
    let tag = response.headers().get(ETAG);
    let tag = tag.map(|tag| tag.to_str().unwrap().to_owned());
    let status = response.status().as_u16();
    let body = soon("a body", response.bytes()).await.unwrap();
    (status, tag, body.to_vec())
}

fn request(link: &Link, path: &str, is_binary: bool) -> reqwest::RequestBuilder {
    let request = link.get(&format!("{path}?id={}", link.id));
    match is_binary {
        true => request.header(ACCEPT, MEDIA_TYPE_BINARY),
        false => request,
    }
}

/// The tags of a client's share.
async fn tags(link: &Link) -> [String; 2] {
    let mut tags = Vec::new();
    for (path, part) in PARTS {
        let (status, tag, body) = ask(request(link, path, true)).await;
        assert_eq!(status, 200);
        let header = DataHeader::decode(&body, part).unwrap();
        let tag = tag.unwrap();
        // What a device makes of the header that it was given.
        assert_eq!(tag, header.tag().to_string());
        tags.push(tag);
    }
    tags.try_into().unwrap()
}

#[tokio::test]
async fn a_share_that_is_there_is_not_sent() {
    let served = Served::new(options(2)).await;
    let (link, other) = (served.link(0), served.link(1));
    let (own, others) = (tags(&link).await, tags(&other).await);
    assert_ne!(own[0], own[1]);
    for (index, (path, _)) in PARTS.into_iter().enumerate() {
        let tag = &own[index];
        for is_binary in [true, false] {
            let held =
                |value: HeaderValue| request(&link, path, is_binary).header(IF_NONE_MATCH, value);
            let (_, _, whole) = ask(request(&link, path, is_binary)).await;
            for named in [
                tag.clone(),
                tag.trim_start_matches("W/").to_owned(),
                format!("\"x\", {tag}"),
                "*".to_owned(),
            ] {
                let answer = ask(held(named.parse().unwrap())).await;
                assert_eq!(answer, (304, Some(tag.clone()), Vec::new()), "{named}");
            }
            let list = "\"00000000\", ".repeat(2000);
            for other in [
                "",
                ",",
                "W/",
                "W/*",
                "\"",
                &others[index],
                &own[1 - index],
                tag.trim_matches(['W', '/', '"']),
                &list,
            ] {
                let answer = ask(held(other.parse().unwrap())).await;
                assert_eq!(answer, (200, Some(tag.clone()), whole.clone()), "{other}");
            }
            // No text at all.
            let garbage = HeaderValue::from_bytes(b"\"\xff\xfe\x80\"").unwrap();
            assert_eq!(ask(held(garbage)).await.0, 200);
            // In the second of two fields.
            let two = held("\"x\"".parse().unwrap()).header(IF_NONE_MATCH, tag);
            assert_eq!(ask(two).await.0, 304);
        }
    }
}

/// A tag is no token.
#[tokio::test]
async fn only_the_client_itself_is_told_that_it_has_its_share() {
    let served = Served::new(options(2)).await;
    let (link, other) = (served.link(0), served.link(1));
    for ((path, _), tag) in PARTS.into_iter().zip(tags(&link).await) {
        let path = format!("{path}?id=0");
        let by_other = other.get(&path).header(IF_NONE_MATCH, &tag);
        let nobody = http_client()
            .get(format!("{}{path}", link.base))
            .header(IF_NONE_MATCH, &tag);
        assert_eq!(Answer::of(by_other).await.status, 403);
        assert_eq!(Answer::of(nobody).await.status, 401);
    }
}

#[tokio::test]
async fn who_still_has_its_share_takes_part() {
    let mut served = Served::new(options(1)).await;
    let link = served.link(0);
    let tags = tags(&link).await;
    let provisioned = |event: &Event| match event {
        Event::ClientProvisioned { client } => Some(("new", *client)),
        Event::ClientBack { client } => Some(("back", *client)),
        _ => None,
    };
    let told = served.event("its data", provisioned).await;
    assert_eq!(told, ("new", 0));
    // It begins anew, and has all of it.
    assert_eq!(Answer::of(link.get("/id")).await.status, 200);
    for ((path, _), tag) in PARTS.into_iter().zip(&tags) {
        let held = request(&link, path, true).header(IF_NONE_MATCH, tag);
        assert_eq!(ask(held).await.0, 304);
    }
    let told = served.event("its return", provisioned).await;
    assert_eq!(told, ("back", 0));
    served.run();
    assert_eq!(served.round_started().await, (1, vec![0]));
    assert_eq!(link.task().await["round"], 1);
}
