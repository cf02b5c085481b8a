//! Writes the seeds of the corpora again, `fuzz/corpus/TARGET/seed-NAME`:
//! messages and files as zfl writes them.
//!
//! ```text
//! cargo run -p zfl-fuzz --example seeds
//! ```
#![expect(clippy::unwrap_used, reason = "a tool that is run by hand")]

use std::path::{Path, PathBuf};

use zfl_client::Client;
use zfl_data::idx::{IdxArray, Packing, write};
use zfl_lab::archive::{CellKind, Client as ClientRow, Column, Round, Row};
use zfl_machine::Mcu;
use zfl_nn::{
    Activation, Format, Hyperparameters, Layer, Loss, Model, Progress, Rounding, Shape, Task,
};
use zfl_proto::console::{Event, RunOptions};
use zfl_proto::image::Note;
use zfl_proto::message::{
    Assignment, Checksum, DataHeader, DataPart, DeviceMetrics, Encoding, Kind, StartHeader,
};
use zfl_proto::{ClientId, RoundIndex, Token};

const SAMPLES: u32 = 4;
const INPUTS: u32 = 4;
const CLASSES: u32 = 2;

fn main() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let seeds = Seeds(project.join("fuzz/corpus"));
    messages(&seeds);
    client(&seeds);
    console(&seeds);
    files(&seeds, project);
    idx(&seeds);
    image(&seeds);
    checkpoint(&seeds);
    http(&seeds);
    switch(&seeds);
    gateway(&seeds);
    meter(&seeds);
    capture(&seeds);
    tables(&seeds, project);
    links(&seeds, project);
    sweeps(&seeds, project);
    archive(&seeds);
    state(&seeds);
}

struct Seeds(PathBuf);

impl Seeds {
    fn put(&self, target: &str, name: &str, bytes: &[u8]) {
        let folder = self.0.join(target);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("seed-{name}")), bytes).unwrap();
    }
}

fn dense() -> Task {
    Task {
        model: Model::mlp(4, &[3, 2], Activation::Relu, Loss::CrossEntropy).unwrap(),
        hyperparameters: Hyperparameters::sgd(1, 2, 0.1),
        format: Format::F32,
    }
}

fn conv() -> Task {
    let layers = [
        Layer::Conv2d {
            filters: 8,
            kernel: 5,
            stride: 2,
            padding: 2,
            activation: Activation::LeakyRelu,
        },
        Layer::MaxPool { size: 2 },
        Layer::Flatten,
        Layer::Dense {
            outputs: 10,
            activation: Activation::Identity,
        },
    ];
    let model = Model::new(Shape::image(28, 28, 1), &layers, Loss::SquaredError).unwrap();
    Task {
        model: model.freeze(1).unwrap(),
        hyperparameters: Hyperparameters {
            momentum: 0.9,
            nesterov: true,
            weight_decay: 1e-4,
            clip_norm: 5.0,
            proximal: 0.01,
            rounding: Rounding::Stochastic,
            ..Hyperparameters::sgd(5, 10, 0.05)
        },
        format: Format::Fixed16,
    }
}

fn assignment() -> Vec<u8> {
    let message = Assignment {
        client: ClientId(3),
        sample_count: SAMPLES,
    };
    message.encode().as_slice().to_vec()
}

fn data(part: DataPart) -> Vec<u8> {
    let count = match part {
        DataPart::Samples => SAMPLES * INPUTS,
        DataPart::Labels => SAMPLES,
        DataPart::Values => SAMPLES * CLASSES,
    };
    let byte = |value| (value % CLASSES) as u8;
    let payload: Vec<u8> = match part {
        DataPart::Samples | DataPart::Labels => (0..count).map(byte).collect(),
        DataPart::Values => (0..count)
            .flat_map(|value| f32::from(byte(value)).to_le_bytes())
            .collect(),
    };
    let header = DataHeader {
        part,
        client: ClientId(3),
        sample_count: SAMPLES,
        input_count: INPUTS,
        class_count: CLASSES,
        value_scale: 0.25,
        payload_crc32: Checksum::of(&payload),
    };
    [header.encode().as_slice(), &payload].concat()
}

