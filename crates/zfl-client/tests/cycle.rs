//! The client through whole rounds, fed by hand.

#![expect(clippy::unwrap_used, reason = "a test may")]

use proptest::prelude::*;
use zfl_client::{Client, Needs, Refusal, Request, State, Tamper};
use zfl_nn::{
    Activation, BLOCK_FAST, Draw, Format, Hyperparameters, Loss, Memory, Model, Progress, Targets,
    Task, Training, ValueTable,
};
use zfl_proto::message::{
    Assignment, Checksum, DataHeader, DataPart, DeviceMetrics, Encoding, Kind, StartHeader,
    UpdateHeader,
};
use zfl_proto::{ClientId, RoundIndex, ShareRecord};

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
        DataPart::Values => (0..SAMPLE_COUNT * 3)
            .flat_map(|i| ((i % 7) as f32 * 0.25 - 0.75).to_le_bytes())
            .collect(),
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

fn task() -> Task {
    task_of(6, 4)
}

fn task_of(inputs: usize, hidden: usize) -> Task {
    let widths = [hidden, 3];
    Task {
        model: Model::mlp(inputs, &widths, Activation::Relu, Loss::CrossEntropy).unwrap(),
        hyperparameters: Hyperparameters::sgd(2, 5, 0.1),
        format: Format::F32,
    }
}

