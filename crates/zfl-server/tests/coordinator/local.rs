//! Clients that are played in this process, alone and beside called ones.

use std::ops::Range;
use std::sync::Arc;

use zfl_client::{Client, Refusal};
use zfl_nn::Progress;
use zfl_proto::ClientId;
use zfl_proto::message::{Assignment, Checksum, DataHeader, DataPart, DeviceMetrics, Kind};
use zfl_server::{
    CoordinatorError, Event, LocalCall, LocalClients, LocalPart, LocalRound, Options, Schedule,
    Shares,
};

use crate::harness::Served;
use crate::problem::{CLASS_COUNT, INPUT_COUNT, Patterns, options, plain_run, test_set};

/// What becomes of a call.
type Answer = fn(&Patterns, LocalCall);

/// Plays each client of a round on a thread of its own.
struct Threads {
    shares: Arc<Patterns>,
    answer: Answer,
}

impl LocalClients for Threads {
    fn play(&self, round: Arc<LocalRound>) {
        while let Some(call) = round.next_call() {
            let (shares, answer) = (Arc::clone(&self.shares), self.answer);
            std::thread::spawn(move || answer(&shares, call));
        }
    }
}

/// The real client, made anew.
fn train(shares: &Patterns, call: LocalCall) {
    let mut arena = vec![0u64; 4096];
    let mut client = Client::new(&mut arena);
    provision(shares, &mut client, call.client());
    let start = [call.header(), call.payload()].concat();
    if let Err(refusal) = feed(&mut client, Kind::Start, &start) {
        return call.refuse(refusal.to_string());
    }
    while client.train(50).unwrap() == Progress::Working {}
    let (header, payload) = client.update(DeviceMetrics::default()).unwrap();
    call.receive(header.as_slice(), payload).answer();
}

fn provision(shares: &Patterns, client: &mut Client<'_>, id: u32) {
    let assignment = Assignment {
        client: ClientId(id),
        sample_count: shares.sample_count(id),
    };
    feed(client, Kind::Assignment, assignment.encode().as_slice()).unwrap();
    for (kind, part, payload) in [
        (Kind::Samples, DataPart::Samples, shares.samples(id)),
        (
            Kind::Labels,
            DataPart::Labels,
            shares.targets(id).payload().1.into_owned(),
        ),
    ] {
        let header = DataHeader {
            part,
            client: ClientId(id),
            sample_count: shares.sample_count(id),
            input_count: INPUT_COUNT,
            class_count: CLASS_COUNT,
            value_scale: shares.value_scale(),
            payload_crc32: Checksum::of(&payload),
        };
        let message = [header.encode().as_slice(), &payload].concat();
        feed(client, kind, &message).unwrap();
    }
}

fn feed(client: &mut Client<'_>, kind: Kind, bytes: &[u8]) -> Result<(), Refusal> {
    client.receive(kind)?;
    client.receive_bytes(bytes)?;
    client.receive_end()
}

/// Plays the clients of `numbers` here, and the others over HTTP.
async fn begin(options: &Options, numbers: &[Range<u32>], answer: Answer) -> Served {
    let client_count = options.plan.client_count;
    let shares = Patterns::of_clients(client_count);
    let local = LocalPart {
        numbers: numbers.to_vec(),
        clients: Box::new(Threads {
            shares: Arc::new(shares.clone()),
            answer,
        }),
    };
    let mut served = Served::with_local(options.clone(), shares, test_set(), Some(local)).await;
    for client in (0..client_count).filter(|id| !numbers.iter().any(|local| local.contains(id))) {
        served.pull(client);
    }
    served.run();
    served
}

async fn run(options: &Options, numbers: &[Range<u32>]) -> Served {
    let mut served = begin(options, numbers, train).await;
    served.end().await.unwrap();
    served
}