fn start(task: &Task, encoding: Encoding) -> Vec<u8> {
    let payload = vec![0; task.parameter_bytes()];
    let task = task.encode();
    let header = StartHeader {
        client: ClientId(3),
        round: RoundIndex(1),
        seed: 5,
        task: task.as_slice(),
        encoding,
        payload_bytes: payload.len() as u32,
        payload_crc32: Checksum::of(&payload),
    };
    [header.encode().as_slice(), &payload].concat()
}

/// The update of a client that has trained.
fn update() -> Vec<u8> {
    let mut arena = [0; 256];
    let mut client = Client::new(&mut arena);
    for (kind, message) in [
        (Kind::Assignment, assignment()),
        (Kind::Samples, data(DataPart::Samples)),
        (Kind::Labels, data(DataPart::Labels)),
        (Kind::Start, start(&dense(), Encoding::F32)),
    ] {
        client.receive(kind).unwrap();
        client.receive_bytes(&message).unwrap();
        client.receive_end().unwrap();
    }
    while client.train(64).unwrap() == Progress::Working {}
    let (header, payload) = client.update(DeviceMetrics::default()).unwrap();
    [header.as_slice(), payload].concat()
}

fn messages(seeds: &Seeds) {
    for (name, message) in [
        ("assignment", assignment()),
        ("samples", data(DataPart::Samples)),
        ("labels", data(DataPart::Labels)),
        ("values", data(DataPart::Values)),
        ("start", start(&dense(), Encoding::F32)),
        ("update", update()),
    ] {
        seeds.put("message", name, &message);
    }
    for (name, task) in [("dense", dense()), ("conv", conv())] {
        seeds.put("task", name, task.encode().as_slice());
    }
}

/// A step that receives a message: see `targets/client.rs`.
fn step(kind: u8, how: u8, message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u16).to_le_bytes();
    [[0, kind | how, 30].as_slice(), &length, message].concat()
}

fn client(seeds: &Seeds) {
    let provisioned = [
        step(0, 0, &assignment()),
        step(1, 16, &data(DataPart::Samples)),
        step(2, 0, &data(DataPart::Labels)),
    ]
    .concat();
    let train_and_report = [5, 5, 5, 5, 6, 7];
    let fixed = Task {
        format: Format::Fixed8,
        ..dense()
    };
    for (name, block, task, encoding) in [
        ("dense", 0, dense(), Encoding::F32),
        ("blocks", 1, dense(), Encoding::F32),
        ("fixed", 0, fixed, Encoding::Fixed8),
    ] {
        let start = step(3, 16, &start(&task, encoding));
        let rounds = [&start, train_and_report.as_slice()].concat().repeat(2);
        seeds.put(
            "client",
            name,
            &[&[block], provisioned.as_slice(), &rounds].concat(),
        );
    }
    let cut = step(3, 0, &start(&dense(), Encoding::F32)[..90]);
    let refused = [&[0], provisioned.as_slice(), &cut, &[4, 1, 0]].concat();
    seeds.put("client", "refused", &refused);
}

fn console(seeds: &Seeds) {
    let run = RunOptions {
        address: [192, 0, 2, 10].into(),
        prefix_bits: 24,
        coordinator: "192.0.2.2:8080".parse().unwrap(),
        token: Token::new([0x5a; Token::BYTES]),
        instruction_ns: Some(128),
        arena_bytes: Some(200_000),
    };
    let commands = format!("\u{7}{run}\nhelp\nstats\ncrash hang\n");
    seeds.put("console", "commands", commands.as_bytes());
    let mut said = "\u{7}\r\n".to_owned();
    for event in [
        Event::Boot {
            board: "mps2-an386",
            version: "0.1.0",
            arena_bytes: 262_144,
        },
        Event::Assigned(ClientId(3)),
        Event::Ready {
            client: ClientId(3),
            sample_count: 29,
        },
        Event::Training(RoundIndex(1)),
        Event::Reported(RoundIndex(1)),
        Event::Failed("no route"),
        Event::Panic("src/main.rs:1: why"),
        Event::Fault("hard cfsr=0x00008200"),
        Event::Stats("stack=1024 arena=4096"),
    ] {
        said.push_str(&format!("{event}\r\nzfl> "));
    }
    seeds.put("console", "device", said.as_bytes());
}