fn start(change: impl Fn(&mut StartHeader<'_>, &mut Vec<f32>)) -> Vec<u8> {
    start_of(&task(), change)
}

fn start_of(task: &Task, change: impl Fn(&mut StartHeader<'_>, &mut Vec<f32>)) -> Vec<u8> {
    let task = task.encode();
    let mut weights: Vec<f32> = (0..6 * 4 + 4 + 4 * 3 + 3)
        .map(|i| (i % 7) as f32 * 0.1 - 0.3)
        .collect();
    let mut header = StartHeader {
        client: CLIENT,
        round: RoundIndex(1),
        seed: 5,
        task: task.as_slice(),
        encoding: Encoding::F32,
        payload_bytes: 0,
        payload_crc32: 0,
    };
    change(&mut header, &mut weights);
    let payload: Vec<u8> = weights.iter().flat_map(|w| w.to_le_bytes()).collect();
    header.payload_bytes = payload.len() as u32;
    header.payload_crc32 = Checksum::of(&payload);
    message(header.encode().as_slice(), &payload)
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let (values, _) = bytes.as_chunks::<4>();
    values.iter().map(|v| f32::from_le_bytes(*v)).collect()
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
    provision_with(client, DataPart::Labels, piece);
}

fn provision_with(client: &mut Client<'_>, part: DataPart, piece: usize) {
    assert_eq!(client.next_request(), Some(Request::Id));
    feed(client, Kind::Assignment, &assignment(), piece).unwrap();
    assert_eq!(client.next_request(), Some(Request::TrainingData(CLIENT)));
    feed(client, Kind::Samples, &data(DataPart::Samples, same), piece).unwrap();
    assert_eq!(client.next_request(), Some(Request::TrainingLabels(CLIENT)));
    feed(client, Kind::Labels, &data(part, same), piece).unwrap();
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
    feed(&mut client, Kind::Start, &start(|_, _| {}), piece).unwrap();
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
    feed(&mut client, Kind::Start, &start(|_, _| {}), 1000).unwrap();
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
    let before = start(|_, _| {});
    assert_ne!(payload, &before[before.len() - payload.len()..]);
}

/// The same numbers as `zfl-nn` alone, whatever the block.
#[test]
fn values_are_learnt_in_place_of_labels() {
    let squares = Task {
        model: Model::mlp(6, &[4, 3], Activation::Tanh, Loss::SquaredError).unwrap(),
        ..task()
    };
    let begun = start_of(&squares, |_, _| {});
    let parameters = &begun[begun.len() - squares.parameter_bytes()..];
    let mut expected = floats(parameters);
    let samples = data(DataPart::Samples, same)[DataHeader::HEADER_BYTES..].to_vec();
    let values = &data(DataPart::Values, same)[DataHeader::HEADER_BYTES..];
    let values = floats(values);
    let how = squares.hyperparameters;
    let draw = Draw {
        seed: 5,
        client: CLIENT.0,
        round: 1,
    };
    let mut training = Training::new(squares.model, how, 12, 1, draw).unwrap();
    let workspace = squares.model.workspace_len::<f32>(12, &how, 1).total();
    let mut memory = Memory {
        parameters: &mut expected,
        workspace: &mut vec![0.0; workspace],
        order: &mut [0; 12],
        samples: &samples,
        targets: Targets::Values(&values),
        table: &ValueTable::new(0.25),
        non_zero: None,
    };
    assert_eq!(training.advance(&mut memory, 10_000), Ok(Progress::Done));

    for block in [1, BLOCK_FAST] {
        let mut arena = vec![u64::MAX; 2000];
        let mut client = Client::with_block(&mut arena, block);
        provision_with(&mut client, DataPart::Values, 7);
        feed(&mut client, Kind::Start, &begun, 100).unwrap();
        while client.train(3).unwrap() == Progress::Working {}
        let needs = Needs::of_share(12, 6).with_values(3).with_task(&squares);
        assert_eq!(client.arena_peak_bytes(), needs.total_bytes());
        let (header, payload) = client.update(DeviceMetrics::default()).unwrap();
        let metrics = UpdateHeader::decode(header.as_slice()).unwrap().metrics;
        assert!(metrics.loss_last_epoch < metrics.loss_first_epoch);
        assert_eq!(floats(payload), expected);
    }
}

#[test]
fn values_that_are_none_or_do_not_fit_are_refused() {
    let values = |which: usize, value: f32| {
        data(DataPart::Values, |_, payload| {
            payload[which * 4..][..4].copy_from_slice(&value.to_le_bytes());
        })
    };
    let with_samples = |client: &mut Client<'_>| {
        feed(client, Kind::Assignment, &assignment(), 99).unwrap();
        feed(client, Kind::Samples, &data(DataPart::Samples, same), 99).unwrap();
    };
    let mut arena = [0u64; 200];
    let mut client = Client::new(&mut arena);
    with_samples(&mut client);
    let refusal = feed(&mut client, Kind::Labels, &values(16, f32::NAN), 99).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "the target of sample 5 is not a finite number"
    );
    // Labels after all: the share takes no more room than they do.
    feed(&mut client, Kind::Labels, &data(DataPart::Labels, same), 99).unwrap();
    assert_eq!(client.samples().len(), 72);

    // The samples and labels fit, the values do not.
    let mut arena = [0u64; 15];
    let mut client = Client::new(&mut arena);
    with_samples(&mut client);
    let refusal = feed(&mut client, Kind::Labels, &values(0, 1.0), 99).unwrap_err();
    assert_eq!(refusal.to_string(), "does not fit: needs 240 bytes of 120");
    feed(&mut client, Kind::Labels, &data(DataPart::Labels, same), 99).unwrap();
}

