//! Any experiment reads back as it was written; no text is too strange.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::Strategy;
use zfl_data::ShareSizes;
use zfl_data::table::{Learns, Ranges};

use super::*;

fn any_path() -> impl Strategy<Value = PathBuf> {
    "[^\\x00]{1,20}".prop_map(PathBuf::from)
}

fn any_f32() -> impl Strategy<Value = f32> {
    prop::num::f32::POSITIVE | prop::num::f32::SUBNORMAL
}

fn any_data() -> impl Strategy<Value = Data> {
    let inside = |share: &f64| *share > 0.0 && *share < 1.0;
    prop_oneof![
        (0.0..1.0f64)
            .prop_filter("inside", inside)
            .prop_map(|test_share| Data::Digits { test_share }),
        prop::option::of(any_path()).prop_map(|folder| Data::Mnist { folder }),
        (
            [any_path(), any_path(), any_path(), any_path()],
            any_f32(),
            prop::option::of(2..=256u16)
        )
            .prop_map(
                |([train_images, train_labels, test_images, test_labels], value_scale, classes)| {
                    Data::Idx(IdxData {
                        train_images,
                        train_labels,
                        test_images,
                        test_labels,
                        value_scale: value_scale.abs(),
                        classes,
                    })
                }
            ),
        any_table().prop_map(Data::Csv),
        any_table().prop_map(Data::Parquet),
        any_npz().prop_map(Data::Npz),
    ]
}

fn any_share() -> impl Strategy<Value = f64> {
    (0.0..1.0f64).prop_filter("inside", |share| *share > 0.0)
}

fn any_range() -> impl Strategy<Value = (f64, f64)> {
    (-1e300..1e300f64, -1e300..1e300f64)
        .prop_filter("a range", |(low, high)| low < high)
        .prop_map(|(low, high)| (low + 0.0, high + 0.0))
}

fn any_table() -> impl Strategy<Value = TableData> {
    let name = || any::<String>().prop_filter("a name", |name| !name.is_empty());
    let names = || prop::collection::vec(name(), 1..4);
    let test = prop_oneof![
        any_share().prop_map(TestRows::Share),
        any_path().prop_map(TestRows::File),
    ];
    let inputs = prop_oneof![
        Just((Vec::new(), Vec::new())),
        names().prop_map(|features| (features, Vec::new())),
        names().prop_map(|ignore| (Vec::new(), ignore)),
    ];
    let ranges = (
        prop::option::of(any_range()),
        prop::collection::btree_map(any::<String>(), any_range(), 0..3),
    );
    let shape = prop_oneof![
        Just(Vec::new()),
        prop::collection::vec(1..=4096usize, 2..=3),
    ];
    (
        any_path(),
        test,
        (name(), any::<bool>(), inputs, prop::option::of(name())),
        (shape, ranges),
    )
        .prop_map(
            |(
                file,
                test,
                (label, is_class, (features, ignore), group),
                (shape, (all, columns)),
            )| {
                TableData {
                    file,
                    test,
                    columns: Columns {
                        label,
                        learns: match is_class {
                            true => Learns::Classes,
                            false => Learns::Values,
                        },
                        features,
                        ignore,
                        group,
                        shape,
                        ranges: Ranges { all, columns },
                    },
                }
            },
        )
}

fn any_npz() -> impl Strategy<Value = NpzData> {
    let name = || any::<String>().prop_filter("a name", |name| !name.is_empty());
    let test = prop_oneof![
        any_share().prop_map(|share| (None, share)),
        (name(), name()).prop_map(|both| (Some(both), 0.2)),
    ];
    let range = prop::option::of(any_range());
    (
        any_path(),
        ([name(), name()], any::<bool>()),
        prop::option::of(name()),
        test,
        range,
    )
        .prop_map(
            |(file, ([samples, labels], is_class), groups, (test, test_share), range)| NpzData {
                file,
                arrays: Arrays {
                    samples,
                    labels,
                    learns: match is_class {
                        true => Learns::Classes,
                        false => Learns::Values,
                    },
                    groups,
                    test,
                    range,
                },
                test_share,
            },
        )
}

