//! The file as it stands: every key optional, every value with its position.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use toml::Spanned;
use zfl_data::partition::{ALPHA_RANGE, EXPONENT_RANGE};
use zfl_data::table::arrays::Arrays;
use zfl_data::table::{Columns, Learns, Ranges};
use zfl_data::{Scheme, ShareSizes};
use zfl_machine::board::is_path;
use zfl_machine::{Mcu, nearest};

use super::error::{Fault, Sources};
use super::faults::{FaultModel, RawFaults, check_chosen, check_faults};
use super::link::{self, Link, RawLink};
use super::model::{RawModel, check_model};
use super::training::{RawTraining, check_training};
use super::{
    Arithmetic, BOARD_DEFAULT, CLIENTS_MAX, Coordinator, Counting, DEADLINE_MAX, DEADLINE_MIN,
    Data, Deadlines, EMULATED_DEVICES_MAX, Experiment, FEATURE_NOISE_MAX, Fidelity, FleetGroup,
    Folders, IdxData, LateUpdates, NAME_BYTES_MAX, NATIVE_BOARD, Network, NpzData, OnFailedRound,
    OnMisfit, PastDeadline, ROUNDS_MAX, SHARE_SAMPLES_MAX, STALENESS_ROUNDS_MAX, Strategy,
    TEST_SHARE_DEFAULT, TableData, TestRows, Time, keys,
};

/// A TOML integer, as large as it may be written: whether a key allows it is
/// for [`RawExperiment::check`] to say.
#[derive(Clone, Copy)]
pub(super) struct Whole(i128);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WholeVisitor;
        impl Visitor<'_> for WholeVisitor {
            type Value = Whole;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a whole number")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Whole, E> {
                Ok(Whole(value.into()))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Whole, E> {
                Ok(Whole(value.into()))
            }

            fn visit_i128<E: de::Error>(self, value: i128) -> Result<Whole, E> {
                Ok(Whole(value))
            }
        }
        deserializer.deserialize_any(WholeVisitor)
    }
}

/// A TOML float or integer.
#[derive(Clone, Copy)]
pub(super) struct Number(f64);

impl Number {
    pub(super) const fn value(self) -> f64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberVisitor;
        impl Visitor<'_> for NumberVisitor {
            type Value = Number;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a number")
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Number, E> {
                Ok(Number(value))
            }

            #[expect(clippy::cast_precision_loss, reason = "the nearest number is meant")]
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Number, E> {
                Ok(Number(value as f64))
            }

            #[expect(clippy::cast_precision_loss, reason = "the nearest number is meant")]
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Number, E> {
                Ok(Number(value as f64))
            }