#[test]
fn an_update_can_be_falsified_and_given_up() {
    let mut arena = [0u64; 200];
    let mut client = Client::new(&mut arena);
    provision(&mut client, 1000);
    feed(&mut client, Kind::Start, &start(|_, _| {}), 1000).unwrap();
    // Not before there is one.
    client.tamper(Tamper::Nan);
    while client.train(1000).unwrap() == Progress::Working {}
    let payload = |client: &Client<'_>| {
        let (header, payload) = client.update(DeviceMetrics::default()).unwrap();
        let header = UpdateHeader::decode(header.as_slice()).unwrap();
        assert_eq!(Checksum::of(payload), header.payload_crc32);
        payload.to_vec()
    };
    let honest = payload(&client);
    assert_eq!(honest, round_trip(1000, 1000)[UpdateHeader::HEADER_BYTES..]);
    client.tamper(Tamper::Negate);
    assert_ne!(payload(&client), honest);
    client.tamper(Tamper::Negate);
    assert_eq!(payload(&client), honest);
    client.tamper(Tamper::Nan);
    let (values, _) = honest.as_chunks::<4>();
    assert_eq!(payload(&client), [0, 0, 192, 127].repeat(values.len()));
    client.give_up();
    assert_eq!(client.state(), State::Ready);
    assert!(client.update(DeviceMetrics::default()).is_none());
    feed(&mut client, Kind::Start, &start(|_, _| {}), 1000).unwrap();
    client.train(1).unwrap();
    client.give_up();
    assert_eq!(client.state(), State::Ready);
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
            (Kind::Start, start(|_, _| {})),
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
        start_of(&task_of(7, 4), |_, weights| weights.resize(47, 0.0)),
        "inputs: the client's data have 6, the message 7",
    );
    check(
        &mut client,
        Kind::Start,
        start_of(&task_of(6, 100), |_, weights| weights.resize(1003, 0.0)),
        "does not fit: needs 7352 bytes of 1600",
    );
    check(
        &mut client,
        Kind::Start,
        start(|_, weights| weights.truncate(42)),
        "payload of 168 bytes, the model has 172",
    );
    check(
        &mut client,
        Kind::Start,
        start(|header, _| header.encoding = Encoding::Fixed32),
        "the parameters are not encoded as the task says",
    );
    let mut of_batches_of_0 = task();
    of_batches_of_0.hyperparameters.batch_size = 0;
    check(
        &mut client,
        Kind::Start,
        start_of(&of_batches_of_0, |_, _| {}),
        "byte 8 of the task: impossible value of batch size",
    );
    feed(&mut client, Kind::Start, &start(|_, _| {}), 99).unwrap();
    assert_eq!(client.receive(Kind::Start), Err(Refusal::Busy));
}

/// The first layer is frozen: it comes once, stays as it is, and is not sent.
#[test]
fn frozen_parameters_travel_once() {
    let mut task = task();
    task.model = task.model.freeze(1).unwrap();
    let mut arena = [0u64; 200];
    let mut client = Client::new(&mut arena);
    provision(&mut client, 99);
    let trained_only = start_of(&task, |_, weights| {
        weights.drain(..28);
    });
    let refusal = feed(&mut client, Kind::Start, &trained_only, 99).unwrap_err();
    assert_eq!(refusal, Refusal::FrozenMissing);
    let round = |client: &mut Client<'_>, message: &[u8]| {
        feed(client, Kind::Start, message, 99).unwrap();
        while client.train(100).unwrap() == Progress::Working {}
        let (_, payload) = client.update(DeviceMetrics::default()).unwrap();
        let payload = payload.to_vec();
        client.reported();
        payload
    };
    let first = round(&mut client, &start_of(&task, |_, _| {}));
    assert_eq!(first.len(), task.trained_bytes());
    assert_eq!(round(&mut client, &trained_only), first);
    let message = start_of(&task, |_, _| {});
    assert_ne!(first, &message[message.len() - first.len()..]);
}

/// A training that diverges ends in an update that says so.
#[test]
fn a_training_that_diverges_is_reported() {
    let mut task = task();
    task.hyperparameters.learning_rate = 1e30;
    let mut arena = [0u64; 200];
    let mut client = Client::new(&mut arena);
    provision(&mut client, 99);
    feed(&mut client, Kind::Start, &start_of(&task, |_, _| {}), 99).unwrap();
    while client.train(100).unwrap() == Progress::Working {}
    let (header, _) = client.update(DeviceMetrics::default()).unwrap();
    let header = UpdateHeader::decode(header.as_slice()).unwrap();
    assert!(!header.metrics.loss_last_epoch.is_finite());
}