fn files(seeds: &Seeds, project: &Path) {
    let read = |path: &str| std::fs::read(project.join(path)).unwrap();
    for name in ["digits", "mnist", "cnn-mnist"] {
        seeds.put("experiment", name, &read(&format!("examples/{name}.toml")));
    }
    let set = b"\0model.mlp.hidden=[4, 2]\0strategy.fed-avg={}\0fleet.0.count=3".as_slice();
    seeds.put(
        "experiment",
        "set",
        &[&read("examples/digits.toml"), set].concat(),
    );
    for name in ["mps2-an386", "riscv-virt-rv32imac"] {
        seeds.put("board", name, &read(&format!("boards/{name}.toml")));
    }
    // Without the comments of its file.
    let mcu = Mcu::named("nrf52840").unwrap().to_toml();
    seeds.put("board", "nrf52840", mcu.as_bytes());
}

fn idx(seeds: &Seeds) {
    for (name, how, shape) in [
        ("images", 28_u8, vec![3, 4, 4]),
        ("colours", 28, vec![2, 2, 2, 3]),
        ("flat", 28, vec![2, 5]),
        ("labels", 29, vec![9]),
    ] {
        let count = shape.iter().product::<u32>() as u8;
        let array = IdxArray::new(shape, (0..count).collect()).unwrap();
        for (packing, suffix) in [(Packing::Plain, ""), (Packing::Gzip, "-gz")] {
            let mut bytes = vec![how, 6];
            write(&array, packing, &mut bytes).unwrap();
            seeds.put("idx", &format!("{name}{suffix}"), &bytes);
        }
    }
}

/// An ELF file of 32 bits as small as it can be, with segments of these
/// addresses (loaded, used) and sizes (loaded, used).
fn elf(machine: u16, board: &str, segments: &[[u32; 4]]) -> Vec<u8> {
    let words = |words: &[u32]| {
        words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect::<Vec<_>>()
    };
    let halves = |halves: &[u16]| {
        halves
            .iter()
            .flat_map(|half| half.to_le_bytes())
            .collect::<Vec<_>>()
    };
    let note = Note {
        protocol_version: zfl_proto::message::PROTOCOL_VERSION.into(),
        board,
    };
    let note: Vec<u8> = note.encode().collect();
    let names = b"\0.note.zfl\0.names\0";
    let note_at = 52 + 32 * segments.len() as u32;
    let names_at = note_at + note.len() as u32;
    let sections_at = names_at + names.len() as u32;
    let mut bytes = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    bytes.extend(halves(&[2, machine]));
    bytes.extend(words(&[1, 0, 52, sections_at, 0]));
    bytes.extend(halves(&[52, 32, segments.len() as u16, 40, 3, 2]));
    for [loaded, used, loaded_bytes, used_bytes] in segments {
        bytes.extend(words(&[
            1,
            0,
            *used,
            *loaded,
            *loaded_bytes,
            *used_bytes,
            5,
            4,
        ]));
    }
    bytes.extend(&note);
    bytes.extend(names);
    for [name, kind, at, length] in [
        [0, 0, 0, 0],
        [1, 1, note_at, note.len() as u32],
        [11, 3, names_at, names.len() as u32],
    ] {
        bytes.extend(words(&[name, kind, 0, 0, at, length, 0, 0, 1, 0]));
    }
    bytes
}

