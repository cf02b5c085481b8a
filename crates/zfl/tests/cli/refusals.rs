//! What cannot be is said before anything starts: what, where, and what to do.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::{Place, Running, SMALL, finish, idx};

/// Checks that `zfl` fails with 1 and these words, and has started nothing:
/// there is no folder of a run.
#[track_caller]
fn check_refused(place: &Place, command: Command, expected: &[&str]) {
    let said = finish(command).failed(1);
    for expected in expected {
        assert!(said.contains(expected), "no `{expected}` in: {said}");
    }
    assert!(said.starts_with("error: "), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(!place.path("out").exists(), "{said}");
}

#[test]
fn a_port_in_use() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let expected = [
        &format!("failed to listen on {address}: Address already in use"),
        "choose another port",
        "--set coordinator.port=PORT",
        "--listen",
    ];
    let set = format!("coordinator.port={}", address.port());
    check_refused(&place, place.run("out", &[&set]), &expected);
    let listen = address.to_string();
    let serve = [
        "serve",
        "experiment.toml",
        "--listen",
        &listen,
        "--out",
        "out",
    ];
    check_refused(&place, place.zfl(serve), &expected);
}

#[test]
fn no_emulator() {
    let place = Place::new();
    let mut command = place.run("out", &[]);
    command.env("PATH", place.path("nothing"));
    let expected = ["qemu-system-arm not found: apt-get install qemu-system-arm"];
    check_refused(&place, command, &expected);

    let mut doctor = place.zfl(["doctor"]);
    doctor.env("PATH", place.path("nothing"));
    let finished = finish(doctor);
    let shown = finished.stdout.clone();
    finished.failed(1);
    assert!(shown.contains("missing  qemu-system-arm: "), "{shown}");
    assert!(shown.contains("apt-get install qemu-system-arm"), "{shown}");
}

#[test]
fn no_firmware() {
    let place = Place::new();
    let board = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../boards/mps2-an386.toml");
    let board = std::fs::read_to_string(board).unwrap();
    place.write("other.toml", board.replace("\"mps2-an386\"", "\"other\""));
    let board = place.path("other.toml");
    let fleet = format!(
        "fleet=[{{board={:?},count=1}}]",
        board.display().to_string()
    );
    check_refused(
        &place,
        place.run("out", &[&fleet]),
        &[
            "no firmware for board other",
            "make firmware",
            "--firmware-dir",
        ],
    );

    let image = place.write("firmware/mps2-an386.elf", "MZ\x7fELF");
    let mut command = place.run("out", &[]);
    command.args(["--firmware-dir", "firmware"]);
    let image = image.strip_prefix(place.path("")).unwrap();
    let expected = format!("firmware {}: not an ELF file", image.display());
    check_refused(&place, command, &[&expected]);
}

#[test]
fn a_folder_that_is_taken() {
    let place = Place::new();
    let file = place.write("taken/notes.txt", "mine");
    let said = finish(place.run("taken", &[])).failed(1);
    let expected = format!(
        "folder {} exists and is not empty",
        place.path("taken").display()
    );
    assert!(said.contains(&expected) && said.contains("--out"), "{said}");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "mine");
    let left = std::fs::read_dir(place.path("taken")).unwrap().count();
    assert_eq!(left, 1);
}

#[test]
fn data_files_that_are_damaged() {
    let place = Place::new();
    let images = idx(&[8, 2, 3], &[7; 48]);
    let labels = idx(&[8], &[0, 1, 0, 1, 0, 1, 0, 1]);
    let files = "[data.idx]\ntrain-images = \"train\"\ntrain-labels = \"labels\"\n\
                 test-images = \"test\"\ntest-labels = \"labels\"\n";
    place.write("experiment.toml", SMALL.replace("[data.digits]", files));
    place.write("labels", &labels);
    place.write("test", &images);
    let train = place.path("train").display().to_string();

    place.write("train", &images[..40]);
    let expected = format!("{train}: truncated: expected 64 bytes, got 40");
    check_refused(&place, place.run("out", &[]), &[&expected]);

    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(&images).unwrap();
    let packed = packed.finish().unwrap();
    let mut corrupt = packed.clone();
    // In the checksum, 8 bytes before the end.
    let position = corrupt.len() - 8;
    corrupt[position] ^= 1;
    place.write("train", &corrupt);
    let expected = [
        &*train,
        "corrupt gzip at packed byte ",
        "download or copy it again",
    ];
    check_refused(&place, place.run("out", &[]), &expected);

    place.write("train", &packed[..packed.len() - 12]);
    let expected = [&*train, "truncated gzip: the file ends after "];
    check_refused(&place, place.run("out", &[]), &expected);

    std::fs::remove_file(&train).unwrap();
    check_refused(&place, place.run("out", &[]), &[&train, "failed to open"]);

    // As a check of the check: with the whole file there is nothing to say.
    place.write("train", &packed);
    place.completed_run("out", &["rounds=1"]);
}

#[test]
fn more_clients_than_samples() {
    let place = Place::new();
    let fleet = r#"fleet=[{board="mps2-an386",count=2000}]"#;
    check_refused(&place, place.run("out", &[fleet]), &["1438", "2000"]);
}

#[test]
fn a_download_that_is_wrong() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    // Ends with the test's process.
    std::thread::spawn(move || {
        let mut body = GzEncoder::new(Vec::new(), Compression::fast());
        body.write_all(&idx(&[60_000, 28, 28], &vec![0; 47_040_000]))
            .unwrap();
        let body = body.finish().unwrap();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(&[head.as_bytes(), &body].concat());
        }
    });
    let fetch = [
        "data",
        "fetch",
        "mnist",
        "--from",
        &url,
        "--data-dir",
        "data",
    ];
    let said = Running::start(place.zfl(fetch)).finish().failed(1);
    for expected in [
        "failed to fetch train-images-idx3-ubyte",
        &url,
        "wrong checksum: expected SHA-256 ",
        "data/mnist yourself",
    ] {
        assert!(said.contains(expected), "no `{expected}` in: {said}");
    }
    let left: Vec<_> = std::fs::read_dir(place.path("data/mnist"))
        .unwrap()
        .collect();
    assert!(left.is_empty(), "{left:?}");

    let said = finish(place.zfl(["data", "fetch", "emnist"])).failed(2);
    assert!(
        said.contains("no data set `emnist` to fetch; there is `mnist`"),
        "{said}"
    );
}

#[test]
fn a_dashboard_without_a_folder_or_a_port() {
    let place = Place::new();
    let said = finish(place.zfl(["dashboard"])).failed(2);
    assert_eq!(
        said,
        "error: there is no folder runs; name the folder of your runs: zfl dashboard RUNS_DIR\n"
    );
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = finish(place.zfl(["dashboard", ".", "--listen", &address])).failed(1);
    assert!(
        said.starts_with(&format!(
            "error: failed to listen on {address} for the dashboard: "
        )),
        "{said}"
    );
    assert!(said.contains("port 0 takes a free one"), "{said}");
    // Before anything of the run is there.
    let mut command = place.run("out", &[]);
    command.args(["--dashboard", &address]);
    let expected = format!("failed to listen on {address} for the dashboard: ");
    check_refused(&place, command, &[&expected]);
    let said = finish(place.zfl(["run", "--dashboard", "experiment.toml"])).failed(2);
    assert!(
        said.contains("an experiment file goes before --dashboard"),
        "{said}"
    );
}