/// The memory of a client that has its share, and its record.
fn left_behind(part: DataPart) -> ([u64; 200], ShareRecord) {
    let mut arena = [u64::MAX; 200];
    let mut client = Client::new(&mut arena);
    assert_eq!(client.record(), None);
    provision_with(&mut client, part, 7);
    let record = client.record().unwrap();
    // A training changes neither.
    if part == DataPart::Labels {
        feed(&mut client, Kind::Start, &start(|_, _| {}), 7).unwrap();
        while client.train(3).unwrap() == Progress::Working {}
        assert_eq!(client.record(), Some(record));
    }
    (arena, record)
}

fn payload_crc32(message: &[u8]) -> u32 {
    Checksum::of(&message[DataHeader::HEADER_BYTES..])
}

#[test]
fn a_client_knows_its_share_again() {
    for part in [DataPart::Labels, DataPart::Values] {
        let (mut arena, record) = left_behind(part);
        let [samples, targets] = [DataPart::Samples, part].map(|part| data(part, same));
        assert_eq!(record.samples.payload_crc32, payload_crc32(&samples));
        assert_eq!(record.targets.payload_crc32, payload_crc32(&targets));
        let mut client = Client::new(&mut arena);
        assert!(client.recall(&record));
        // It does not know who it is.
        assert_eq!(client.recalled(), None);
        assert_eq!(client.keep(), Err(Refusal::NotReady));
        assert_eq!(
            (client.next_request(), client.record()),
            (Some(Request::Id), None)
        );
        feed(&mut client, Kind::Assignment, &assignment(), 7).unwrap();
        assert_eq!(client.recalled(), Some(record.samples.tag()));
        // A connection that fails changes nothing.
        client.receive(Kind::Samples).unwrap();
        client.receive_bytes(&samples[..20]).unwrap();
        client.abandon();
        assert_eq!(client.recalled(), Some(record.samples.tag()));
        client.receive(Kind::Samples).unwrap();
        client.keep().unwrap();
        assert_eq!(client.next_request(), Some(Request::TrainingLabels(CLIENT)));
        assert_eq!(client.recalled(), Some(record.targets.tag()));
        client.keep().unwrap();
        assert_eq!(
            (client.state(), client.sample_count()),
            (State::Ready, SAMPLE_COUNT)
        );
        assert_eq!(client.samples(), &samples[DataHeader::HEADER_BYTES..]);
        assert_eq!((client.record(), client.recalled()), (Some(record), None));
        assert_eq!(client.keep(), Err(Refusal::NotReady));
        assert!(!client.recall(&record), "too late");
    }
}

#[test]
fn what_it_trains_is_the_same() {
    let (mut arena, record) = left_behind(DataPart::Labels);
    let mut client = Client::new(&mut arena);
    assert!(client.recall(&record));
    feed(&mut client, Kind::Assignment, &assignment(), 9).unwrap();
    client.keep().unwrap();
    client.keep().unwrap();
    feed(&mut client, Kind::Start, &start(|_, _| {}), 9).unwrap();
    while client.train(4).unwrap() == Progress::Working {}
    let (header, payload) = client.update(DeviceMetrics::default()).unwrap();
    assert_eq!(message(header.as_slice(), payload), round_trip(9, 4));
}

#[test]
fn what_the_coordinator_sends_anew_takes_the_place_of_the_share() {
    // Other samples: then the labels come, too.
    let (mut arena, record) = left_behind(DataPart::Labels);
    let mut client = Client::new(&mut arena);
    assert!(client.recall(&record));
    feed(&mut client, Kind::Assignment, &assignment(), 7).unwrap();
    let samples = data(DataPart::Samples, |_, payload| payload[3] = 0);
    feed(&mut client, Kind::Samples, &samples, 7).unwrap();
    assert_eq!(client.recalled(), None);
    assert_eq!(client.keep(), Err(Refusal::NotReady));
    feed(&mut client, Kind::Labels, &data(DataPart::Labels, same), 7).unwrap();
    let other = client.record().unwrap();
    assert_ne!(other, record);
    assert_eq!(other.samples.payload_crc32, payload_crc32(&samples));

    // Other labels, here values, alone.
    let (mut arena, record) = left_behind(DataPart::Labels);
    let mut client = Client::new(&mut arena);
    assert!(client.recall(&record));
    feed(&mut client, Kind::Assignment, &assignment(), 7).unwrap();
    client.keep().unwrap();
    feed(&mut client, Kind::Labels, &data(DataPart::Values, same), 7).unwrap();
    let other = client.record().unwrap();
    assert_eq!(other.samples, record.samples);
    assert_eq!(other.targets.part, DataPart::Values);

    // Samples that were cut off have overwritten what was there.
    let (mut arena, record) = left_behind(DataPart::Labels);
    let mut client = Client::new(&mut arena);
    assert!(client.recall(&record));
    feed(&mut client, Kind::Assignment, &assignment(), 7).unwrap();
    client.receive(Kind::Samples).unwrap();
    client.receive_bytes(&samples[..50]).unwrap();
    client.abandon();
    assert_eq!(client.recalled(), None);
    assert!(!Client::new(&mut arena).recall(&record));
}

