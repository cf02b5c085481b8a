//! The server, as others than browsers may ask it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use zfl_dashboard::{CONNECTIONS_MAX, Dashboard};

const DEADLINE: Duration = Duration::from_secs(30);

struct Server {
    folder: tempfile::TempDir,
    address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
}

impl Server {
    /// With a run `one`, and a secret beside what is served.
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("runs/one");
        std::fs::create_dir_all(run.join("console")).unwrap();
        let write = |path: &Path, text: &str| std::fs::write(path, text).unwrap();
        write(
            &run.join("experiment.toml"),
            "name = \"one\"\nrounds = 2\n[[fleet]]\ncount = 2\n",
        );
        write(&run.join("rounds.csv"), "round,accuracy\n1,0.5\n");
        write(&run.join("tokens.csv"), "fleet,0123456789abcdef");
        write(&run.join("console/device-000.log"), "@zfl ready\n");
        write(&folder.path().join("secret"), "secret");
        let runs = folder.path().join("runs");
        let dashboard = Dashboard::bind("127.0.0.1:0".parse().unwrap(), &runs);
        let dashboard = dashboard.await.unwrap();
        let address = dashboard.address();
        let (end, ended) = oneshot::channel();
        let served = tokio::spawn(dashboard.serve(async move {
            let _ = ended.await;
        }));
        Self {
            folder,
            address,
            end: Some(end),
            served,
        }
    }

    /// What is answered to a request, up to the end of the connection.
    async fn asks(&self, head: &str) -> String {
        let mut stream = self.opens(head).await;
        let mut answer = Vec::new();
        timeout(DEADLINE, stream.read_to_end(&mut answer))
            .await
            .unwrap()
            .unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn opens(&self, head: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("{head}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    async fn gets(&self, path: &str) -> String {
        let host = self.address;
        self.asks(&format!("GET {path} HTTP/1.1\r\nHost: {host}"))
            .await
    }
}

/// Reads until `text` is there; all that was read.
async fn reads_until(stream: &mut TcpStream, text: &str) -> String {
    let mut read = String::new();
    let mut bytes = [0; 4096];
    while !read.contains(text) {
        let count = timeout(DEADLINE, stream.read(&mut bytes))
            .await
            .unwrap_or_else(|_| panic!("no `{text}` in {read}"))
            .unwrap();
        assert!(count > 0, "no `{text}` in {read}");
        read.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    read
}

#[tokio::test]
async fn the_page_brings_its_policy() {
    let server = Server::start().await;
    for path in ["/", "/app.js", "/app.css", "/licenses.txt", "/api/runs"] {
        let answer = server.gets(path).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        for header in [
            "content-security-policy: default-src 'none';",
            "x-content-type-options: nosniff",
            "cross-origin-resource-policy: same-origin",
            "cache-control: no-store",
        ] {
            assert!(answer.contains(header), "{path} has no {header}");
        }
        assert!(!answer.contains("access-control-allow"));
    }
}

#[tokio::test]
async fn another_site_is_refused() {
    let server = Server::start().await;
    let answer = server
        .asks("GET /api/runs HTTP/1.1\r\nHost: evil.example:8090")
        .await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    let answer = server.asks("GET /api/runs HTTP/1.0").await;
    assert!(answer.starts_with("HTTP/1.0 403"), "{answer}");
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let answer = server
            .asks(&format!("{method} /api/runs HTTP/1.1\r\nHost: localhost"))
            .await;
        assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    }
}

#[tokio::test]
async fn nothing_but_records_of_runs_is_answered() {
    let server = Server::start().await;
    let found = server.gets("/api/run?run=one").await;
    assert!(found.contains("\"fleet.0.count\":\"2\""), "{found}");
    let console = server
        .gets("/api/console?run=one&log=device-000.log&from=0")
        .await;
    assert!(console.contains("@zfl ready"), "{console}");
    for path in [
        "/api/run?run=..",
        "/api/run?run=../secret",
        "/api/run?run=%2e%2e%2fsecret",
        "/api/run?run=one/../../secret",
        "/api/run?run=/etc",
        "/api/run?run=two",
        "/api/console?run=one&log=../tokens.csv",
        "/api/console?run=one&log=device-000.log/../../tokens.csv",
        "/api/console?run=one&log=device-001.log",
        "/api/stream?run=two",
        "/secret",
        "/../secret",
        "/tokens.csv",
    ] {
        let answer = server.gets(path).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
        assert!(!answer.contains("0123456789abcdef"), "{path}");
    }
    let answer = server.gets("/api/round?run=one&round=x").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test]
async fn a_stream_goes_on_where_it_was_left_and_is_told_the_end() {
    let mut server = Server::start().await;
    let host = server.address;
    let head = format!("GET /api/stream?run=one HTTP/1.1\r\nHost: {host}");
    let mut stream = server.opens(&head).await;
    let text = reads_until(&mut stream, "\"round\":[1.0]").await;
    assert!(text.contains("\"reset\":true"), "{text}");
    let (_, id) = text.split_once("id: ").unwrap();
    let id = id.lines().next().unwrap().to_owned();
    drop(stream);

    let rounds = server.folder.path().join("runs/one/rounds.csv");
    std::fs::write(&rounds, "round,accuracy\n1,0.5\n2,0.75\n").unwrap();
    let head = format!("{head}\r\nLast-Event-ID: {id}");
    let mut stream = server.opens(&head).await;
    let text = reads_until(&mut stream, "\"round\":[2.0]").await;
    assert!(!text.contains("reset"), "{text}");
    assert!(text.contains("\"accuracy\":[0.75]"), "{text}");

    std::fs::write(&rounds, "round,accuracy\n1,0.5\n2,0.75\n3,1\n").unwrap();
    drop(server.end.take());
    let text = reads_until(&mut stream, "event: bye").await;
    assert!(text.contains("\"round\":[3.0]"), "{text}");
    timeout(DEADLINE, server.served).await.unwrap().unwrap();
}

/// The body of an answer, as JSON.
fn body(answer: &str) -> serde_json::Value {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    serde_json::from_str(body).unwrap()
}

#[tokio::test]
async fn a_sweep_is_told_as_it_grows() {
    let server = Server::start().await;
    let folder = server.folder.path().join("runs/sweep");
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    std::fs::create_dir_all(folder.join("trials/0001")).unwrap();
    write("trials/0001/experiment.toml", "rounds = 1\n");
    write("trials/0001/rounds.csv", "round,accuracy\n");
    write("tokens.csv", "fleet,0123456789abcdef");
    write(
        "sweep.toml",
        "experiment = \"one.toml\"\n[space]\n\"training.epochs\" = { list = [1, 2] }\n",
    );
    let head = "trial,status,rung,rounds,training.epochs,accuracy,accuracy_low,accuracy_high,\
                cpu_seconds,host_seconds,folder,detail\n";
    let row = "1,running,0,1,1,0.5,,,1,1,trials/0001,\n";
    write("trials.csv", &format!("{head}{row}2,run"));
    let asked = "/api/sweep?sweep=sweep";
    let sweep = body(&server.gets(asked).await);
    assert_eq!(sweep["standing"], "cut off");
    assert_eq!(sweep["searched"][0]["values"], "1, 2");
    let trials = serde_json::json!([[1, "running", 1, ["1"], [0.5], null, 1.0, "trials/0001", ""]]);
    assert_eq!(sweep["trials"], trials);
    assert_eq!(sweep["summary"], serde_json::Value::Null);
    // It is one in the list, and its trials are none.
    let list = body(&server.gets("/api/runs").await);
    assert_eq!(list["runs"].as_array().unwrap().len(), 1);
    assert_eq!(list["sweeps"][0]["id"], "sweep");
    assert_eq!(list["sweeps"][0]["overview"]["trials"]["all"], 1);
    let trial = server.gets("/api/rounds?run=sweep/trials/0001").await;
    assert_eq!(body(&trial)["run"]["is_trial"], true);
    let one = server.gets("/api/rounds?run=one").await;
    assert_eq!(body(&one)["run"]["is_trial"], false);

    // Nothing is told twice.
    let version = sweep["version"].as_str().unwrap();
    let again = format!("{asked}&version={version}");
    assert_eq!(body(&server.gets(&again).await), serde_json::Value::Null);
    write(
        "trials.csv",
        &format!("{head}{row}{}", row.replace('1', "2")),
    );
    let sweep = body(&server.gets(&again).await);
    assert_eq!(sweep["trials"][1][0], 2);

    // Damage is said, and the list goes on.
    write(
        "trials.csv",
        &format!("{head}{}", row.replace("0.5", "half")),
    );
    let damaged = server.gets(asked).await;
    assert!(damaged.starts_with("HTTP/1.1 500"), "{damaged}");
    assert!(
        damaged.contains("column `accuracy` is `half`, which is no number"),
        "{damaged}"
    );
    let list = body(&server.gets("/api/runs").await);
    let fault = list["sweeps"][0]["fault"].as_str().unwrap();
    assert!(fault.contains("line 2"), "{fault}");
    for path in [
        "/api/sweep?sweep=one",
        "/api/sweep?sweep=..",
        "/api/sweep?sweep=../runs/sweep",
        "/api/sweep?sweep=sweep/trials",
        "/api/sweep?sweep=sweep/tokens.csv",
        "/api/sweep?sweep=/etc",
        "/api/run?run=sweep",
    ] {
        let answer = server.gets(path).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
    let answer = server.gets("/api/sweep").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test]
async fn what_rounds_cost_the_devices_is_told_with_them() {
    let server = Server::start().await;
    let folder = server.folder.path().join("runs/one");
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    write(
        "experiment.toml",
        "name = \"one\"\n[[fleet]]\nmcu = \"nrf52840\"\ncount = 2\n",
    );
    write("rounds.csv", "round,accuracy\n1,0.5\n2,0.625\n3,0.75\n");
    write(
        "clients.csv",
        "round,client,outcome,device_seconds,energy_mj,detail\n1,0,ok,0.5,2,\n1,1,ok,1.5,3,\n\
         2,0,late,,,\"no update\n1,1,9,9\"\n3,1,ok,0.25,1,\n",
    );
    let rounds = &body(&server.gets("/api/rounds?run=one").await)["rounds"];
    let column = |name: &str| rounds[name].to_string();
    assert_eq!(column("device_seconds"), "[1.5,null,0.25]");
    assert_eq!(column("device_seconds_total"), "[1.5,1.5,1.75]");
    assert_eq!(column("energy_mj_total"), "[5.0,5.0,6.0]");
}

#[tokio::test]
async fn connections_are_bounded() {
    let server = Server::start().await;
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    // One that is served is behind them all in the line.
    let mut over = TcpStream::connect(server.address).await.unwrap();
    let mut bytes = [0; 1];
    let closed = timeout(DEADLINE, over.read(&mut bytes)).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)));
    drop(silent);
    // There is room again, as soon as it has been noticed.
    let answered = async {
        loop {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            let mut answer = String::new();
            if stream.write_all(request).await.is_ok()
                && stream.read_to_string(&mut answer).await.is_ok()
                && answer.starts_with("HTTP/1.1 200")
            {
                break;
            }
        }
    };
    timeout(DEADLINE, answered).await.unwrap();
}