            #[expect(clippy::cast_precision_loss, reason = "the nearest number is meant")]
            fn visit_i128<E: de::Error>(self, value: i128) -> Result<Number, E> {
                Ok(Number(value as f64))
            }
        }
        deserializer.deserialize_any(NumberVisitor)
    }
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
pub(super) struct RawExperiment {
    name: Option<Spanned<String>>,
    seed: Option<Spanned<Whole>>,
    rounds: Option<Spanned<Whole>>,
    parallel: Option<Spanned<Whole>>,
    network: Option<Spanned<String>>,
    data: Option<Spanned<RawData>>,
    partition: Option<Spanned<RawPartition>>,
    #[serde(default)]
    feature_noise: RawFeatureNoise,
    model: Option<Spanned<RawModel>>,
    #[serde(default)]
    training: RawTraining,
    strategy: Option<Spanned<RawStrategy>>,
    #[serde(default)]
    coordinator: RawCoordinator,
    #[serde(default)]
    deadlines: RawDeadlines,
    #[serde(default)]
    time: RawTime,
    #[serde(default)]
    link: BTreeMap<String, Spanned<RawLink>>,
    #[serde(default)]
    faults: BTreeMap<String, Spanned<RawFaults>>,
    #[serde(default)]
    fleet: Vec<Spanned<RawFleetGroup>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct RawData {
    digits: Option<Spanned<RawDigits>>,
    mnist: Option<Spanned<RawMnist>>,
    idx: Option<Spanned<RawIdx>>,
    csv: Option<Spanned<RawTable>>,
    parquet: Option<Spanned<RawTable>>,
    npz: Option<Spanned<RawNpz>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct RawDigits {
    test_share: Option<Spanned<Number>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct RawMnist {
    folder: Option<Spanned<String>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct RawIdx {
    train_images: Spanned<String>,
    train_labels: Spanned<String>,
    test_images: Spanned<String>,
    test_labels: Spanned<String>,
    value_scale: Option<Spanned<Number>>,
    classes: Option<Spanned<Whole>>,
}

/// `[data.csv]` and `[data.parquet]`.
#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct RawTable {
    file: Spanned<String>,
    test_file: Option<Spanned<String>>,
    test_share: Option<Spanned<Number>>,
    label: Option<Spanned<String>>,
    target: Option<Spanned<String>>,
    features: Option<Spanned<Vec<Spanned<String>>>>,
    ignore: Option<Spanned<Vec<Spanned<String>>>>,
    group: Option<Spanned<String>>,
    shape: Option<Spanned<Vec<Whole>>>,
    range: Option<Spanned<Vec<Number>>>,
    #[serde(default)]
    ranges: BTreeMap<String, Spanned<Vec<Number>>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct RawNpz {
    file: Spanned<String>,
    samples: Spanned<String>,
    labels: Option<Spanned<String>>,
    target: Option<Spanned<String>>,
    groups: Option<Spanned<String>>,
    test_samples: Option<Spanned<String>>,
    test_labels: Option<Spanned<String>>,
    test_target: Option<Spanned<String>>,
    test_share: Option<Spanned<Number>>,
    range: Option<Spanned<Vec<Number>>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
pub(super) struct RawEmpty {}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct RawPartition {
    iid: Option<Spanned<RawIid>>,
    shards: Option<Spanned<RawShards>>,
    dirichlet: Option<Spanned<RawDirichlet>>,
    label_limited: Option<Spanned<RawLabelLimited>>,
    quantity_skew: Option<Spanned<RawQuantitySkew>>,
    natural: Option<Spanned<RawEmpty>>,
}

#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct RawFeatureNoise {
    sigma: Option<Spanned<Number>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct RawLabelLimited {
    classes: Option<Spanned<Whole>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct RawQuantitySkew {
    power_law: Option<Spanned<RawPowerLaw>>,
    dirichlet: Option<Spanned<RawDirichlet>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct RawPowerLaw {
    exponent: Option<Spanned<Number>>,
    samples_min: Option<Spanned<Whole>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct RawDirichlet {
    alpha: Option<Spanned<Number>>,
    samples_min: Option<Spanned<Whole>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct RawShards {
    per_client: Option<Spanned<Whole>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct RawIid {
    samples_per_client: Option<Spanned<Whole>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct RawStrategy {
    fed_avg: Option<Spanned<RawEmpty>>,
}

#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct RawCoordinator {
    clients_per_round: Option<Spanned<Whole>>,
    over_selection: Option<Spanned<Number>>,
    quorum: Option<Spanned<Whole>>,
    on_failed_round: Option<Spanned<String>>,
    failed_rounds_max: Option<Spanned<Whole>>,
    rest_rounds: Option<Spanned<Whole>>,
    rest_rounds_max: Option<Spanned<Whole>>,
    staleness_rounds_max: Option<Spanned<Whole>>,
    staleness_exponent: Option<Spanned<Number>>,
    target_accuracy: Option<Spanned<Number>>,
    port: Option<Spanned<Whole>>,
}

#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct RawDeadlines {
    boot_s: Option<Spanned<Number>>,
    ready_s: Option<Spanned<Number>>,
    round_s: Option<Spanned<Number>>,
    round_quantile: Option<Spanned<Number>>,
    round_factor: Option<Spanned<Number>>,
}

#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct RawTime {
    counting: Option<Spanned<String>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct RawFleetGroup {
    board: Option<Spanned<String>>,
    mcu: Option<Spanned<String>>,
    fidelity: Option<Spanned<String>>,
    count: Option<Spanned<Whole>>,
    ram_bytes: Option<Spanned<Whole>>,
    on_misfit: Option<Spanned<String>>,
    samples_max: Option<Spanned<Whole>>,
    faults: Option<Spanned<String>>,
    link: Option<Spanned<String>>,
}

/// What checking needs to know beside the file.
pub(super) struct Context<'a> {
    pub(super) sources: &'a Sources<'a>,
    pub(super) known_boards: &'a [&'a str],
    pub(super) folders: Option<&'a Folders>,
}

impl Context<'_> {
    /// `path` has a value that it may not have.
    pub(super) fn refuse(&self, path: &str, span: Range<usize>) -> Fault {
        let message = format!("`{path}` is {}", self.sources.quote(&span));
        self.fault(path, span, message)
    }

    pub(super) fn fault(&self, path: &str, span: Range<usize>, message: String) -> Fault {
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        Fault {
            span,
            message,
            help: keys::help(&path),
        }
    }

    pub(super) fn whole<T: TryFrom<i128>>(
        &self,
        path: &str,
        value: Option<&Spanned<Whole>>,
        allowed: RangeInclusive<u32>,
        default: T,
    ) -> Result<T, Fault> {
        let Some(value) = value else {
            return Ok(default);
        };
        let number = value.get_ref().0;
        let allowed = i128::from(*allowed.start())..=i128::from(*allowed.end());
        match T::try_from(number) {
            Ok(converted) if allowed.contains(&number) => Ok(converted),
            _ => Err(self.refuse(path, value.span())),
        }
    }

    /// A number above 0 that single precision can hold.
    pub(super) fn positive_f32(
        &self,
        path: &str,
        value: Option<&Spanned<Number>>,
        default: f32,
    ) -> Result<f32, Fault> {
        match value {
            None => Ok(default),
            Some(value) => self.f32(path, value, |number| number > 0.0),
        }
    }

    /// A number that single precision can hold, if `is_allowed` says so.
    pub(super) fn f32(
        &self,
        path: &str,
        value: &Spanned<Number>,
        is_allowed: impl Fn(f32) -> bool,
    ) -> Result<f32, Fault> {
        #[expect(clippy::cast_possible_truncation, reason = "checked below")]
        let number = value.get_ref().0 as f32;
        if number.is_finite() && is_allowed(number) {
            // There is one zero.
            Ok(number + 0.0)
        } else {
            Err(self.refuse(path, value.span()))
        }
    }

    /// A number within what is allowed.
    pub(super) fn number(
        &self,
        path: &str,
        value: Option<&Spanned<Number>>,
        allowed: RangeInclusive<f64>,
        default: f64,
    ) -> Result<f64, Fault> {
        match value {
            None => Ok(default),
            // There is one zero.
            Some(value) if allowed.contains(&value.get_ref().0) => Ok(value.get_ref().0 + 0.0),
            Some(value) => Err(self.refuse(path, value.span())),
        }
    }

    /// One of the words that `name` gives to the values of `all`.
    pub(super) fn word<T: Copy + Default>(
        &self,
        path: &str,
        word: Option<&Spanned<String>>,
        all: &[T],
        name: impl Fn(T) -> &'static str,
    ) -> Result<T, Fault> {
        let Some(word) = word else {
            return Ok(T::default());
        };
        all.iter()
            .copied()
            .find(|value| name(*value) == word.get_ref())
            .ok_or_else(|| self.refuse(path, word.span()))
    }

    /// `path` stands where it has no meaning.
    fn refuse_lone<T>(&self, path: &str, value: Option<&Spanned<T>>) -> Result<(), Fault> {
        match value {
            None => Ok(()),
            Some(value) => Err(self.refuse(path, value.span())),
        }
    }

    fn duration(
        &self,
        path: &str,
        value: Option<&Spanned<Number>>,
        default_s: u64,
    ) -> Result<Duration, Fault> {
        let Some(value) = value else {
            return Ok(Duration::from_secs(default_s));
        };
        Duration::try_from_secs_f64(value.get_ref().0)
            .ok()
            .filter(|duration| (DEADLINE_MIN..=DEADLINE_MAX).contains(duration))
            .ok_or_else(|| self.refuse(path, value.span()))
    }

    /// A path made absolute: of the file from its folder, of a `--set` from
    /// the working directory.
    pub(super) fn path(&self, path: &str, value: &Spanned<String>) -> Result<PathBuf, Fault> {
        let text = value.get_ref();
        if text.is_empty() || text.contains('\0') {
            return Err(self.refuse(path, value.span()));
        }
        let Some(folders) = self.folders else {
            return Ok(text.into());
        };
        let base = match self.sources.is_set(&value.span()) {
            true => &folders.working,
            false => &folders.file,
        };
        let joined = base.join(text);
        // The run's record is TOML and can only hold text.
        if joined.to_str().is_none() {
            return Err(Fault {
                span: value.span(),
                message: format!(
                    "`{path}` lies in {}, whose name is not UTF-8",
                    base.display()
                ),
                help: Some("give an absolute path, or rename the folder".into()),
            });
        }
        Ok(joined)
    }

    /// The one variant of a table of variants.
    pub(super) fn one_of<T>(
        &self,
        path: &str,
        span: Range<usize>,
        variants: Vec<(&str, Range<usize>, T)>,
    ) -> Result<T, Fault> {
        let mut variants = variants;
        variants.sort_by_key(|(_, span, _)| span.start);
        let mut variants = variants.into_iter();
        match (variants.next(), variants.next()) {
            (None, _) => Err(self.fault(path, span, format!("`{path}` says nothing"))),
            (Some((.., only)), None) => Ok(only),
            (Some((first, ..)), Some((second, span, _))) => Err(self.fault(
                path,
                span,
                format!("`{path}.{second}` beside `{path}.{first}`"),
            )),
        }
    }
}

impl RawExperiment {
    pub(super) fn check(self, context: &Context<'_>) -> Result<Experiment, Fault> {
        let name = match &self.name {
            None => default_name(context.sources.file_name()),
            Some(name) if is_name(name.get_ref()) => name.get_ref().clone(),
            Some(name) => return Err(context.refuse("name", name.span())),
        };
        let seed = match &self.seed {
            None => 1,
            Some(seed) => i64::try_from(seed.get_ref().0)
                .ok()
                .and_then(|seed| u64::try_from(seed).ok())
                .ok_or_else(|| context.refuse("seed", seed.span()))?,
        };
        let network = context.word(
            "network",
            self.network.as_ref(),
            Network::ALL,
            Network::name,
        )?;
        let rounds = context.whole("rounds", self.rounds.as_ref(), 1..=ROUNDS_MAX, 20)?;
        let parallel = context.whole("parallel", self.parallel.as_ref(), 0..=CLIENTS_MAX, 0)?;
        let data = check_data(self.data, context)?;
        let partition = check_partition(self.partition, context)?;
        let sigma = self.feature_noise.sigma.as_ref();
        let feature_noise_sigma =
            context.number("feature-noise.sigma", sigma, 0.0..=FEATURE_NOISE_MAX, 0.0)?;
        let strategy = match self.strategy {
            None => Strategy::FedAvg,
            Some(table) => {
                let span = table.span();
                let fed_avg = table.into_inner().fed_avg;
                let fed_avg = fed_avg.map(|table| ("fed-avg", table.span(), Strategy::FedAvg));
                context.one_of("strategy", span, fed_avg.into_iter().collect())?
            }
        };
        let model = check_model(self.model, context)?;
        let training = check_training(&self.training, data.has_target_values(), context)?;
        let deadlines = Deadlines {
            boot: context.duration("deadlines.boot-s", self.deadlines.boot_s.as_ref(), 60)?,
            ready: context.duration("deadlines.ready-s", self.deadlines.ready_s.as_ref(), 120)?,
            round: context.duration("deadlines.round-s", self.deadlines.round_s.as_ref(), 300)?,
            round_past: check_past_deadline(&self.deadlines, context)?,
        };
        let time = Time {
            counting: context.word(
                "time.counting",
                self.time.counting.as_ref(),
                Counting::ALL,
                Counting::name,
            )?,
        };
        let faults = check_faults(&self.faults, context)?;
        let is_fixed = training.arithmetic != Arithmetic::F32;
        let links = link::check_links(&self.link, context)?;
        let fleet = check_fleet(&self.fleet, (&links, network), (&faults, is_fixed), context)?;
        if let (true, Some(target)) = (data.has_target_values(), &self.coordinator.target_accuracy)
        {
            return Err(Fault {
                span: target.span(),
                message: "`coordinator.target-accuracy` where a number is learnt".into(),
                help: Some("only classes have an accuracy: leave it out".into()),
            });
        }
        let coordinator = check_coordinator(&self.coordinator, &fleet, context)?;
        Ok(Experiment {
            name,
            seed,
            rounds,
            parallel,
            network,
            data,
            partition,
            feature_noise_sigma,
            model,
            training,
            strategy,
            coordinator,
            deadlines,
            time,
            links,
            faults,
            fleet,
        })
    }
}

/// Largest size of a dimension of a sample.
const SIZE_MAX: usize = 4096;

fn check_data(data: Option<Spanned<RawData>>, context: &Context<'_>) -> Result<Data, Fault> {
    let Some(data) = data else {
        return Ok(Data::Digits {
            test_share: TEST_SHARE_DEFAULT,
        });
    };
    enum Raw {
        Digits(RawDigits),
        Mnist(RawMnist),
        Idx(RawIdx),
        Csv(Spanned<RawTable>),
        Parquet(Spanned<RawTable>),
        Npz(Spanned<RawNpz>),
    }
    let span = data.span();
    let RawData {
        digits,
        mnist,
        idx,
        csv,
        parquet,
        npz,
    } = data.into_inner();
    let mut variants = Vec::new();
    if let Some(table) = digits {
        variants.push(("digits", table.span(), Raw::Digits(table.into_inner())));
    }
    if let Some(table) = mnist {
        variants.push(("mnist", table.span(), Raw::Mnist(table.into_inner())));
    }
    if let Some(table) = idx {
        variants.push(("idx", table.span(), Raw::Idx(table.into_inner())));
    }
    if let Some(table) = csv {
        variants.push(("csv", table.span(), Raw::Csv(table)));
    }
    if let Some(table) = parquet {
        variants.push(("parquet", table.span(), Raw::Parquet(table)));
    }
    if let Some(table) = npz {
        variants.push(("npz", table.span(), Raw::Npz(table)));
    }
    match context.one_of("data", span, variants)? {
        Raw::Digits(digits) => Ok(Data::Digits {
            test_share: check_test_share("data.digits", digits.test_share.as_ref(), context)?,
        }),
        Raw::Mnist(mnist) => Ok(Data::Mnist {
            folder: match &mnist.folder {
                None => None,
                Some(folder) => Some(context.path("data.mnist.folder", folder)?),
            },
        }),
        Raw::Idx(idx) => Ok(Data::Idx(IdxData {
            train_images: context.path("data.idx.train-images", &idx.train_images)?,
            train_labels: context.path("data.idx.train-labels", &idx.train_labels)?,
            test_images: context.path("data.idx.test-images", &idx.test_images)?,
            test_labels: context.path("data.idx.test-labels", &idx.test_labels)?,
            value_scale: context.positive_f32(
                "data.idx.value-scale",
                idx.value_scale.as_ref(),
                1.0 / 255.0,
            )?,
            classes: match &idx.classes {
                None => None,
                classes => Some(context.whole("data.idx.classes", classes.as_ref(), 2..=256, 2)?),
            },
        })),
        Raw::Csv(table) => Ok(Data::Csv(check_table("data.csv", &table, context)?)),
        Raw::Parquet(table) => Ok(Data::Parquet(check_table("data.parquet", &table, context)?)),
        Raw::Npz(npz) => Ok(Data::Npz(check_npz(&npz, context)?)),
    }
}

fn check_test_share(
    table: &str,
    share: Option<&Spanned<Number>>,
    context: &Context<'_>,
) -> Result<f64, Fault> {
    match share {
        None => Ok(TEST_SHARE_DEFAULT),
        Some(share) if share.get_ref().0 > 0.0 && share.get_ref().0 < 1.0 => Ok(share.get_ref().0),
        Some(share) => Err(context.refuse(&format!("{table}.test-share"), share.span())),
    }
}

/// A range of values: two finite numbers, the smaller first.
fn check_range(
    path: &str,
    range: &Spanned<Vec<Number>>,
    context: &Context<'_>,
) -> Result<(f64, f64), Fault> {
    match range.get_ref().as_slice() {
        // There is one zero.
        [Number(low), Number(high)] if low < high && (high - low).is_finite() => {
            Ok((low + 0.0, high + 0.0))
        }
        _ => Err(context.refuse(path, range.span())),
    }
}

/// Text that names a column or an array.
fn check_name(path: &str, name: &Spanned<String>, context: &Context<'_>) -> Result<String, Fault> {
    match name.get_ref().is_empty() {
        false => Ok(name.get_ref().clone()),
        true => Err(context.refuse(path, name.span())),
    }
}

/// What is learnt: the class that the key `label` names, or the number of `target`.
fn check_learns(
    table: &str,
    span: Range<usize>,
    (label_key, label): (&str, Option<&Spanned<String>>),
    target: Option<&Spanned<String>>,
    context: &Context<'_>,
) -> Result<(String, Learns), Fault> {
    let path = |key: &str| format!("{table}.{key}");
    match (label, target) {
        (Some(label), None) => Ok((
            check_name(&path(label_key), label, context)?,
            Learns::Classes,
        )),
        (None, Some(target)) => Ok((
            check_name(&path("target"), target, context)?,
            Learns::Values,
        )),
        (None, None) => {
            let message = format!("`{table}`: missing key `{label_key}`, or `target`");
            Err(context.fault(table, span, message))
        }
        (Some(_), Some(target)) => {
            let message = format!("`{table}.target` beside `{table}.{label_key}`");
            Err(context.fault(&path("target"), target.span(), message))
        }
    }
}

/// The shape of an image: height, width, and if need be channels.
fn check_shape(
    path: &str,
    shape: &Spanned<Vec<Whole>>,
    context: &Context<'_>,
) -> Result<Vec<usize>, Fault> {
    let sizes = shape.get_ref().iter();
    let sizes: Option<Vec<usize>> = sizes
        .map(|Whole(size)| usize::try_from(*size).ok())
        .collect();
    match sizes {
        Some(sizes)
            if (2..=3).contains(&sizes.len())
                && sizes.iter().all(|size| (1..=SIZE_MAX).contains(size)) =>
        {
            Ok(sizes)
        }
        _ => Err(context.refuse(path, shape.span())),
    }
}

fn check_table(
    table: &str,
    raw: &Spanned<RawTable>,
    context: &Context<'_>,
) -> Result<TableData, Fault> {
    let (span, raw) = (raw.span(), raw.get_ref());
    let path = |key: &str| format!("{table}.{key}");
    let (label, learns) = check_learns(
        table,
        span,
        ("label", raw.label.as_ref()),
        raw.target.as_ref(),
        context,
    )?;
    let share = check_test_share(table, raw.test_share.as_ref(), context)?;
    let test = match (&raw.test_file, &raw.test_share) {
        (None, _) => TestRows::Share(share),
        (Some(file), None) => TestRows::File(context.path(&path("test-file"), file)?),
        (Some(_), Some(share)) => {
            let message = format!("`{table}.test-share` beside `{table}.test-file`");
            return Err(context.fault(&path("test-share"), share.span(), message));
        }
    };
    if let (Some(_), Some(ignore)) = (&raw.features, &raw.ignore) {
        let message = format!("`{table}.ignore` beside `{table}.features`");
        return Err(context.fault(&path("ignore"), ignore.span(), message));
    }
    let names = |key: &str, list: Option<&Spanned<Vec<Spanned<String>>>>| {
        let Some(list) = list else {
            return Ok(Vec::new());
        };
        if list.get_ref().is_empty() {
            return Err(context.refuse(&path(key), list.span()));
        }
        let names = list.get_ref().iter();
        names
            .map(|name| check_name(&path(key), name, context))
            .collect()
    };
    let mut columns = BTreeMap::new();
    for (name, range) in &raw.ranges {
        let path = path(&format!("ranges.{name}"));
        columns.insert(name.clone(), check_range(&path, range, context)?);
    }
    Ok(TableData {
        file: context.path(&path("file"), &raw.file)?,
        test,
        columns: Columns {
            label,
            learns,
            features: names("features", raw.features.as_ref())?,
            ignore: names("ignore", raw.ignore.as_ref())?,
            group: match &raw.group {
                None => None,
                Some(group) => Some(check_name(&path("group"), group, context)?),
            },
            shape: match &raw.shape {
                None => Vec::new(),
                Some(shape) => check_shape(&path("shape"), shape, context)?,
            },
            ranges: Ranges {
                all: match &raw.range {
                    None => None,
                    Some(range) => Some(check_range(&path("range"), range, context)?),
                },
                columns,
            },
        },
    })
}

fn check_npz(raw: &Spanned<RawNpz>, context: &Context<'_>) -> Result<NpzData, Fault> {
    let (span, raw) = (raw.span(), raw.get_ref());
    let name = |key: &str, name| check_name(&format!("data.npz.{key}"), name, context);
    let (labels, learns) = check_learns(
        "data.npz",
        span,
        ("labels", raw.labels.as_ref()),
        raw.target.as_ref(),
        context,
    )?;
    let test_share = check_test_share("data.npz", raw.test_share.as_ref(), context)?;
    let fault = |key: &str, span, beside: &str| {
        let message = format!("`data.npz.{key}` {beside}");
        Err(context.fault(&format!("data.npz.{key}"), span, message))
    };
    let (key, test_labels, (other, unfit)) = match learns {
        Learns::Classes => (
            "test-labels",
            &raw.test_labels,
            ("test-target", &raw.test_target),
        ),
        Learns::Values => (
            "test-target",
            &raw.test_target,
            ("test-labels", &raw.test_labels),
        ),
    };
    if let Some(unfit) = unfit {
        let learnt = match learns {
            Learns::Classes => "labels",
            Learns::Values => "target",
        };
        return fault(other, unfit.span(), &format!("beside `data.npz.{learnt}`"));
    }
    let test = match (&raw.test_samples, test_labels) {
        (None, None) => None,
        (Some(samples), Some(labels)) => {
            if let Some(share) = &raw.test_share {
                return fault("test-share", share.span(), "beside `data.npz.test-samples`");
            }
            Some((name("test-samples", samples)?, name(key, labels)?))
        }
        (Some(samples), None) => {
            return fault(
                "test-samples",
                samples.span(),
                &format!("without `data.npz.{key}`"),
            );
        }
        (None, Some(labels)) => {
            return fault(key, labels.span(), "without `data.npz.test-samples`");
        }
    };
    Ok(NpzData {
        file: context.path("data.npz.file", &raw.file)?,
        arrays: Arrays {
            samples: name("samples", &raw.samples)?,
            labels,
            learns,
            groups: match &raw.groups {
                None => None,
                Some(groups) => Some(name("groups", groups)?),
            },
            test,
            range: match &raw.range {
                None => None,
                Some(range) => Some(check_range("data.npz.range", range, context)?),
            },
        },
        test_share,
    })
}

fn check_partition(
    partition: Option<Spanned<RawPartition>>,
    context: &Context<'_>,
) -> Result<Scheme, Fault> {
    let Some(table) = partition else {
        return Ok(Scheme::Iid);
    };
    enum Raw {
        Iid(RawIid),
        Shards(RawShards),
        Dirichlet(RawDirichlet),
        LabelLimited(RawLabelLimited),
        QuantitySkew(Spanned<RawQuantitySkew>),
        Natural,
    }
    let span = table.span();
    let RawPartition {
        iid,
        shards,
        dirichlet,
        label_limited,
        quantity_skew,
        natural,
    } = table.into_inner();
    let variants = [
        iid.map(|table| ("iid", table.span(), Raw::Iid(table.into_inner()))),
        shards.map(|table| ("shards", table.span(), Raw::Shards(table.into_inner()))),
        dirichlet.map(|table| {
            let span = table.span();
            ("dirichlet", span, Raw::Dirichlet(table.into_inner()))
        }),
        label_limited.map(|table| {
            let span = table.span();
            ("label-limited", span, Raw::LabelLimited(table.into_inner()))
        }),
        quantity_skew.map(|table| ("quantity-skew", table.span(), Raw::QuantitySkew(table))),
        natural.map(|table| ("natural", table.span(), Raw::Natural)),
    ];
    let variants = variants.into_iter().flatten().collect();
    match context.one_of("partition", span, variants)? {
        Raw::Iid(iid) => match &iid.samples_per_client {
            None => Ok(Scheme::Iid),
            count => {
                let path = "partition.iid.samples-per-client";
                let samples_per_client =
                    context.whole(path, count.as_ref(), 1..=SHARE_SAMPLES_MAX, 1)?;
                Ok(Scheme::IidSubset { samples_per_client })
            }
        },
        Raw::Shards(shards) => {
            let path = "partition.shards.per-client";
            let count = shards.per_client.as_ref();
            let per_client = context.whole(path, count, 1..=SHARE_SAMPLES_MAX, 2)?;
            Ok(Scheme::Shards { per_client })
        }
        Raw::Dirichlet(table) => {
            let (alpha, samples_min) = check_dirichlet("partition.dirichlet", &table, context)?;
            Ok(Scheme::Dirichlet { alpha, samples_min })
        }
        Raw::LabelLimited(table) => {
            let path = "partition.label-limited.classes";
            let classes = context.whole(path, table.classes.as_ref(), 1..=256, 2)?;
            Ok(Scheme::LabelLimited { classes })
        }
        Raw::QuantitySkew(table) => check_quantity_skew(table, context),
        Raw::Natural => Ok(Scheme::Natural),
    }
}

/// Alpha and the fewest samples of a client.
fn check_dirichlet(
    path: &str,
    table: &RawDirichlet,
    context: &Context<'_>,
) -> Result<(f64, u32), Fault> {
    let (alpha, least) = (table.alpha.as_ref(), table.samples_min.as_ref());
    Ok((
        context.number(&format!("{path}.alpha"), alpha, ALPHA_RANGE, 0.5)?,
        context.whole(
            &format!("{path}.samples-min"),
            least,
            1..=SHARE_SAMPLES_MAX,
            1,
        )?,
    ))
}

fn check_quantity_skew(
    table: Spanned<RawQuantitySkew>,
    context: &Context<'_>,
) -> Result<Scheme, Fault> {
    enum Raw {
        PowerLaw(RawPowerLaw),
        Dirichlet(RawDirichlet),
    }
    let path = "partition.quantity-skew";
    let span = table.span();
    let RawQuantitySkew {
        power_law,
        dirichlet,
    } = table.into_inner();
    let variants = [
        power_law.map(|table| ("power-law", table.span(), Raw::PowerLaw(table.into_inner()))),
        dirichlet.map(|table| {
            (
                "dirichlet",
                table.span(),
                Raw::Dirichlet(table.into_inner()),
            )
        }),
    ];
    let variants = variants.into_iter().flatten().collect();
    Ok(match context.one_of(path, span, variants)? {
        Raw::PowerLaw(table) => {
            let least = table.samples_min.as_ref();
            let least_path = "partition.quantity-skew.power-law.samples-min";
            let path = "partition.quantity-skew.power-law.exponent";
            let exponent = context.number(path, table.exponent.as_ref(), EXPONENT_RANGE, 1.0)?;
            Scheme::QuantitySkew {
                sizes: ShareSizes::PowerLaw { exponent },
                samples_min: context.whole(least_path, least, 1..=SHARE_SAMPLES_MAX, 1)?,
            }
        }
        Raw::Dirichlet(table) => {
            let path = "partition.quantity-skew.dirichlet";
            let (alpha, samples_min) = check_dirichlet(path, &table, context)?;
            Scheme::QuantitySkew {
                sizes: ShareSizes::Dirichlet { alpha },
                samples_min,
            }
        }
    })
}

fn check_fleet(
    groups: &[Spanned<RawFleetGroup>],
    (links, network): (&BTreeMap<String, Link>, Network),
    (faults, is_fixed): (&BTreeMap<String, FaultModel>, bool),
    context: &Context<'_>,
) -> Result<Vec<FleetGroup>, Fault> {
    let mut fleet = Vec::new();
    let mut client_count = 0u32;
    let mut emulated_count = 0u32;
    for (index, group) in groups.iter().enumerate() {
        let path = |key: &str| format!("fleet.{index}.{key}");
        let raw = group.get_ref();
        let fidelity = context.word(
            &path("fidelity"),
            raw.fidelity.as_ref(),
            Fidelity::ALL,
            Fidelity::name,
        )?;
        let count = raw.count.as_ref();
        let count_span = count.map_or_else(|| group.span(), Spanned::span);
        let count = context.whole(&path("count"), count, 1..=CLIENTS_MAX, 1u32)?;
        client_count = client_count.saturating_add(count);
        if fidelity == Fidelity::Emulated {
            emulated_count = emulated_count.saturating_add(count);
        }
        if emulated_count > EMULATED_DEVICES_MAX {
            let message = format!("{emulated_count} emulated devices up to here");
            return Err(context.fault(&path("count"), count_span, message));
        }
        if client_count > CLIENTS_MAX {
            let message = format!("{client_count} devices up to here");
            return Err(context.fault(&path("count"), count_span, message));
        }
        let mcu = match &raw.mcu {
            None => None,
            Some(mcu) => Some(check_mcu(&path("mcu"), mcu, context)?),
        };
        let board = match &raw.board {
            None => mcu
                .as_ref()
                .map_or_else(|| BOARD_DEFAULT.to_owned(), |(_, board)| board.clone()),
            Some(board) if board.get_ref() == NATIVE_BOARD => {
                if fidelity != Fidelity::Native {
                    return Err(Fault {
                        span: board.span(),
                        message: format!("\"{NATIVE_BOARD}\" is no board to emulate"),
                        help: Some(
                            "for clients without a machine set `fidelity = \"native\"`".into(),
                        ),
                    });
                }
                NATIVE_BOARD.to_owned()
            }
            Some(board) => check_board(&path("board"), board, context)?,
        };
        if let (Some((_, of_mcu)), Some(given)) = (&mcu, &raw.board)
            && ![of_mcu.as_str(), NATIVE_BOARD].contains(&board.as_str())
        {
            return Err(Fault {
                span: given.span(),
                message: format!(
                    "`{}` is {}, but the microcontroller stands on {of_mcu}",
                    path("board"),
                    context.sources.quote(&given.span())
                ),
                help: Some("leave the board out: the microcontroller says which".into()),
            });
        }
        let chosen = match &raw.faults {
            None => None,
            Some(name) => {
                let path = path("faults");
                let kind = (fidelity, board.as_str(), is_fixed);
                Some(check_chosen(name, &path, kind, faults, context)?)
            }
        };
        fleet.push(FleetGroup {
            mcu: mcu.map(|(name, _)| name),
            board: match fidelity {
                Fidelity::Emulated => board,
                Fidelity::Native => NATIVE_BOARD.to_owned(),
            },
            fidelity,
            count,
            ram_bytes: match &raw.ram_bytes {
                None => None,
                bytes => {
                    Some(context.whole(&path("ram-bytes"), bytes.as_ref(), 1..=u32::MAX, 1)?)
                }
            },
            on_misfit: context.word(
                &path("on-misfit"),
                raw.on_misfit.as_ref(),
                OnMisfit::ALL,
                OnMisfit::name,
            )?,
            samples_max: match &raw.samples_max {
                None => None,
                count => {
                    let path = path("samples-max");
                    Some(context.whole(&path, count.as_ref(), 1..=SHARE_SAMPLES_MAX, 1)?)
                }
            },
            link: link::check_choice(
                &path("link"),
                raw.link.as_ref(),
                links,
                network == Network::Bridge,
                context,
            )?,
            faults: chosen,
        });
    }
    Ok(fleet)
}

/// The microcontroller as the experiment keeps it, and its board.
fn check_mcu(
    path: &str,
    name: &Spanned<String>,
    context: &Context<'_>,
) -> Result<(String, String), Fault> {
    let given = name.get_ref();
    let kept = if is_path(given) {
        context.path(path, name)?.to_string_lossy().into_owned()
    } else {
        given.clone()
    };
    match Mcu::find(&kept) {
        Ok(mcu) => Ok((kept, mcu.board)),
        Err(error) => Err(Fault {
            span: name.span(),
            message: error.to_string(),
            help: Some(
                "the name of a microcontroller that `zfl boards` lists, or the path of a profile"
                    .into(),
            ),
        }),
    }
}

fn check_board(
    path: &str,
    board: &Spanned<String>,
    context: &Context<'_>,
) -> Result<String, Fault> {
    let name = board.get_ref();
    if is_path(name) {
        let file = context.path(path, board)?;
        return Ok(file.to_string_lossy().into_owned());
    }
    if context.known_boards.contains(&name.as_str()) {
        return Ok(name.clone());
    }
    let guess = match nearest(name, context.known_boards.iter().copied()) {
        Some(guess) => format!("did you mean `{guess}`? "),
        None => String::new(),
    };
    Err(Fault {
        span: board.span(),
        message: format!("no board {}", context.sources.quote(&board.span())),
        help: Some(format!(
            "{guess}known boards: {}; or the path of a board file",
            context.known_boards.join(", ")
        )),
    })
}

fn check_past_deadline(
    raw: &RawDeadlines,
    context: &Context<'_>,
) -> Result<Option<PastDeadline>, Fault> {
    let (path, factor_path) = ("deadlines.round-quantile", "deadlines.round-factor");
    let Some(quantile) = &raw.round_quantile else {
        context.refuse_lone(factor_path, raw.round_factor.as_ref())?;
        return Ok(None);
    };
    if quantile.get_ref().0 <= 0.0 {
        return Err(context.refuse(path, quantile.span()));
    }
    Ok(Some(PastDeadline {
        quantile: context.number(path, Some(quantile), 0.0..=1.0, 1.0)?,
        factor: context.number(factor_path, raw.round_factor.as_ref(), 1.0..=1000.0, 2.0)?,
    }))
}

fn check_on_failed_round(
    raw: &RawCoordinator,
    context: &Context<'_>,
) -> Result<OnFailedRound, Fault> {
    let (path, most_path) = (
        "coordinator.on-failed-round",
        "coordinator.failed-rounds-max",
    );
    let most = raw.failed_rounds_max.as_ref();
    match raw.on_failed_round.as_ref() {
        Some(word) if word.get_ref() == "continue" => Ok(OnFailedRound::Continue {
            failed_rounds_max: context.whole(most_path, most, 1..=ROUNDS_MAX, 3)?,
        }),
        Some(word) if word.get_ref() != "end" => Err(context.refuse(path, word.span())),
        _ => {
            context.refuse_lone(most_path, most)?;
            Ok(OnFailedRound::End)
        }
    }
}

fn check_late_updates(raw: &RawCoordinator, context: &Context<'_>) -> Result<LateUpdates, Fault> {
    let path = "coordinator.staleness-rounds-max";
    let rounds_max = raw.staleness_rounds_max.as_ref();
    let rounds_max = context.whole(path, rounds_max, 0..=STALENESS_ROUNDS_MAX, 0)?;
    let (path, exponent) = (
        "coordinator.staleness-exponent",
        raw.staleness_exponent.as_ref(),
    );
    match rounds_max {
        0 => {
            context.refuse_lone(path, exponent)?;
            Ok(LateUpdates::Drop)
        }
        _ => Ok(LateUpdates::Use {
            rounds_max,
            exponent: context.number(path, exponent, 0.0..=100.0, 0.5)?,
        }),
    }
}

fn check_coordinator(
    raw: &RawCoordinator,
    fleet: &[FleetGroup],
    context: &Context<'_>,
) -> Result<Coordinator, Fault> {
    let size = fleet.iter().map(|group| group.count).sum::<u32>();
    let has_fleet = size > 0;
    let most = if has_fleet { size } else { CLIENTS_MAX };
    let given = |path: &str, value: &Option<Spanned<Whole>>, most: u32, what: &str| {
        let Some(value) = value else {
            return Ok(None);
        };
        match context.whole(path, Some(value), 1..=most, 1u32) {
            Ok(value) => Ok(Some(value)),
            Err(mut fault) => {
                fault.help = Some(format!("`{path}`: a whole number from 1 to {most}, {what}"));
                Err(fault)
            }
        }
    };
    let clients_per_round = given(
        keys::CLIENTS_PER_ROUND,
        &raw.clients_per_round,
        most,
        if has_fleet {
            "the size of the fleet"
        } else {
            "the largest fleet"
        },
    )?
    .or(has_fleet.then_some(size));
    let quorum = given(
        keys::QUORUM,
        &raw.quorum,
        clients_per_round.unwrap_or(most),
        match (raw.clients_per_round.is_some(), has_fleet) {
            (true, _) => keys::CLIENTS_PER_ROUND,
            (false, true) => "the size of the fleet",
            (false, false) => "the largest fleet",
        },
    )?
    .or(clients_per_round.filter(|_| has_fleet));
    let over_selection = raw.over_selection.as_ref();
    let rest_rounds = raw.rest_rounds.as_ref();
    let rest_rounds = context.whole("coordinator.rest-rounds", rest_rounds, 0..=ROUNDS_MAX, 0)?;
    Ok(Coordinator {
        clients_per_round,
        over_selection: context.number(
            "coordinator.over-selection",
            over_selection,
            0.0..=10.0,
            0.0,
        )?,
        quorum,
        on_failed_round: check_on_failed_round(raw, context)?,
        rest_rounds,
        rest_rounds_max: context.whole(
            "coordinator.rest-rounds-max",
            raw.rest_rounds_max.as_ref(),
            rest_rounds..=ROUNDS_MAX,
            rest_rounds.saturating_mul(8).min(ROUNDS_MAX),
        )?,
        late_updates: check_late_updates(raw, context)?,
        target_accuracy: match &raw.target_accuracy {
            None => None,
            Some(target) if target.get_ref().0 > 0.0 && target.get_ref().0 <= 1.0 => {
                Some(target.get_ref().0)
            }
            Some(target) => {
                return Err(context.refuse("coordinator.target-accuracy", target.span()));
            }
        },
        port: context.whole(
            "coordinator.port",
            raw.port.as_ref(),
            0..=u32::from(u16::MAX),
            0,
        )?,
    })
}

pub(super) fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// The stem of the file, as far as a name can spell it.
fn default_name(file_name: &str) -> String {
    let stem = Path::new(file_name)
        .file_stem()
        .map(|stem| stem.to_string_lossy().to_lowercase())
        .unwrap_or_default();
    let name: String = stem
        .chars()
        .map(|letter| match letter {
            'a'..='z' | '0'..='9' => letter,
            _ => '-',
        })
        .take(NAME_BYTES_MAX)
        .collect();
    match name.trim_matches('-') {
        "" => "experiment".to_owned(),
        name => name.to_owned(),
    }
}