fn any_deadline() -> impl Strategy<Value = Duration> {
    (1_000_000..=604_800_000_000_000u64).prop_map(Duration::from_nanos)
}

fn any_coordinator(fleet_size: u32) -> impl Strategy<Value = Coordinator> {
    let most = if fleet_size == 0 {
        CLIENTS_MAX
    } else {
        fleet_size
    };
    (
        1..=most,
        any::<prop::sample::Index>(),
        any::<[bool; 2]>(),
        prop::option::of(0.001..=1.0),
        any::<u16>(),
        (0.0..=10.0, 0..=ROUNDS_MAX, 0..=ROUNDS_MAX),
        (0..=STALENESS_ROUNDS_MAX, 0.0..=100.0),
    )
        .prop_map(
            move |(clients, quorum, given, target_accuracy, port, failing, late)| {
                let quorum = quorum.index(clients as usize) as u32 + 1;
                let (over_selection, failed_rounds_max, rest_rounds) = failing;
                let (rounds_max, exponent) = late;
                Coordinator {
                    clients_per_round: (fleet_size > 0 || given[0]).then_some(clients),
                    over_selection,
                    quorum: (fleet_size > 0 || given[1]).then_some(quorum),
                    on_failed_round: match failed_rounds_max {
                        0 => OnFailedRound::End,
                        _ => OnFailedRound::Continue { failed_rounds_max },
                    },
                    rest_rounds,
                    rest_rounds_max: rest_rounds.max(failed_rounds_max),
                    late_updates: match rounds_max {
                        0 => LateUpdates::Drop,
                        _ => LateUpdates::Use {
                            rounds_max,
                            exponent,
                        },
                    },
                    target_accuracy,
                    port,
                }
            },
        )
}

fn any_activation() -> impl Strategy<Value = Activation> {
    prop::sample::select(vec![
        Activation::Relu,
        Activation::LeakyRelu,
        Activation::Tanh,
        Activation::Sigmoid,
    ])
}

fn any_layers() -> impl Strategy<Value = Vec<CnnLayer>> {
    let conv = (
        1..=WIDTH_MAX,
        1..=KERNEL_MAX,
        1..=KERNEL_MAX,
        any::<prop::sample::Index>(),
        any_activation(),
    )
        .prop_map(
            |(filters, kernel, stride, padding, activation)| CnnLayer::Conv {
                filters,
                kernel,
                stride,
                padding: padding.index(kernel.into()) as u8,
                activation,
            },
        );
    let image = prop_oneof![
        conv,
        (2..=POOL_MAX).prop_map(|size| CnnLayer::MaxPool { size }),
        (2..=POOL_MAX).prop_map(|size| CnnLayer::AveragePool { size }),
    ];
    let dense =
        (1..=WIDTH_MAX, any_activation()).prop_map(|(outputs, activation)| CnnLayer::Dense {
            outputs,
            activation,
        });
    (
        prop::collection::vec(image, 1..=9),
        prop::option::of(prop::collection::vec(dense, 0..=5)),
    )
        .prop_map(|(mut layers, dense)| {
            if let Some(dense) = dense {
                layers.push(CnnLayer::Flatten);
                layers.extend(dense);
            }
            layers
        })
}

fn any_model() -> impl Strategy<Value = Model> {
    let hidden = prop::collection::vec(1..=WIDTH_MAX, 0..=HIDDEN_LAYERS_MAX);
    let kind = prop_oneof![
        Just(ModelKind::SoftmaxRegression),
        (hidden, any_activation())
            .prop_map(|(hidden, activation)| ModelKind::Mlp { hidden, activation }),
        any_layers().prop_map(|layers| ModelKind::Cnn { layers }),
    ];
    let initialisation = prop::sample::select(vec![
        Initialisation::Auto,
        Initialisation::He,
        Initialisation::Glorot,
        Initialisation::Zeros,
    ]);
    (
        kind,
        initialisation,
        prop::option::of(any_path()),
        any::<prop::sample::Index>(),
    )
        .prop_map(|(kind, initialisation, initial_weights, frozen)| {
            let mut model = Model {
                kind,
                initialisation,
                initial_weights,
                frozen: Vec::new(),
            };
            let names = model.weighted_layers();
            model.frozen = names[..frozen.index(names.len())].to_vec();
            model
        })
}

