//! The client through whole rounds, fed by hand.

#![expect(clippy::unwrap_used, reason = "a test may")]

use proptest::prelude::*;
use zfl_client::{Client, Refusal, Request, State};
use zfl_nn::Progress;
use zfl_proto::message::{
    Architecture, Assignment, Checksum, DataHeader, DataPart, DeviceMetrics, Kind, StartHeader,
    UpdateHeader,
};
use zfl_proto::{ClientId, RoundIndex};

const CLIENT: ClientId = ClientId(3);
const SAMPLE_COUNT: u32 = 12;
const INPUT_COUNT: u32 = 6;

fn message(header: &[u8], payload: &[u8]) -> Vec<u8> {
    [header, payload].concat()
}

fn assignment() -> Vec<u8> {
    let assignment = Assignment {
        client: CLIENT,
        sample_count: SAMPLE_COUNT,
    };
    assignment.encode().as_slice().to_vec()
}

fn data(part: DataPart, change: impl Fn(&mut DataHeader, &mut Vec<u8>)) -> Vec<u8> {
    let mut payload: Vec<u8> = match part {
        DataPart::Samples => (0..SAMPLE_COUNT * INPUT_COUNT)
            .map(|i| (i % 5) as u8)
            .collect(),
        DataPart::Labels => (0..SAMPLE_COUNT).map(|i| (i % 3) as u8).collect(),
    };
    let mut header = DataHeader {
        part,
        client: CLIENT,
        sample_count: SAMPLE_COUNT,
        input_count: INPUT_COUNT,
        class_count: 3,
        value_scale: 0.25,
        payload_crc32: 0,
    };
    change(&mut header, &mut payload);
    header.payload_crc32 = Checksum::of(&payload);
    message(header.encode().as_slice(), &payload)
}

fn start(change: impl Fn(&mut StartHeader, &mut Vec<f32>)) -> Vec<u8> {
    let mut weights: Vec<f32> = (0..6 * 4 + 4 + 4 * 3 + 3)
        .map(|i| (i % 7) as f32 * 0.1 - 0.3)
        .collect();
    let mut header = StartHeader {
        client: CLIENT,
        round: RoundIndex(1),
        seed: 5,
        epochs: 2,
        batch_size: 5,
        learning_rate: 0.1,
        architecture: Architecture::mlp(INPUT_COUNT, [4], 3).unwrap(),
        payload_crc32: 0,
    };
    change(&mut header, &mut weights);
    let payload: Vec<u8> = weights.iter().flat_map(|w| w.to_le_bytes()).collect();
    header.payload_crc32 = Checksum::of(&payload);
    message(header.encode().as_slice(), &payload)
}

fn same<A, B>(_: &mut A, _: &mut B) {}

/// Feeds a message in pieces of `piece` bytes.
fn feed(client: &mut Client<'_>, kind: Kind, bytes: &[u8], piece: usize) -> Result<(), Refusal> {
    client.receive(kind)?;
    for part in bytes.chunks(piece) {
        client.receive_bytes(part)?;
    }
    client.receive_end()
}

fn provision(client: &mut Client<'_>, piece: usize) {
    assert_eq!(client.next_request(), Some(Request::Id));
    feed(client, Kind::Assignment, &assignment(), piece).unwrap();
    assert_eq!(client.next_request(), Some(Request::TrainingData(CLIENT)));
    feed(client, Kind::Samples, &data(DataPart::Samples, same), piece).unwrap();
    assert_eq!(client.next_request(), Some(Request::TrainingLabels(CLIENT)));
    feed(client, Kind::Labels, &data(DataPart::Labels, same), piece).unwrap();
    assert_eq!(
        (client.next_request(), client.state()),
        (None, State::Ready)
    );
}

/// One whole life: provision, a round, the update's bytes.
fn round_trip(piece: usize, units: usize) -> Vec<u8> {
    let mut arena = [u64::MAX; 200];
    let mut client = Client::new(&mut arena);
    provision(&mut client, piece);
    feed(&mut client, Kind::Start, &start(same), piece).unwrap();
    assert_eq!(client.state(), State::Training);
    while client.train(units).unwrap() == Progress::Working {}
    assert_eq!(client.next_request(), Some(Request::Results(CLIENT)));
    let (header, payload) = client.update(DeviceMetrics::default()).unwrap();
    let update = message(header.as_slice(), payload);
    client.reported();
    assert_eq!(client.state(), State::Ready);
    assert!(client.arena_peak_bytes() <= client.arena_bytes());
    update
}

#[test]
fn a_parked_client_goes_on_in_other_memory() {
    let mut arena = vec![u64::MAX; 200];
    let mut client = Client::new(&mut arena);
    provision(&mut client, 1000);
    feed(&mut client, Kind::Start, &start(same), 1000).unwrap();
    assert_eq!(client.train(7).unwrap(), Progress::Working);
    let parked = client.park();
    let mut larger = vec![0; 300];
    larger[..200].copy_from_slice(&arena);
    arena.fill(0);
    let mut client = parked.resume(&mut larger);
    assert_eq!(client.arena_bytes(), 300 * 8);
    while client.train(7).unwrap() == Progress::Working {}
    let (header, payload) = client.update(DeviceMetrics::default()).unwrap();
    assert_eq!(message(header.as_slice(), payload), round_trip(1000, 1000));
}