#[tokio::test]
#[expect(clippy::single_range_in_vec_init, reason = "a list of ranges")]
async fn local_clients_give_the_bits_of_called_ones() {
    let options = options(5);
    let reference = plain_run(&options);
    for numbers in [&[0..5][..], &[0..2, 3..4], &[4..5]] {
        let served = run(&options, numbers).await;
        assert_eq!(served.course(), reference, "{numbers:?}");
        let records = served.records();
        for client in &records[3].clients {
            let is_local = numbers.iter().any(|local| local.contains(&client.client));
            assert_eq!(client.is_local, is_local, "{client:?}");
            assert_eq!(client.board, if is_local { "native" } else { "" });
            // The same messages, so the same bytes.
            let of_first = &records[0].clients[0];
            assert_eq!(client.bytes_down, of_first.bytes_down);
            assert_eq!(client.bytes_up, of_first.bytes_up);
        }
    }
}

#[tokio::test]
async fn a_part_of_many_is_selected() {
    let mut options = options(9);
    options.plan.clients_per_round = 3;
    options.plan.quorum = 3;
    let served = run(&options, &[0..3, 5..8]).await;
    assert_eq!(served.course(), plain_run(&options));
}

#[tokio::test]
#[expect(clippy::single_range_in_vec_init, reason = "a list of ranges")]
async fn a_schedule_reaches_the_clients() {
    let mut options = options(3);
    let constant = plain_run(&options);
    options.plan.schedule = Schedule::Cosine {
        minimum: 0.0,
        rounds: 4,
    };
    let scheduled = plain_run(&options);
    assert_eq!(scheduled.hashes[..2], constant.hashes[..2]);
    assert_ne!(scheduled.hashes[2], constant.hashes[2]);
    let served = run(&options, &[0..2]).await;
    assert_eq!(served.course(), scheduled);
    // With a rate of 0 the clients agree on the model that they were given.
    assert_eq!(scheduled.accuracies[4], scheduled.accuracies[3]);
}

#[tokio::test]
#[expect(clippy::single_range_in_vec_init, reason = "a list of ranges")]
async fn a_panic_ends_the_run() {
    let options = options(3);
    let mut served = begin(&options, &[0..2], |shares, call| {
        assert!(call.client() != 1, "as the test wants it");
        train(shares, call);
    })
    .await;
    let error = served.end().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "round 1: zfl failed to play client 1, which is a fault of zfl"
    );
}

#[tokio::test]
#[expect(clippy::single_range_in_vec_init, reason = "a list of ranges")]
async fn a_refusal_is_told() {
    let mut options = options(3);
    options.plan.quorum = 2;
    let mut served = begin(&options, &[0..3], |shares, call| match call.client() {
        1 => call.refuse("does not fit: needs 9 bytes of 8".to_owned()),
        _ => train(shares, call),
    })
    .await;
    served.end().await.unwrap();
    let rejected = (1, "rejected", "does not fit: needs 9 bytes of 8".to_owned());
    assert_eq!(served.outcomes(4)[1], rejected);
}