/// In steps of 1/65536, so that all are numbers of single precision.
fn any_factor() -> impl Strategy<Value = f32> {
    (1..=65_536u32).prop_map(|part| part as f32 / 65_536.0)
}

fn any_arithmetic() -> impl Strategy<Value = Arithmetic> {
    let bits = [
        WeightBits::Eight,
        WeightBits::Sixteen,
        WeightBits::ThirtyTwo,
    ];
    let roundings = [Rounding::Nearest, Rounding::Stochastic];
    prop_oneof![
        Just(Arithmetic::F32),
        (
            prop::sample::select(bits.to_vec()),
            prop::sample::select(roundings.to_vec())
        )
            .prop_map(|(weight_bits, rounding)| Arithmetic::Fixed {
                weight_bits,
                rounding
            }),
    ]
}

fn any_training() -> impl Strategy<Value = Training> {
    let schedule = prop_oneof![
        Just(Schedule::Constant),
        (1..=ROUNDS_MAX, any_factor()).prop_map(|(every, factor)| Schedule::Step { every, factor }),
        any_factor().prop_map(|factor| Schedule::Exponential { factor }),
        // To be scaled by the learning rate.
        any_factor().prop_map(|minimum| Schedule::Cosine { minimum }),
        (1..=ROUNDS_MAX).prop_map(|rounds| Schedule::WarmUp { rounds }),
    ];
    (
        (1..=EPOCHS_MAX, 1..=BATCH_SIZE_MAX, any_f32()),
        any::<[bool; 2]>(),
        (
            0.0..1.0f32,
            any_f32(),
            prop::option::of(any_f32()),
            any_f32(),
        ),
        any_arithmetic(),
        schedule,
    )
        .prop_map(
            |((epochs, batch_size, rate), [mse, nesterov], options, arithmetic, schedule)| {
                let plain = arithmetic != Arithmetic::F32;
                let (momentum, weight_decay, clip_norm, proximal) = match plain {
                    true => (0.0, 0.0, None, 0.0),
                    false => options,
                };
                let learning_rate = rate.abs();
                Training {
                    epochs,
                    batch_size,
                    learning_rate,
                    loss: if mse {
                        Loss::MeanSquaredError
                    } else {
                        Loss::CrossEntropy
                    },
                    momentum,
                    nesterov: nesterov && momentum > 0.0,
                    weight_decay: weight_decay.abs(),
                    clip_norm: clip_norm.map(f32::abs),
                    proximal: proximal.abs(),
                    arithmetic,
                    schedule: match schedule {
                        Schedule::Cosine { minimum } => Schedule::Cosine {
                            minimum: minimum * learning_rate,
                        },
                        other => other,
                    },
                }
            },
        )
}