fn image(seeds: &Seeds) {
    const ARM: u16 = 40;
    const RISCV: u16 = 243;
    let arm = [
        [0, 0, 200_000, 200_000],
        [200_000, 0x2000_3a00, 100, 100],
        [0x2000_3a64, 0x2000_3a64, 0, 20_000],
    ];
    seeds.put("image", "arm", &elf(ARM, "lm3s6965evb", &arm));
    let riscv = [[0x8000_0000, 0x8000_0000, 4096, 4096]];
    seeds.put("image", "riscv", &elf(RISCV, "riscv-virt-rv32imac", &riscv));
    let note = Note {
        protocol_version: 1,
        board: "mps2-an386",
    };
    seeds.put("image", "note", &note.encode().collect::<Vec<_>>());
}

fn checkpoint(seeds: &Seeds) {
    let path = std::env::temp_dir().join(format!("zfl-seed-{}", std::process::id()));
    for (index, model) in zfl_fuzz::checkpoint_models().iter().enumerate() {
        let parameters: Vec<f32> = (0..model.parameter_count())
            .map(|i| i as f32 * 0.5)
            .collect();
        zfl_server::checkpoint::save(&path, model, &parameters, 1).unwrap();
        let file = std::fs::read(&path).unwrap();
        seeds.put(
            "checkpoint",
            &format!("model-{index}"),
            &[&[index as u8], file.as_slice()].concat(),
        );
    }
    std::fs::remove_file(&path).unwrap();
}

/// A request with a body: see `targets/http.rs`.
fn request(what: u8, who: u8, how: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u16).to_le_bytes();
    [[what, who, how].as_slice(), &length, body].concat()
}

fn http(seeds: &Seeds) {
    let json = br#"{"round":1,"samples":3,"parameters":[0.5,-1,0,1e-3,2,3],"train_loss":0.7}"#;
    let fleet = br#"{"devices":[{"board":"b","endpoint":"127.0.0.1:9"},{"board":"b","endpoint":"[::1]:80"}]}"#;
    let update = zfl_fuzz::http_update();
    let get = |what, who| request(what, who, 4, b"");
    let pulled = [get(3, 0), request(4, 0, 0, &update)].concat();
    let by_hand = [
        get(0x83, 0),
        request(4, 0, 1, json),
        get(3, 2),
        request(4, 2, 1, json),
    ]
    .concat();
    let fleet_host = [
        request(5, 4, 1, fleet),
        request(6, 4, 2, b"it is gone"),
        request(6, 0x84, 2, b""),
        get(0, 0),
        get(1, 2),
    ]
    .concat();
    let refused = [
        request(4, 0, 0, &update),
        get(3, 0),
        request(4, 0, 0, &update[..80]),
        request(4, 2, 2, json),
        request(5, 0, 1, fleet),
        get(1, 6),
        request(4, 0, 1, b"{"),
    ]
    .concat();
    for (name, mode, steps) in [
        ("binary", 0, &pulled),
        ("json", 0, &by_hand),
        ("fleet", 1, &fleet_host),
        ("refused", 0, &refused),
    ] {
        seeds.put("http", name, &[&[mode], steps.as_slice()].concat());
    }
}

/// A step that begins with `what`, and a frame with the addresses that `how`
/// says: see `targets/switch.rs`.
fn frame(what: u8, how: u8, frame: &[u8]) -> Vec<u8> {
    let length = (frame.len() as u16).to_le_bytes();
    [[what, how].as_slice(), &length, frame].concat()
}

