//! A client that is fed arbitrary messages in arbitrary pieces: what it
//! refuses changes nothing, and after all of it it still learns.

use zfl_client::{Client, Refusal, Request, State};
use zfl_nn::{Activation, Format, Hyperparameters, Loss, Model, Progress, Task};
use zfl_proto::message::{
    Assignment, Checksum, DataHeader, DataPart, DeviceMetrics, Encoding, Kind, PREFIX_BYTES,
    Prefix, StartHeader, UpdateHeader,
};
use zfl_proto::{ClientId, RoundIndex};

use crate::input::Input;

const ARENA_BYTES: usize = 8 << 10;
/// Calls of `train` for an input, of which each is bounded.
const TRAIN_CALLS_MAX: usize = 32;
/// Units of work of a call.
const UNITS_MAX: usize = 64;

const KINDS: [Kind; 5] = [
    Kind::Assignment,
    Kind::Samples,
    Kind::Labels,
    Kind::Start,
    Kind::Update,
];

/// Each step is a byte that says what is done and what that takes.
pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut arena = vec![0_u64; ARENA_BYTES / size_of::<u64>()];
    let block = if input.byte() & 1 == 0 { 1 } else { 16 };
    let mut client = Client::with_block(&mut arena, block);
    let mut classes = 0;
    let mut train_calls = 0;
    while !input.is_empty() {
        match input.byte() % 8 {
            0..=3 => {
                if let Some(count) = message(&mut client, &mut input) {
                    classes = count;
                }
            }
            4 => claims(&mut client, &mut input),
            5 if train_calls < TRAIN_CALLS_MAX => {
                train_calls += 1;
                train(&mut client);
            }
            6 => update(&client),
            7 => client.reported(),
            _ => client.abandon(),
        }
        is_consistent(&mut client);
    }
    is_usable(&mut client, classes);
}

/// What must be so at any time.
fn is_consistent(client: &mut Client<'_>) {
    let (state, id) = (client.state(), client.id());
    assert_eq!(id.is_none(), state == State::Unassigned);
    let wants = match client.next_request() {
        Some(Request::Id) => state == State::Unassigned,
        Some(Request::TrainingData(named) | Request::TrainingLabels(named)) => {
            state == State::Assigned && Some(named) == id
        }
        Some(Request::Results(named)) => state == State::Reporting && Some(named) == id,
        None => matches!(state, State::Ready | State::Receiving | State::Training),
    };
    assert!(wants, "{state:?} asks {:?}", client.next_request());
    assert!(client.arena_peak_bytes() <= client.arena_bytes());
    assert_eq!(
        client.update(DeviceMetrics::default()).is_some(),
        state == State::Reporting
    );
    let samples = client.sample_count() as usize;
    let bytes = client.samples().len();
    assert!(bytes == 0 || bytes.is_multiple_of(samples));
}

/// A message of some kind in pieces; with a checksum that fits it where the
/// input says so. The classes of labels that were taken.
fn message(client: &mut Client<'_>, input: &mut Input<'_>) -> Option<u32> {
    let how = input.byte();
    let kind = KINDS[usize::from(how & 7) % KINDS.len()];
    let piece_bytes = usize::from(input.byte()) + 1;
    let mut bytes = input.block().to_vec();
    if how & 8 == 0 {
        mend(&mut bytes);
    }
    let before = (client.state(), client.id(), client.round());
    let share = (client.samples().to_vec(), client.sample_count());
    let outcome = receive(client, kind, &bytes, piece_bytes, how & 16 == 0);
    match outcome {
        Ok(()) => {
            let after = match kind {
                Kind::Assignment | Kind::Samples => State::Assigned,
                Kind::Labels => State::Ready,
                Kind::Start => State::Training,
                Kind::Update => panic!("a client took an update"),
            };
            assert_eq!(client.state(), after);
            let prefix = Prefix::decode(&bytes).expect("a message that was taken");
            assert_eq!(prefix.kind, kind);
            assert_eq!(client.id(), Some(prefix.client));
            // Its payload alone decides whether it is whole.
            assert_eq!(
                Checksum::of(&bytes[prefix.header_bytes..]),
                prefix.payload_crc32
            );
            if kind == Kind::Start {
                let header = StartHeader::decode(&bytes).expect("a start that was taken");
                assert_eq!(client.round(), header.round);
            }
            let labels = DataHeader::decode(&bytes, DataPart::Labels).ok()?;
            assert_eq!(client.sample_count(), labels.sample_count);
            Some(labels.class_count)
        }
        Err(refusal) => {
            assert!(!refusal.to_string().is_empty());
            // One that was arriving is forgotten with that which is refused.
            let state = match before.0 {
                State::Receiving if refusal != Refusal::Busy => State::Ready,
                state => state,
            };
            assert_eq!(
                (client.state(), client.id(), client.round()),
                (state, before.1, before.2)
            );
            assert_eq!(client.samples(), share.0);
            if state != State::Assigned {
                assert_eq!(client.sample_count(), share.1);
            }
            None
        }
    }
}

/// Writes the length and the checksum that fit the payload into a header that
/// would be taken for one.
fn mend(bytes: &mut [u8]) {
    let Ok(prefix) = Prefix::decode(bytes) else {
        return;
    };
    let Some(payload) = bytes.get(prefix.header_bytes..) else {
        return;
    };
    let checksum = Checksum::of(payload).to_le_bytes();
    bytes[PREFIX_BYTES - 4..PREFIX_BYTES].copy_from_slice(&checksum);
}

