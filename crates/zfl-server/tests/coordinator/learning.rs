//! Whole runs, in pull and called mode.

use std::num::NonZeroU32;
use std::sync::Arc;

use serde_json::json;
use zfl_server::{Event, Options};

use crate::harness::{Served, Together, Turn};
use crate::problem::{Course, options, parameter_count, plain_run, share_size};

async fn pull_run(options: Options) -> Served {
    let mut served = Served::new(options.clone()).await;
    for client in 0..options.plan.client_count {
        served.pull(client);
    }
    served.run();
    served.end().await.unwrap();
    served
}

async fn called_run(options: Options) -> Served {
    let mut served = Served::new(options.clone()).await;
    for client in 0..options.plan.client_count {
        assert_eq!(served.device(|_| {}).await, client);
    }
    served.run();
    served.end().await.unwrap();
    served
}

#[tokio::test]
async fn accuracy_rises() {
    let course = pull_run(options(3)).await.course();
    let (first, last) = (course.accuracies[0], course.accuracies[4]);
    assert!(first < 0.5, "{course:?}");
    assert!(last > 0.9, "{course:?}");
}

#[tokio::test]
async fn a_run_ends_with_the_round_that_reaches_its_target() {
    let mut options = options(3);
    let whole = plain_run(&options);
    // Index 0 is the model before training.
    let reached = (1..4)
        .find(|round| whole.accuracies[*round] > whole.accuracies[0])
        .unwrap();
    options.plan.target_accuracy = Some(whole.accuracies[reached]);
    let course = pull_run(options.clone()).await.course();
    assert_eq!(course.accuracies, whole.accuracies[..=reached]);
    assert_eq!(course.hashes, whole.hashes[..=reached]);

    options.plan.target_accuracy = Some(1.5);
    assert_eq!(pull_run(options).await.course(), whole);
}

/// With the trainer alone as the reference, the two modes also equal one
/// another, and a run its repetition.
#[tokio::test]
async fn every_way_to_run_a_seed_ends_with_the_same_bits() {
    let options = options(3);
    let reference = plain_run(&options);
    assert_eq!(pull_run(options.clone()).await.course(), reference);
    assert_eq!(called_run(options).await.course(), reference);
}

/// However many are called at a time, the bits are the same; and never are
/// more at work than that.
#[tokio::test]
async fn the_bound_on_calls_changes_no_bit() {
    let reference = plain_run(&options(7));
    for parallel in [1, 2, 3, 7, 100] {
        let mut options = options(7);
        options.parallel = NonZeroU32::new(parallel);
        let together = Arc::new(Together::default());
        let mut served = Served::new(options).await;
        for _ in 0..7 {
            let together = Arc::clone(&together);
            served.device(|device| device.together = together).await;
        }
        served.run();
        served.end().await.unwrap();
        assert_eq!(served.course(), reference, "{parallel} at a time");
        let most = together.most();
        assert!(
            (1..=parallel as usize).contains(&most),
            "{most} of {parallel}"
        );
    }
}

#[tokio::test]
async fn clients_of_both_modes_play_together() {
    let options = options(3);
    let mut served = Served::new(options.clone()).await;
    assert_eq!(served.device(|_| {}).await, 0);
    served.pull(1);
    served.pull(2);
    served.run();
    served.end().await.unwrap();
    assert_eq!(served.course(), plain_run(&options));
}

#[tokio::test]
async fn another_seed_gives_other_models() {
    let course_of = async |seed| {
        let mut options = options(2);
        options.plan.seed = seed;
        pull_run(options).await.course()
    };
    let (one, again, other) = (course_of(1).await, course_of(1).await, course_of(2).await);
    assert_eq!(one, again);
    for (round, (hash, other)) in one.hashes.iter().zip(&other.hashes).enumerate() {
        assert_ne!(hash, other, "round {round}");
    }
}

#[tokio::test]
async fn the_order_of_arrival_does_not_matter() {
    let options = options(4);
    let reference = plain_run(&options);
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
        let mut served = Served::new(options.clone()).await;
        for (client, turn) in Turn::of_order(&order) {
            served.pull_in_turn(client, turn);
        }
        served.run();
        served.end().await.unwrap();
        let arrived: Vec<u32> = served
            .history
            .iter()
            .filter_map(|event| match event {
                Event::ClientFinished { client, .. } => Some(*client),
                _ => None,
            })
            .collect();
        assert_eq!(arrived, order.repeat(4));
        assert_eq!(served.course(), reference, "{order:?}");
    }
}

/// FedML's clients continue from one another's weights; ours all begin with
/// the global model, and those that are not selected do not matter.
#[tokio::test]
async fn a_part_of_the_clients_is_selected_by_the_seed() {
    let mut options = options(5);
    options.plan.clients_per_round = 2;
    options.plan.quorum = 2;
    options.plan.rounds = 6;
    let served = pull_run(options.clone()).await;
    assert_eq!(served.course(), plain_run(&options));
    let mut seen: Vec<u32> = Vec::new();
    for record in served.records() {
        assert_eq!(record.clients.len(), 2);
        assert_eq!(record.ok_count(), 2);
        seen.extend(record.clients.iter().map(|client| client.client));
    }
    seen.sort_unstable();
    seen.dedup();
    assert!(seen.len() > 2, "only {seen:?} ever took part");
}

#[tokio::test]
async fn the_mean_is_weighted_by_samples() {
    let mut options = options(2);
    options.plan.rounds = 1;
    let mut served = Served::new(options).await;
    let links = [served.link(0), served.link(1)];
    for link in &links {
        link.provision().await;
    }
    served.run();
    // Client 0 left out half of its share, client 1 used all 27 samples.
    for (link, samples, value) in [(&links[0], 10, 0.0), (&links[1], share_size(1), 37.0)] {
        let task = link.task().await;
        assert_eq!(task["round"], 1);
        let parameters = vec![value; parameter_count()];
        let update = json!({"round": 1, "samples": samples, "parameters": parameters});
        let answer = link.post_json(&update).await;
        assert_eq!(answer.text(), r#"{"outcome":"accepted","round":1}"#);
    }
    let parameters = served.end().await.unwrap();
    assert_eq!(*parameters, vec![27.0; parameter_count()]);
}

#[tokio::test]
async fn the_record_says_what_was_sent() {
    let mut options = options(2);
    options.plan.rounds = 1;
    let served = pull_run(options).await;
    let Course { accuracies, hashes } = served.course();
    let [record] = served.records().try_into().unwrap();
    assert_eq!(record.quality.accuracy, Some(accuracies[1]));
    assert_eq!(record.model_sha256, hashes[1]);
    let payload_bytes = parameter_count() as u64 * 4;
    for client in &record.clients {
        assert_eq!(client.sample_count, share_size(client.client));
        assert_eq!(client.bytes_up, 112 + payload_bytes);
        assert_eq!(client.bytes_down, 32 + 44 + 2 * 12 + payload_bytes);
        assert!(client.host_seconds > 0.0);
        let metrics = client.metrics;
        assert!(metrics.loss_last_epoch < metrics.loss_first_epoch);
    }
    assert_eq!(record.bytes_up(), 2 * (112 + payload_bytes));
}