#[test]
fn a_round_gives_an_update() {
    let update = round_trip(1000, 1000);
    let header = UpdateHeader::decode(&update).unwrap();
    assert_eq!((header.client, header.round), (CLIENT, RoundIndex(1)));
    assert_eq!(header.sample_count, SAMPLE_COUNT);
    let payload = &update[UpdateHeader::HEADER_BYTES..];
    assert_eq!(payload.len(), header.payload_bytes as usize);
    assert_eq!(Checksum::of(payload), header.payload_crc32);
    assert!(header.metrics.loss_last_epoch < header.metrics.loss_first_epoch);
    let before = start(same);
    assert_ne!(payload, &before[before.len() - payload.len()..]);
}

proptest! {
    #[test]
    fn pieces_do_not_matter(piece in 1usize..300, units in 1usize..50) {
        prop_assert_eq!(round_trip(piece, units), round_trip(10_000, 10_000));
    }

    /// A hostile coordinator can send anything at any time.
    #[test]
    fn no_bytes_panic(
        steps in prop::collection::vec(
            (0usize..5, prop::collection::vec(any::<u8>(), 0..120), 0usize..400), 1..12),
    ) {
        let mut arena = [0u64; 100];
        let mut client = Client::new(&mut arena);
        let good = [
            (Kind::Assignment, assignment()),
            (Kind::Samples, data(DataPart::Samples, same)),
            (Kind::Labels, data(DataPart::Labels, same)),
            (Kind::Start, start(same)),
        ];
        for (which, garbage, position) in steps {
            let (kind, bytes) = good.get(which).unwrap_or(&good[0]);
            let mut bytes = bytes.clone();
            if position < bytes.len() {
                bytes.truncate(position);
                bytes.extend(garbage);
            }
            let _ = feed(&mut client, *kind, &bytes, 64);
            let _ = client.train(7);
            let _ = client.update(DeviceMetrics::default());
        }
    }
}

#[test]
fn a_refused_message_leaves_the_client_usable() {
    let mut arena = [0u64; 200];
    let mut client = Client::new(&mut arena);
    assert_eq!(client.receive(Kind::Start), Err(Refusal::NotReady));
    feed(&mut client, Kind::Assignment, &assignment(), 99).unwrap();

    let check = |client: &mut Client<'_>, kind, bytes: Vec<u8>, text: &str| {
        let state = client.state();
        let refusal = feed(client, kind, &bytes, 50).unwrap_err();
        assert_eq!(refusal.to_string(), text);
        assert_eq!(client.state(), state);
    };
    check(
        &mut client,
        Kind::Samples,
        data(DataPart::Samples, |header, _| header.client = ClientId(9)),
        "message is for client 9, this is client 3",
    );
    let truncated = data(DataPart::Samples, same);
    check(
        &mut client,
        Kind::Samples,
        truncated[..80].to_vec(),
        "message ends 28 bytes early",
    );
    check(
        &mut client,
        Kind::Samples,
        [truncated.clone(), vec![0]].concat(),
        "bytes after the end of the message",
    );
    let mut corrupt = truncated.clone();
    corrupt[70] ^= 1;
    check(
        &mut client,
        Kind::Samples,
        corrupt,
        "checksum of the payload is wrong",
    );
    let large = data(DataPart::Samples, |header, payload| {
        header.sample_count = 400;
        payload.resize(2400, 0);
    });
    check(
        &mut client,
        Kind::Samples,
        large,
        "does not fit: needs 3600 bytes of 1600",
    );
    feed(&mut client, Kind::Samples, &truncated, 99).unwrap();
    check(
        &mut client,
        Kind::Labels,
        data(DataPart::Labels, |_, payload| payload[5] = 3),
        "sample 5 has label 3, the model has 3 classes",
    );
    check(
        &mut client,
        Kind::Labels,
        data(DataPart::Labels, |header, payload| {
            header.sample_count = 11;
            payload.truncate(11);
        }),
        "samples: the client's data have 12, the message 11",
    );
    feed(&mut client, Kind::Labels, &data(DataPart::Labels, same), 99).unwrap();
    check(
        &mut client,
        Kind::Start,
        start(|_, weights| weights[30] = f32::NAN),
        "parameter 30 of the model is not a finite number",
    );
    check(
        &mut client,
        Kind::Start,
        start(|header, weights| {
            header.architecture = Architecture::mlp(7, [4], 3).unwrap();
            weights.resize(47, 0.0);
        }),
        "inputs: the client's data have 6, the message 7",
    );
    check(
        &mut client,
        Kind::Start,
        start(|header, weights| {
            header.architecture = Architecture::mlp(6, [100], 3).unwrap();
            weights.resize(1003, 0.0);
        }),
        "does not fit: needs 7768 bytes of 1600",
    );
    feed(&mut client, Kind::Start, &start(same), 99).unwrap();
    assert_eq!(client.receive(Kind::Start), Err(Refusal::Busy));
}