fn switch(seeds: &Seeds) {
    let arp = [
        &[0; 12],
        [8, 6, 0, 1, 8, 0, 6, 4, 0, 1].as_slice(),
        &[0; 20],
    ]
    .concat();
    // A segment near the beginning of its stream.
    let segment = |what: u8, flags: u8, sequence: u8, acknowledged: u8, payload: &[u8]| {
        let length = (payload.len() as u16).to_le_bytes();
        let fixed = [what | 8, 0, flags, sequence, acknowledged, 0, 8];
        [fixed.as_slice(), &length, payload].concat()
    };
    let steps = [
        frame(0, 4, &arp),
        frame(0x40, 5, &arp),
        frame(2, 0x46, &arp),
        frame(2, 5, &arp),
        vec![3, 0, 8, 5, 0x45, 4, 7, 60],
        segment(1, 2, 60, 0, b""),
        segment(2, 18, 5, 61, b""),
        vec![3, 0, 8, 5],
        segment(1, 24, 61, 6, b"GET /id"),
        segment(2, 16, 6, 68, b""),
        segment(2, 16, 6, 68, b""),
        segment(1, 24, 61, 6, b"GET /id"),
        vec![3, 0, 8, 5],
        frame(0, 0x46, &arp),
        vec![6, 0, 6, 3],
        frame(0, 4, &arp),
    ]
    .concat();
    for (name, setup) in [("plain", 0), ("peers", 1), ("small", 6)] {
        seeds.put("switch", name, &[&[setup], steps.as_slice()].concat());
    }
    // How, rate, burst, delay, jitter; loss, copies, corruption; MTU.
    let link = [0x18, 0, 1, 0, 8, 0, 4, 0, 1, 20, 60, 20, 220, 5];
    let bad = [&[8], link.as_slice(), &link, &steps].concat();
    seeds.put("switch", "links", &bad);
}

/// A step with a segment near what is expected: see `targets/gateway.rs`.
fn segment(how: u8, flags: u8, offsets: [u8; 2], payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u16).to_le_bytes();
    let fixed = [&[1, how, flags], offsets.as_slice(), &[0, 8], &length];
    [&fixed.concat(), payload].concat()
}

fn gateway(seeds: &Seeds) {
    const FIN: u8 = 1;
    const SYN: u8 = 2;
    const RST: u8 = 4;
    const ACK: u8 = 16;
    let arp = vec![23, 1];
    let ack = |how| segment(how, ACK, [0, 0], b"");
    let say_nothing = vec![6, 0, 0];
    let from_device = [
        vec![0],
        arp.clone(),
        segment(1, SYN, [0, 0], b""),
        segment(1, ACK, [0, 0], b"GET /id HTTP/1.1\r\n\r\n"),
        say_nothing.clone(),
        vec![6, 4, 0, b'2', b'0', b'0', b'!'],
        ack(1),
        segment(1, ACK | FIN, [0, 0], b"again"),
        say_nothing.clone(),
        // It has no more to say.
        vec![15],
        ack(1),
        ack(1),
        vec![4, 0xff, 0xff],
    ];
    let to_device = [
        vec![1],
        vec![5],
        arp,
        // To the port from which the gateway asks.
        segment(4, SYN | ACK, [0, 0], b""),
        vec![6, 3, 0, b'a', b'b', b'c'],
        segment(4, ACK, [0, 0], b"answer"),
        say_nothing,
        vec![7],
        ack(4),
        vec![5],
        segment(4, RST, [0, 0], b""),
    ];
    seeds.put("gateway", "from-device", &from_device.concat());
    seeds.put("gateway", "to-device", &to_device.concat());
}

fn meter(seeds: &Seeds) {
    // One of four ports, flags, sequence number, window, payload.
    let segment = |way: u8, port: u8, flags: u8, sequence: u8, payload: &[u8]| {
        let length = (payload.len() as u16).to_le_bytes();
        let fixed = [way | 2, port, flags, sequence, 0, 8, length[0], length[1]];
        [fixed.as_slice(), payload].concat()
    };
    let steps = [
        segment(1, 0, 2, 60, b""),
        segment(0, 0, 18, 9, b""),
        segment(1, 0, 24, 61, b"GET /id"),
        segment(1, 0, 24, 61, b"GET /id"),
        segment(1, 0, 24, 64, b" /id HTTP/1.1"),
        segment(1, 1, 2, 0, b""),
        segment(1, 0, 17, 77, b""),
        vec![1, 4, 0, 8, 6, 0, 1],
    ];
    seeds.put("meter", "segments", &steps.concat());
}