#[tokio::test]
#[expect(clippy::single_range_in_vec_init, reason = "a list of ranges")]
async fn a_divergence_ends_the_run() {
    let mut options = options(3);
    options.plan.task.hyperparameters.learning_rate = 1e30;
    for numbers in [&[0..3][..], &[0..1, 2..3]] {
        let mut served = begin(&options, numbers, train).await;
        let error = served.end().await.unwrap_err();
        let CoordinatorError::Diverged { round: 1, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(
            error.to_string(),
            "round 1: the model diverged: the update of client 0 holds a number that is not \
             finite (learning rate 1e30 is probably too high)"
        );
        let records = served.history.iter().find_map(|event| match event {
            Event::RoundFailed { record, .. } => Some(&record.clients),
            _ => None,
        });
        for client in records.unwrap() {
            assert_eq!(client.outcome.name(), "rejected", "{client:?}");
            let detail = "not a finite number";
            assert!(client.detail.ends_with(detail), "{client:?}");
        }
    }
}

/// However many there are, each client has its time: who is late does not depend on
/// how many wait for a thread.
#[tokio::test(start_paused = true)]
#[expect(clippy::single_range_in_vec_init, reason = "a list of ranges")]
async fn local_clients_have_a_deadline_for_each_turn() {
    let mut options = options(5);
    options.threads = 2;
    options.deadlines.round = std::time::Duration::from_secs(10);
    let began = tokio::time::Instant::now();
    // Nobody answers; dropped, a call would end the run at once.
    let mut served = begin(&options, &[0..5], |_, call| std::mem::forget(call)).await;
    let error = served.end().await.unwrap_err().to_string();
    assert!(
        error.starts_with("round 1: 0 of 5 clients sent an update"),
        "{error}"
    );
    assert_eq!(began.elapsed().as_secs(), 30);
}

/// One thread plays one client after another: not the same ones are always
/// the first.
#[tokio::test]
async fn whoever_is_drawn_first_is_played_first() {
    let mut options = options(6);
    options.plan.clients_per_round = 1;
    options.plan.quorum = 1;
    options.plan.policy.over_selection = 5.0;
    options.plan.rounds = 12;
    let clients = OneByOne(Arc::new(Patterns::of_clients(6)));
    let local = LocalPart {
        numbers: vec![0..3, 3..6],
        clients: Box::new(clients),
    };
    let shares = Patterns::of_clients(6);
    let mut served = Served::with_local(options, shares, test_set(), Some(local)).await;
    served.run();
    served.end().await.unwrap();
    let mut first = std::collections::BTreeSet::new();
    for round in 1..=12 {
        let outcomes = served.outcomes(round);
        assert_eq!(outcomes.len(), 6);
        let ok: Vec<u32> = outcomes
            .iter()
            .filter(|o| o.1 == "ok")
            .map(|o| o.0)
            .collect();
        assert_eq!(ok.len(), 1, "{outcomes:?}");
        first.extend(ok);
        let surplus = outcomes.iter().filter(|o| o.1 == "surplus").count();
        assert_eq!(surplus, 5, "{outcomes:?}");
    }
    assert!(first.len() >= 3, "{first:?}");
}

/// Plays clients on one thread.
struct OneByOne(Arc<Patterns>);

impl LocalClients for OneByOne {
    fn play(&self, round: Arc<LocalRound>) {
        let shares = Arc::clone(&self.0);
        std::thread::spawn(move || {
            while let Some(call) = round.next_call() {
                train(&shares, call);
            }
        });
    }
}

/// All answer before the coordinator looks.
#[tokio::test]
async fn not_one_update_more_than_is_needed() {
    let mut options = options(6);
    options.plan.clients_per_round = 2;
    options.plan.quorum = 2;
    options.plan.policy.over_selection = 2.0;
    options.plan.rounds = 3;
    let clients = AllAtOnce(Patterns::of_clients(6));
    let local = LocalPart {
        numbers: vec![0..3, 3..6],
        clients: Box::new(clients),
    };
    let shares = Patterns::of_clients(6);
    let mut served = Served::with_local(options, shares, test_set(), Some(local)).await;
    served.run();
    served.end().await.unwrap();
    let reason = "too late: round 1 has the updates that it needs";
    let outcomes = served.outcomes(1);
    let surplus: Vec<_> = outcomes.iter().filter(|o| o.1 == "surplus").collect();
    assert_eq!(surplus.len(), 4, "{outcomes:?}");
    assert!(surplus.iter().all(|o| o.2 == reason), "{outcomes:?}");
    assert_eq!(served.coordinator.refusals()["stale"], 12);
}

/// Has played all clients when it has begun.
struct AllAtOnce(Patterns);

impl LocalClients for AllAtOnce {
    fn play(&self, round: Arc<LocalRound>) {
        while let Some(call) = round.next_call() {
            train(&self.0, call);
        }
    }
}