fn any_link() -> impl Strategy<Value = Link> {
    let probability = || prop_oneof![Just(0.0), Just(1.0), 0.0..1.0];
    let seconds = || (0..3_000_000_000u64).prop_map(Duration::from_micros);
    (
        (0.0..=1e7, 0.0..=1e7, 0..=65_535u32, 0..=1_000_000_000u32),
        (0.0..=60_000.0, 0.0..=1.0, any::<bool>()),
        (probability(), probability(), probability()),
        prop::option::of((probability(), probability(), probability())),
        (1..=1_000_000_000u32, 128..=1_500u16),
        prop::collection::vec((seconds(), seconds()), 0..3),
        prop::option::of((seconds(), 0.0..1.0)),
    )
        .prop_map(
            |(rates, delays, chances, bursts, sizes, outages, cycle)| Link {
                rate_up_kbps: rates.0,
                rate_down_kbps: rates.1,
                overhead_bytes: rates.2,
                burst_bytes: rates.3,
                delay_ms: delays.0,
                jitter_ms: delays.0 * delays.1,
                reorder: delays.2,
                loss: chances.0,
                burst_loss: bursts.map(|(begin, end, loss)| BurstLoss { begin, end, loss }),
                duplicate: chances.1,
                corrupt: chances.2,
                queue_bytes: sizes.0,
                mtu_bytes: sizes.1,
                outages: outages
                    .into_iter()
                    .map(|(from, lasts)| Outage { from, lasts })
                    .collect(),
                outage_cycle: cycle.map(|(every, share): (Duration, f64)| {
                    let every = every + Duration::from_millis(1);
                    // Whole microseconds, as decimals of a file have them.
                    let lasts = Duration::from_micros(every.mul_f64(share).as_micros() as u64);
                    OutageCycle { every, lasts }
                }),
            },
        )
}