fn receive(
    client: &mut Client<'_>,
    kind: Kind,
    bytes: &[u8],
    piece_bytes: usize,
    copied: bool,
) -> Result<(), Refusal> {
    client.receive(kind)?;
    if copied {
        for piece in bytes.chunks(piece_bytes) {
            client.receive_bytes(piece)?;
        }
    } else {
        // In place, as the firmware does.
        let mut rest = bytes;
        while !rest.is_empty() {
            let buffer = client.receive_buffer();
            let count = buffer.len().min(rest.len()).min(piece_bytes);
            if count == 0 {
                client.abandon();
                return Err(Refusal::TrailingBytes);
            }
            buffer[..count].copy_from_slice(&rest[..count]);
            client.received(count)?;
            rest = &rest[count..];
        }
    }
    client.receive_end()
}

/// A carrier that says more than it did.
fn claims(client: &mut Client<'_>, input: &mut Input<'_>) {
    let before = client.state();
    let count = usize::from(input.word());
    let outcome = client.received(count);
    if before != State::Receiving {
        assert_eq!(client.state(), before);
    }
    // No message begun here is over when the step is: `receive` ends each.
    assert_eq!(outcome.is_ok(), count == 0);
    assert!(client.receive_end().is_err());
}

fn train(client: &mut Client<'_>) {
    let before = client.state();
    match client.train(UNITS_MAX) {
        Ok(Progress::Working) => assert_eq!(client.state(), State::Training),
        Ok(Progress::Done) if before == State::Training => {
            assert_eq!(client.state(), State::Reporting);
        }
        Ok(Progress::Done) => assert_eq!(client.state(), before),
        Err(refusal) => {
            assert!(!refusal.to_string().is_empty());
            assert_eq!((before, client.state()), (State::Training, State::Ready));
        }
    }
}

/// An update is a message that the coordinator reads.
fn update(client: &Client<'_>) {
    let Some((header, payload)) = client.update(DeviceMetrics::default()) else {
        return;
    };
    let header = UpdateHeader::decode(header.as_slice()).expect("an update");
    assert_eq!(Some(header.client), client.id());
    assert_eq!(header.round, client.round());
    assert_eq!(header.sample_count, client.sample_count());
    assert_eq!(header.payload_bytes as usize, payload.len());
    assert_eq!(header.payload_crc32, Checksum::of(payload));
}

/// Plays the client to the end of a round, from wherever it is.
fn is_usable(client: &mut Client<'_>, classes: u32) {
    let mut classes = classes;
    client.abandon();
    if client.state() == State::Training {
        // As long as its task says, which may be longer than there is time.
        return;
    }
    client.reported();
    if client.state() == State::Unassigned {
        let message = Assignment {
            client: ClientId(7),
            sample_count: 4,
        };
        taken(client, Kind::Assignment, message.encode().as_slice());
    }
    let id = client.id().expect("an assigned client");
    for part in [DataPart::Samples, DataPart::Labels] {
        let (kind, wanted) = match part {
            DataPart::Samples => (Kind::Samples, Request::TrainingData(id)),
            DataPart::Labels | DataPart::Values => (Kind::Labels, Request::TrainingLabels(id)),
        };
        if client.next_request() != Some(wanted) {
            continue;
        }
        // Labels belong to the samples that are there.
        let (samples, inputs) = match part {
            DataPart::Samples => (4, 2),
            DataPart::Labels | DataPart::Values => {
                let samples = client.sample_count();
                (samples, client.samples().len() as u32 / samples)
            }
        };
        if part == DataPart::Samples {
            classes = 2;
        }
        for class_count in if classes > 0 {
            classes..=classes
        } else {
            1..=256
        } {
            let payload = vec![
                0;
                match part {
                    DataPart::Samples => (samples * inputs) as usize,
                    DataPart::Labels | DataPart::Values => samples as usize,
                }
            ];
            let header = DataHeader {
                part,
                client: id,
                sample_count: samples,
                input_count: inputs,
                class_count,
                value_scale: 0.5,
                payload_crc32: Checksum::of(&payload),
            };
            let message = [header.encode().as_slice(), &payload].concat();
            if receive(client, kind, &message, usize::MAX, true).is_ok() {
                classes = class_count;
                break;
            }
        }
    }
    assert_eq!(client.state(), State::Ready);
    round(client, classes);
}

fn round(client: &mut Client<'_>, classes: u32) {
    let samples = client.sample_count();
    let inputs = client.samples().len() / samples as usize;
    let model = Model::mlp(
        inputs,
        &[classes as usize],
        Activation::Identity,
        Loss::CrossEntropy,
    );
    let Ok(model) = model else { return };
    let task = Task {
        model,
        hyperparameters: Hyperparameters::sgd(1, 4, 0.0),
        format: Format::Fixed8,
    };
    let payload = vec![0; task.parameter_bytes()];
    let header = StartHeader {
        client: client.id().expect("a ready client"),
        round: RoundIndex(u32::MAX),
        seed: 1,
        task: task.encode().as_slice(),
        encoding: Encoding::Fixed8,
        payload_bytes: payload.len() as u32,
        payload_crc32: Checksum::of(&payload),
    }
    .encode();
    let message = [header.as_slice(), &payload].concat();
    match receive(client, Kind::Start, &message, usize::MAX, true) {
        Ok(()) => {}
        // Its share leaves no room for it, or has a scale that is refused.
        Err(Refusal::DoesNotFit { .. } | Refusal::Input(_)) => return,
        Err(refusal) => panic!("a round after all: {refusal}"),
    }
    while client.state() == State::Training {
        train(client);
    }
    assert_eq!(client.state(), State::Reporting);
    update(client);
    client.reported();
    assert_eq!(client.state(), State::Ready);
}

fn taken(client: &mut Client<'_>, kind: Kind, message: &[u8]) {
    receive(client, kind, message, usize::MAX, true).unwrap_or_else(|refusal| {
        panic!(
            "a client in state {} refused {kind:?}: {refusal}",
            client.state().name()
        )
    });
}