fn capture(seeds: &Seeds) {
    let frame = |how: u8, at: u8, bytes: &[u8]| {
        let length = (bytes.len() as u16).to_le_bytes();
        [[how, at, 0].as_slice(), &length, bytes].concat()
    };
    let two = [frame(0, 1, &[1; 60]), frame(0x60, 2, &[2; 14])].concat();
    let dropped = [frame(0xa1, 3, &[3; 61]), frame(0x13, 4, &[])].concat();
    let all = [
        &[0, 0, 2],
        b"-device-".as_slice(),
        &two,
        &[0, 0, 2],
        b"-again--",
        &dropped,
    ];
    seeds.put("capture", "two-sections", &all.concat());
    let full = [&[1, 0, 10, 2], b"\xc3\xa9-=,\n..".as_slice(), &two];
    seeds.put("capture", "full", &full.concat());
}

/// What is asked comes first: see `targets/tables.rs`.
fn tables(seeds: &Seeds, project: &Path) {
    let read = |path: &str| std::fs::read(project.join(path)).unwrap();
    let sensors = String::from_utf8(read("examples/sensors/sensors.csv")).unwrap();
    let lines: Vec<&str> = sensors
        .lines()
        .take(9)
        .chain(sensors.lines().rev().take(8))
        .collect();
    let sensors = lines.join("\n");
    // The last column is the class and the first the group; or the fourth is a
    // number to learn, and the last is left out.
    let classes = [2, 11, 0, 0, 0];
    let numbers = [0x15, 3, 0, 11, 0];
    let quoted = "a;\"b \"\"c\"\"\";\"d\ne\"\r\n1;\" 2\";x\r\n\r\n-3e4;true;\"y\"\r\n";
    for (name, asked, file) in [
        ("classes", classes, sensors.as_bytes()),
        ("numbers", numbers, sensors.as_bytes()),
        ("quoted", [0x18, 2, 0, 0, 0], quoted.as_bytes()),
        ("image", [0x42, 11, 0, 0, 10], sensors.as_bytes()),
        (
            "pandas",
            [6, 5, 4, 0, 0],
            &read("crates/zfl-data/data/tables/pandas.csv"),
        ),
    ] {
        seeds.put("csv", name, &[&asked, file].concat());
    }
    for (name, asked) in [
        ("pandas", [2, 4, 3, 0, 0]),
        ("zstd", [0x33, 1, 4, 0, 2]),
        ("unusual", [0x20, 8, 0, 7, 7]),
    ] {
        let file = read(&format!("crates/zfl-data/data/tables/{name}.parquet"));
        seeds.put("parquet", name, &[&asked, file.as_slice()].concat());
    }
    let compressed = read("crates/zfl-data/data/tables/compressed.npz");
    seeds.put(
        "npz",
        "compressed",
        &[&[0, 1, 0, 0, 0], compressed.as_slice()].concat(),
    );
    let images = array("|u1", "True", "6, 2, 2", &(0..24).collect::<Vec<u8>>());
    let numbers: Vec<u8> = (0..12_u8)
        .flat_map(|value| f32::from(value).to_le_bytes())
        .collect();
    let rows = array("<f4", "False", "6, 2", &numbers);
    let labels = array(">i2", "False", "6,", &[0, 1, 0, 2, 0, 1, 1, 0, 0, 2, 0, 2]);
    let texts: Vec<u8> = "abbaca"
        .chars()
        .flat_map(|letter| u32::from(letter).to_le_bytes())
        .collect();
    let texts = array("<U1", "False", "6,", &texts);
    let all: Vec<u8> = [images, rows, labels, texts]
        .iter()
        .flat_map(|array| [&(array.len() as u16).to_le_bytes(), array.as_slice()].concat())
        .collect();
    for (name, asked) in [
        ("images", [0x82, 0, 2, 3, 0]),
        ("rows", [0x90, 1, 3, 1, 3]),
        ("ranged", [0x88, 0, 3, 0, 0]),
        ("numbers", [0x81, 0, 2, 0, 0]),
    ] {
        seeds.put("npz", name, &[&asked, all.as_slice()].concat());
    }
}