fn any_experiment() -> impl Strategy<Value = Experiment> {
    let group = (
        prop::sample::select(BOARDS.to_vec()),
        any::<bool>(),
        1..=500u32,
    )
        .prop_map(|(board, native, count)| FleetGroup {
            board: if native { NATIVE_BOARD } else { board }.to_owned(),
            mcu: (board == "mps2-an386" && count % 2 == 0).then(|| "nrf52840".to_owned()),
            fidelity: if native {
                Fidelity::Native
            } else {
                Fidelity::Emulated
            },
            count,
            ram_bytes: (count % 3 == 0).then_some(count * 1000),
            on_misfit: if count % 5 == 0 {
                OnMisfit::Fail
            } else {
                OnMisfit::Skip
            },
            samples_max: (count % 7 == 0).then_some(count),
            link: "ethernet".to_owned(),
            // None that fixed point or a device cannot have.
            faults: (count % 11 == 0).then(|| "harmless".to_owned()),
        });
    let fleet = prop::collection::vec(group, 0..6).prop_flat_map(|fleet| {
        let size = fleet.iter().map(|group| group.count).sum();
        (Just(fleet), any_coordinator(size))
    });
    let links = prop::collection::btree_map("own-[a-z0-9-]{0,60}", any_link(), 0..3);
    (
        ("[a-z0-9-]{1,64}", 0..=i64::MAX as u64, 1..=ROUNDS_MAX),
        prop::bool::ANY,
        any_data(),
        prop::option::of(1..=SHARE_SAMPLES_MAX),
        any_model(),
        any_training(),
        [any_deadline(), any_deadline(), any_deadline()],
        (fleet, links),
    )
        .prop_map(
            |(
                (name, seed, rounds),
                bridge,
                data,
                samples_per_client,
                model,
                mut training,
                deadlines,
                (mut fleet, links),
            )| {
                if data.has_target_values() {
                    training.loss = Loss::MeanSquaredError;
                    fleet.1.target_accuracy = None;
                }
                if let (false, Some(name)) = (bridge, links.keys().next()) {
                    for (group, own) in fleet.0.iter_mut().zip([true, false].into_iter().cycle()) {
                        group.link = if own { name.as_str() } else { "wifi" }.to_owned();
                    }
                }
                let [boot, ready, round] = deadlines;
                Experiment {
                    name,
                    seed,
                    rounds,
                    parallel: rounds % 5,
                    network: if bridge {
                        Network::Bridge
                    } else {
                        Network::Switch
                    },
                    data,
                    partition: match rounds % 7 {
                        0 => match samples_per_client {
                            Some(samples_per_client) => Scheme::IidSubset { samples_per_client },
                            None => Scheme::Iid,
                        },
                        1 => Scheme::Natural,
                        2 => Scheme::Dirichlet {
                            alpha: f64::from(rounds) / 7.0,
                            samples_min: samples_per_client.unwrap_or(1),
                        },
                        3 => Scheme::LabelLimited {
                            classes: rounds % 256 + 1,
                        },
                        4 => Scheme::QuantitySkew {
                            sizes: ShareSizes::Dirichlet {
                                alpha: f64::from(rounds) / 7.0,
                            },
                            samples_min: samples_per_client.unwrap_or(1),
                        },
                        5 => Scheme::QuantitySkew {
                            sizes: ShareSizes::PowerLaw {
                                exponent: f64::from(rounds % 71) / 7.0,
                            },
                            samples_min: samples_per_client.unwrap_or(1),
                        },
                        _ => Scheme::Shards {
                            per_client: samples_per_client.unwrap_or(2),
                        },
                    },
                    feature_noise_sigma: f64::from(rounds % 11),
                    model,
                    training,
                    strategy: crate::experiment::Strategy::FedAvg,
                    coordinator: fleet.1,
                    deadlines: Deadlines {
                        boot,
                        ready,
                        round,
                        round_past: (rounds % 7 > 0).then(|| PastDeadline {
                            quantile: f64::from(rounds % 7) / 6.0,
                            factor: f64::from(rounds % 1000 + 1),
                        }),
                    },
                    time: Time {
                        counting: match rounds % 3 {
                            0 => Counting::Off,
                            _ => Counting::Instructions,
                        },
                    },
                    links,
                    faults: BTreeMap::from([
                        (
                            "harmless".to_owned(),
                            FaultModel {
                                probabilities: [0.0; FaultKind::DRAWN.len()],
                                availability: Availability::Always,
                                reboot_after: boot.min(FAULT_TIME_MAX),
                                reboot_keeps_data: bridge,
                                slow_down_factor: 2.5,
                                brown_out: ready.min(FAULT_TIME_MAX),
                                poison_kind: PoisonKind::Random,
                                poison_factor: 0.1,
                                late: round.min(FAULT_TIME_MAX),
                            },
                        ),
                        (
                            "other".to_owned(),
                            FaultModel {
                                probabilities: std::array::from_fn(|kind| kind as f64 * 0.07),
                                availability: match rounds % 2 {
                                    0 => Availability::Trace("/trace.csv".into()),
                                    _ => Availability::DutyCycle { on: rounds, off: 1 },
                                },
                                reboot_after: boot.min(FAULT_TIME_MAX),
                                reboot_keeps_data: !bridge,
                                slow_down_factor: 1.0,
                                brown_out: ready.min(FAULT_TIME_MAX),
                                poison_kind: PoisonKind::Scale,
                                poison_factor: 1e6,
                                late: round.min(FAULT_TIME_MAX),
                            },
                        ),
                    ]),
                    fleet: fleet.0,
                }
            },
        )
}

proptest! {
    #[test]
    fn what_is_written_reads_back(experiment in any_experiment()) {
        let text = experiment.to_toml();
        let read = Experiment::parse(&text, "other.toml", &[], &BOARDS);
        prop_assert_eq!(read.map_err(|error| shown(&error)), Ok(experiment));
    }

    /// Whatever is given is accepted or refused with a place that exists.
    #[test]
    fn no_text_and_no_set_is_too_strange(
        text in "([a-z\\[\\]{}=.\"'0-9é \n-]|training|fleet|data|model|cnn|layers|schedule|link|outages|based-on|\n\\[){0,40}",
        sets in prop::collection::vec("(fleet|data|model|training|link|outages|burst-loss|\\.|0|1|=|mlp|hidden|cnn|layers|conv|flatten|schedule|step|\\{\\}|\\[|\\]|é|\"| ){0,8}", 0..4),
    ) {
        if let Err(error) = Experiment::parse(&text, "x.toml", &sets, &BOARDS) {
            let span = error.span();
            prop_assert!(error.text().unwrap().get(span).is_some());
            shown(&error);
        }
    }
}