#[test]
fn a_share_of_another_client_is_not_kept() {
    let (mut arena, mut record) = left_behind(DataPart::Labels);
    record.samples.client = ClientId(9);
    record.targets.client = ClientId(9);
    let mut client = Client::new(&mut arena);
    assert!(client.recall(&record));
    feed(&mut client, Kind::Assignment, &assignment(), 7).unwrap();
    assert_eq!(client.recalled(), None);
    feed(
        &mut client,
        Kind::Samples,
        &data(DataPart::Samples, same),
        7,
    )
    .unwrap();
    feed(&mut client, Kind::Labels, &data(DataPart::Labels, same), 7).unwrap();
    assert_eq!(client.record(), Some(left_behind(DataPart::Labels).1));
}

/// Whether a client of this memory knows the share again; if not, it must be as
/// one that has never had any.
fn knows(arena: &mut [u64], record: &ShareRecord) -> bool {
    let mut client = Client::new(arena);
    let knows = client.recall(record);
    if !knows {
        assert_eq!((client.sample_count(), client.samples().len()), (0, 0));
        feed(&mut client, Kind::Assignment, &assignment(), 7).unwrap();
        assert_eq!(
            (client.recalled(), client.keep()),
            (None, Err(Refusal::NotReady))
        );
    }
    knows
}

#[test]
fn a_share_that_is_not_whole_is_not_known() {
    for part in [DataPart::Labels, DataPart::Values] {
        let (arena, record) = left_behind(part);
        let samples_bytes = (SAMPLE_COUNT * INPUT_COUNT) as usize;
        let targets_bytes = record.targets.payload_bytes().unwrap() as usize;
        // The samples end where a region does.
        assert_eq!(samples_bytes % 8, 0);
        for place in 0..samples_bytes + targets_bytes {
            let mut damaged = arena;
            bytemuck::cast_slice_mut::<u64, u8>(&mut damaged)[place] ^= 0x10;
            assert!(!knows(&mut damaged, &record), "{place}");
        }
        let needed = (samples_bytes + targets_bytes).div_ceil(8) + 3;
        for words in 0..=needed {
            let mut small = arena[..words].to_vec();
            assert_eq!(
                knows(&mut small, &record),
                words == needed,
                "{words} of {needed}"
            );
        }
        assert!(!knows(&mut [0; 200], &record));
    }
}

#[test]
fn a_record_of_another_share_is_not_believed() {
    let (arena, record) = left_behind(DataPart::Labels);
    let with = |change: fn(&mut DataHeader)| {
        let mut record = record;
        change(&mut record.samples);
        change(&mut record.targets);
        record
    };
    let others: [fn(&mut DataHeader); 6] = [
        |header| header.sample_count = 11,
        |header| header.sample_count = u32::MAX,
        |header| header.sample_count = 70_000,
        |header| header.input_count = u32::MAX,
        |header| header.payload_crc32 ^= 1,
        // Its labels are larger.
        |header| header.class_count = 2,
    ];
    for (index, change) in others.into_iter().enumerate() {
        assert!(!knows(&mut arena.clone(), &with(change)), "{index}");
    }
}