/// An array as NumPy writes it.
fn array(kind: &str, is_fortran: &str, shape: &str, values: &[u8]) -> Vec<u8> {
    let header =
        format!("{{'descr': '{kind}', 'fortran_order': {is_fortran}, 'shape': ({shape}), }}");
    let header = format!("{header:117}\n");
    let length = (header.len() as u16).to_le_bytes();
    [
        b"\x93NUMPY\x01\0".as_slice(),
        &length,
        header.as_bytes(),
        values,
    ]
    .concat()
}

fn links(seeds: &Seeds, project: &Path) {
    for name in ["ble", "ethernet"] {
        let file = std::fs::read(project.join(format!("links/{name}.toml"))).unwrap();
        seeds.put("link", name, &file);
    }
    let tables = "[link.field]\nbased-on = \"lte-m\"\nrate-up-kbps = 80.5\nburst-bytes = 3000\n\
        delay-ms = 100\njitter-ms = 20\nreorder = true\nloss = 0.01\n\
        burst-loss = { begin = 0.01, end = 0.25, loss = 0.9 }\nduplicate = 0.1\ncorrupt = 0.5\n\
        queue-bytes = 20_000\nmtu-bytes = 576\noutages = [{ from-s = 2, for-s = 5.5 }]\n\
        outage-cycle = { every-s = 60, for-s = 3 }\n\n[link.far]\nbased-on = \"field\"\n\
        overhead-bytes = 40\nrate-down-kbps = 0\n";
    seeds.put("link", "tables", tables.as_bytes());
    let trace = "client,from,to\n3, 1,2\n3,5,5\r\n\n0,2,4294967295\n";
    seeds.put("trace", "intervals", &[&[10, 0], trace.as_bytes()].concat());
}

fn sweeps(seeds: &Seeds, project: &Path) {
    let digits = std::fs::read(project.join("examples/sweep-digits.toml")).unwrap();
    seeds.put("sweep", "digits", &digits);
    let tpe = "experiment = \"a\"\nname = \"b\"\nseed = 7\nrepeats = 2\nwidth = 8\nconfirm = 1\n\
        confirm-rounds = 3\n[space]\ntraining.epochs = { range = [1, 5], step = 2 }\n\
        training.learning-rate = { log-range = [0.01, 1.0] }\n\
        training.batch-size = { values = [10, 20], when = { training.epochs = [1] } }\n\
        [search.tpe]\ntrials = 20\nrandom-trials = 4\n\
        [early-stopping.asha]\nrounds-min = 2\nreduction-factor = 3\n\
        [[objectives]]\nloss = {}\n[[objectives]]\nbytes = { to-accuracy = 0.5 }\n";
    seeds.put("sweep", "tpe", tpe.as_bytes());
    let base = std::fs::read(project.join("examples/mnist.toml")).unwrap();
    let random = b"experiment = \"a\"\n[space]\ntraining.epochs = [1, 2, 3]\n[search.random]\ntrials = 9\n\0";
    let random = [random.as_slice(), &base].concat();
    seeds.put("sweep", "random", &random);
}

zfl_lab::table_row! {
    /// What of a device's row is read.
    struct Device in "devices.csv" {
        after_round: u32,
        device: u32,
        client: u32,
        board: Option<String>,
        ready_host_seconds: Option<f64>,
        nic_bytes_in: Option<u64>,
    }
}

/// A table with a value in every cell.
fn table<R: Row>(rows: u32) -> String {
    let line = |cell: &dyn Fn(&Column) -> String| {
        let cells: Vec<String> = R::COLUMNS.iter().map(cell).collect();
        cells.join(",") + "\n"
    };
    let mut text = line(&|column| column.name.to_owned());
    for row in 1..=rows {
        text += &line(&|column| match (column.name, column.kind) {
            ("round", _) => row.to_string(),
            ("outcome", _) => if row == 1 { "completed" } else { "ok" }.to_owned(),
            (_, CellKind::Integer) => (row * 3).to_string(),
            (_, CellKind::Real) => format!("0.{row}5"),
            (_, CellKind::Text) if row == 2 => "\"two,\nlines\"".to_owned(),
            (_, CellKind::Text) => "mps2-an386".to_owned(),
        });
    }
    text
}

/// Which file is cut off and where, then the files: see `targets/archive.rs`.
fn archive(seeds: &Seeds) {
    let event =
        |name: &str, more: &str| format!("{{\"host_seconds\":0.5,\"event\":\"{name}\"{more}}}\n");
    let files = [
        table::<Round>(3),
        table::<ClientRow>(4),
        event("initial", ",\"accuracy\":0.1,\"loss\":2.3") + &event("client-lost", ",\"client\":2"),
        table::<Device>(3),
        "client,samples,class_0,class_1\n0,5,2,3\n1,4,4,0\n".to_owned(),
        "{\"outcome\":\"completed\",\"accuracy\":0.5,\"rounds\":3,\"clients\":9}".to_owned(),
        "name = \"a\"\nrounds = 3\nseed = 1\n[[fleet]]\ncount = 9\nmcu = \"nrf52840\"\n".to_owned(),
    ];
    let all = files.join("\0");
    for (name, cut) in [
        ("rounds", [0, 200, 0]),
        ("clients", [1, 0x40, 3]),
        ("events", [2, 60, 0]),
    ] {
        seeds.put("archive", name, &[cut.as_slice(), all.as_bytes()].concat());
    }
    let [rounds, ..] = &files;
    let running = format!("{rounds}4,\0\0{{\"host");
    seeds.put(
        "archive",
        "running",
        &[&[0, 9, 0], running.as_bytes()].concat(),
    );
}

/// The records and states of a run: see `targets/state.rs`.
fn state(seeds: &Seeds) {
    let records = [
        "round,accuracy\n1,0.5\n",
        "client\n3\n",
        "device\n",
        "{}\n",
        "model",
    ];
    let state = |round: u32| {
        let names = ["rounds.csv", "clients.csv", "devices.csv", "events.jsonl"];
        let extents: serde_json::Map<String, serde_json::Value> = names
            .into_iter()
            .chain(["checkpoints/round-0001.safetensors"])
            .zip(records)
            .map(|(name, record)| {
                let mut crc = flate2::Crc::new();
                crc.update(record.as_bytes());
                let extent = serde_json::json!({ "bytes": record.len(), "crc32": crc.sum() });
                (name.to_owned(), extent)
            })
            .collect();
        serde_json::json!({
            "version": 1, "round": round, "model_round": 1, "host_seconds": 2.5,
            "records": extents,
            "summary": { "name": "a", "loss": 0.25, "resumed_after": [1], "refused": { "body": 2 } },
            "carry": {
                "failed-rounds": 1,
                "resting": [{ "client": 3, "failures": 1, "until-round": 9 }],
                "durations-seconds": [0.5, 0.25],
                "lost-local": { "7": "crash" },
                "late": [{ "client": 3, "round": 1, "sample-count": 20, "change": [1056964608] }],
            },
        })
        .to_string()
    };
    let records = records.join("\0");
    seeds.put(
        "state",
        "whole",
        format!("{records}\0{}\0{}", state(2), state(1)).as_bytes(),
    );
    seeds.put(
        "state",
        "synced",
        format!("{records}\0{{\0{}", state(1)).as_bytes(),
    );
}
