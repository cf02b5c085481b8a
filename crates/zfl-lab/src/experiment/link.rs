//! The links of an experiment: `[link.NAME]`.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;
use zfl_machine::link::DEFAULT_NAME;
use zfl_machine::{LinkProfile, nearest};
use zfl_net::lane::{FlightOptions, LaneOptions};
use zfl_net::link as net;
pub use zfl_net::link::{Outage, OutageCycle};
use zfl_net::switch::PortOptions;

use super::error::Fault;
use super::raw::{Context, Number, Whole, is_name};

/// Most outages of a link that are given one by one.
pub const OUTAGES_MAX: usize = 1_000;
/// Latest begin of an outage, and its longest duration: a year.
const OUTAGE_S_MAX: f64 = 31_536_000.0;

const RATES_KBPS: RangeInclusive<f64> = 0.0..=1e7;
const MILLISECONDS: RangeInclusive<f64> = 0.0..=60_000.0;
const SHARES: RangeInclusive<f64> = 0.0..=1.0;

/// A link of the experiment, complete: what its file leaves out is what it is
/// based on. Both directions have the same figures, but for the rate.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// Kilobits (10³ bits) from the device each second; 0: without limit.
    pub rate_up_kbps: f64,
    /// Kilobits to the device each second; 0: without limit.
    pub rate_down_kbps: f64,
    /// Bytes of time that each frame takes beside its own.
    pub overhead_bytes: u32,
    /// Bytes that may pass at once after a pause.
    pub burst_bytes: u32,
    /// Mean delay of each direction.
    pub delay_ms: f64,
    /// The delay is uniform in `delay_ms` ± `jitter_ms`; at most the delay.
    pub jitter_ms: f64,
    /// Whether a frame may overtake another.
    pub reorder: bool,
    /// The share of frames that are lost, outside of bursts.
    pub loss: f64,
    /// Loss in bursts.
    pub burst_loss: Option<BurstLoss>,
    /// The share of frames that come twice.
    pub duplicate: f64,
    /// The share of frames of which a bit is changed.
    pub corrupt: f64,
    /// Bytes that may wait to be sent.
    pub queue_bytes: u32,
    /// The largest IP packet.
    pub mtu_bytes: u16,
    /// When nothing passes; at most [`OUTAGES_MAX`].
    pub outages: Vec<Outage>,
    /// When nothing passes, again and again.
    pub outage_cycle: Option<OutageCycle>,
}

/// Loss in bursts, as Gilbert and Elliott have it
/// ([`zfl_net::link::BurstLoss`]); each from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BurstLoss {
    /// How often a frame begins a burst.
    pub begin: f64,
    /// How often a frame ends it.
    pub end: f64,
    /// The share of frames that are lost in a burst.
    pub loss: f64,
}

impl From<&LinkProfile> for Link {
    fn from(profile: &LinkProfile) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "limits of the profile's figures"
        )]
        let whole = |value: f64| value.round() as u32;
        Self {
            rate_up_kbps: profile.rate_up_kbps.value,
            rate_down_kbps: profile.rate_down_kbps.value,
            overhead_bytes: whole(profile.overhead_bytes.value),
            burst_bytes: whole(profile.burst_bytes.value),
            delay_ms: profile.delay_ms.value,
            jitter_ms: profile.jitter_ms.value,
            reorder: false,
            loss: profile.loss.value,
            burst_loss: None,
            duplicate: 0.0,
            corrupt: 0.0,
            queue_bytes: whole(profile.queue_bytes.value),
            mtu_bytes: u16::try_from(whole(profile.mtu_bytes.value)).unwrap_or(u16::MAX),
            outages: Vec::new(),
            outage_cycle: None,
        }
    }
}

impl Link {
    /// The link of this program's catalogue called `name`.
    pub fn built_in(name: &str) -> Option<Self> {
        LinkProfile::named(name).ok().as_ref().map(Self::from)
    }

    /// A port of the switch with this link.
    pub fn port_options(&self) -> PortOptions {
        let lane = |rate_kbps: f64, flight| LaneOptions {
            link: self.link_options(rate_kbps),
            queue_bytes_max: bytes(self.queue_bytes),
            flight,
        };
        PortOptions {
            uplink: lane(self.rate_up_kbps, None),
            downlink: lane(self.rate_down_kbps, Some(FlightOptions::LAN9118)),
        }
    }

    fn link_options(&self, rate_kbps: f64) -> net::LinkOptions {
        let (rate, burst_bytes) = match rate_kbps > 0.0 {
            true => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "checked when it was read"
                )]
                let bits = (rate_kbps * 1000.0).round() as u64;
                (net::LinkRate::bits_per_second(bits), self.burst_bytes)
            }
            false => (net::LinkRate::UNLIMITED, 0),
        };
        let milliseconds = |ms: f64| Duration::from_secs_f64(ms / 1000.0);
        net::LinkOptions {
            rate,
            burst_bytes: bytes(burst_bytes),
            overhead_bytes: bytes(self.overhead_bytes),
            delay: milliseconds(self.delay_ms),
            jitter: milliseconds(self.jitter_ms),
            reorder: self.reorder,
            loss: net::Probability::new(self.loss),
            burst_loss: self.burst_loss.map(|bursts| net::BurstLoss {
                begin: net::Probability::new(bursts.begin),
                end: net::Probability::new(bursts.end),
                loss: net::Probability::new(bursts.loss),
            }),
            duplicate: net::Probability::new(self.duplicate),
            corrupt: net::Probability::new(self.corrupt),
            mtu_bytes: usize::from(self.mtu_bytes),
            outages: net::Outages {
                windows: self.outages.clone(),
                cycle: self.outage_cycle,
            },
        }
    }
}

fn bytes(bytes: u32) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
pub(super) struct RawLink {
    based_on: Option<Spanned<String>>,
    rate_up_kbps: Option<Spanned<Number>>,
    rate_down_kbps: Option<Spanned<Number>>,
    overhead_bytes: Option<Spanned<Whole>>,
    burst_bytes: Option<Spanned<Whole>>,
    delay_ms: Option<Spanned<Number>>,
    jitter_ms: Option<Spanned<Number>>,
    reorder: Option<bool>,
    loss: Option<Spanned<Number>>,
    burst_loss: Option<Spanned<RawBurstLoss>>,
    duplicate: Option<Spanned<Number>>,
    corrupt: Option<Spanned<Number>>,
    queue_bytes: Option<Spanned<Whole>>,
    mtu_bytes: Option<Spanned<Whole>>,
    outages: Option<Spanned<Vec<Spanned<RawOutage>>>>,
    outage_cycle: Option<Spanned<RawOutageCycle>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct RawBurstLoss {
    begin: Option<Spanned<Number>>,
    end: Option<Spanned<Number>>,
    loss: Option<Spanned<Number>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct RawOutage {
    from_s: Spanned<Number>,
    for_s: Spanned<Number>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct RawOutageCycle {
    every_s: Option<Spanned<Number>>,
    for_s: Option<Spanned<Number>>,
}

type RawLinks = BTreeMap<String, Spanned<RawLink>>;

/// The links of an experiment by name, each with what it is based on.
pub(super) fn check_links(
    raw: &RawLinks,
    context: &Context<'_>,
) -> Result<BTreeMap<String, Link>, Fault> {
    // In the order of the file, so that the first fault of the file is told.
    let mut in_order: Vec<(&String, &Spanned<RawLink>)> = raw.iter().collect();
    in_order.sort_by_key(|(_, link)| link.span().start);
    for (name, link) in &in_order {
        check_name(name, link.span())?;
    }
    let mut links = BTreeMap::new();
    for (name, _) in in_order {
        resolve(name, raw, &mut links, &mut Vec::new(), context)?;
    }
    Ok(links)
}

fn check_name(name: &str, span: Range<usize>) -> Result<(), Fault> {
    if LinkProfile::names().any(|known| known == name) {
        return Err(Fault {
            span,
            message: format!("`{name}` is the name of a built-in link"),
            help: Some(format!(
                "give yours another name, and `based-on = \"{name}\"` to begin with its figures"
            )),
        });
    }
    if is_name(name) {
        return Ok(());
    }
    Err(Fault {
        span,
        message: format!("`{name}` is not a name for a link"),
        help: Some("1 to 64 of the characters a-z, 0-9 and -".into()),
    })
}

/// The link called `name`, and before it what it is based on. `above` are those
/// that are based on it.
fn resolve<'r>(
    name: &'r str,
    raw: &'r RawLinks,
    links: &mut BTreeMap<String, Link>,
    above: &mut Vec<&'r str>,
    context: &Context<'_>,
) -> Result<(), Fault> {
    let Some(table) = raw.get(name).filter(|_| !links.contains_key(name)) else {
        return Ok(());
    };
    let given = table.get_ref();
    let base = match &given.based_on {
        None => Link::built_in(DEFAULT_NAME),
        Some(base) => {
            above.push(name);
            let base_name = base.get_ref().as_str();
            if above.contains(&base_name) {
                return Err(Fault {
                    span: base.span(),
                    message: format!("links are based on each other: {}", above.join(", ")),
                    help: Some("one of them must be based on a built-in link, or on none".into()),
                });
            }
            resolve(base_name, raw, links, above, context)?;
            find(base_name, links)
        }
    };
    let Some(base) = base else {
        let span = given
            .based_on
            .as_ref()
            .map_or_else(|| table.span(), Spanned::span);
        return Err(unknown(span, raw.keys(), context));
    };
    let link = check_link(name, given, base, context)?;
    links.insert(name.to_owned(), link);
    Ok(())
}

/// The link of the experiment, or else of the catalogue.
pub(super) fn find(name: &str, links: &BTreeMap<String, Link>) -> Option<Link> {
    links.get(name).cloned().or_else(|| Link::built_in(name))
}

fn unknown<'n>(
    span: Range<usize>,
    own: impl Iterator<Item = &'n String>,
    context: &Context<'_>,
) -> Fault {
    let mut known: Vec<&str> = own.map(String::as_str).collect();
    for name in LinkProfile::names() {
        known.push(name);
    }
    let quoted = context.sources.quote(&span);
    let guess = match nearest(quoted.trim_matches('"'), known.iter().copied()) {
        Some(guess) => format!("did you mean `{guess}`? "),
        None => String::new(),
    };
    Fault {
        message: format!("no link {quoted}"),
        help: Some(format!(
            "{guess}known links: {}; or a table [link.NAME]",
            known.join(", ")
        )),
        span,
    }
}

/// The link of a fleet entry.
pub(super) fn check_choice(
    path: &str,
    name: Option<&Spanned<String>>,
    links: &BTreeMap<String, Link>,
    is_bridge: bool,
    context: &Context<'_>,
) -> Result<String, Fault> {
    let Some(name) = name else {
        return Ok(DEFAULT_NAME.to_owned());
    };
    let span = name.span();
    if find(name.get_ref(), links).is_none() {
        return Err(unknown(span, links.keys(), context));
    }
    if is_bridge && name.get_ref() != DEFAULT_NAME {
        return Err(Fault {
            message: format!(
                "`{path}` is {}, but `network` is \"bridge\"",
                context.sources.quote(&span)
            ),
            help: Some(
                "a bridge passes frames as the kernel does and has no links: use \
                 `network = \"switch\"`, or leave the link out"
                    .into(),
            ),
            span,
        });
    }
    Ok(name.get_ref().clone())
}

fn check_link(name: &str, raw: &RawLink, base: Link, context: &Context<'_>) -> Result<Link, Fault> {
    let path = |key: &str| format!("link.{name}.{key}");
    let number = |key: &str, value: &Option<Spanned<Number>>, allowed, default: f64| {
        context.number(&path(key), value.as_ref(), allowed, default)
    };
    let whole = |key: &str, value: &Option<Spanned<Whole>>, allowed, default: u32| {
        context.whole(&path(key), value.as_ref(), allowed, default)
    };
    let delay_ms = number("delay-ms", &raw.delay_ms, MILLISECONDS, base.delay_ms)?;
    let jitter_ms = number("jitter-ms", &raw.jitter_ms, MILLISECONDS, base.jitter_ms)?;
    if jitter_ms > delay_ms {
        // Of the two the one that the table itself gives is at fault.
        let (key, at) = match (&raw.jitter_ms, &raw.delay_ms) {
            (Some(jitter), _) => ("jitter-ms", jitter.span()),
            (None, Some(delay)) => ("delay-ms", delay.span()),
            (None, None) => ("jitter-ms", 0..0),
        };
        return Err(Fault {
            span: at,
            message: format!("jitter of {jitter_ms} ms with a delay of {delay_ms} ms"),
            help: Some(format!(
                "`{}`: the delay is uniform in delay-ms ± jitter-ms, so that jitter-ms is at most \
                 delay-ms",
                path(key)
            )),
        });
    }
    Ok(Link {
        rate_up_kbps: number(
            "rate-up-kbps",
            &raw.rate_up_kbps,
            RATES_KBPS,
            base.rate_up_kbps,
        )?,
        rate_down_kbps: number(
            "rate-down-kbps",
            &raw.rate_down_kbps,
            RATES_KBPS,
            base.rate_down_kbps,
        )?,
        overhead_bytes: whole(
            "overhead-bytes",
            &raw.overhead_bytes,
            0..=65_535,
            base.overhead_bytes,
        )?,
        burst_bytes: whole(
            "burst-bytes",
            &raw.burst_bytes,
            0..=1_000_000_000,
            base.burst_bytes,
        )?,
        delay_ms,
        jitter_ms,
        reorder: raw.reorder.unwrap_or(base.reorder),
        loss: number("loss", &raw.loss, SHARES, base.loss)?,
        burst_loss: check_burst_loss(&path("burst-loss"), raw, base.burst_loss, context)?,
        duplicate: number("duplicate", &raw.duplicate, SHARES, base.duplicate)?,
        corrupt: number("corrupt", &raw.corrupt, SHARES, base.corrupt)?,
        queue_bytes: whole(
            "queue-bytes",
            &raw.queue_bytes,
            1..=1_000_000_000,
            base.queue_bytes,
        )?,
        mtu_bytes: context.whole(
            &path("mtu-bytes"),
            raw.mtu_bytes.as_ref(),
            128..=1_500,
            base.mtu_bytes,
        )?,
        outages: check_outages(&path("outages"), raw, base.outages, context)?,
        outage_cycle: check_cycle(&path("outage-cycle"), raw, base.outage_cycle, context)?,
    })
}

/// A table is there and a key that it needs is neither in it nor in what it is
/// based on.
fn missing(path: &str, key: &str, span: Range<usize>, context: &Context<'_>) -> Fault {
    context.fault(path, span, format!("`{path}`: missing key `{key}`"))
}

fn check_burst_loss(
    path: &str,
    raw: &RawLink,
    base: Option<BurstLoss>,
    context: &Context<'_>,
) -> Result<Option<BurstLoss>, Fault> {
    let Some(table) = &raw.burst_loss else {
        return Ok(base);
    };
    let given = table.get_ref();
    let number = |key: &str, value: &Option<Spanned<Number>>, base: Option<f64>| {
        if value.is_none() && base.is_none() {
            return Err(missing(path, key, table.span(), context));
        }
        let path = format!("{path}.{key}");
        context.number(&path, value.as_ref(), SHARES, base.unwrap_or_default())
    };
    Ok(Some(BurstLoss {
        begin: number("begin", &given.begin, base.map(|base| base.begin))?,
        end: number("end", &given.end, base.map(|base| base.end))?,
        loss: number(
            "loss",
            &given.loss,
            base.map_or(Some(1.0), |base| Some(base.loss)),
        )?,
    }))
}

fn check_outages(
    path: &str,
    raw: &RawLink,
    base: Vec<Outage>,
    context: &Context<'_>,
) -> Result<Vec<Outage>, Fault> {
    let Some(list) = &raw.outages else {
        return Ok(base);
    };
    if list.get_ref().len() > OUTAGES_MAX {
        let count = list.get_ref().len();
        return Err(context.fault(path, list.span(), format!("{count} outages")));
    }
    let seconds = |index: usize, key: &str, value: &Spanned<Number>| {
        let path = format!("{path}.{index}.{key}");
        let seconds = context.number(&path, Some(value), 0.0..=OUTAGE_S_MAX, 0.0)?;
        Ok(Duration::from_secs_f64(seconds))
    };
    let outages = list.get_ref().iter().enumerate();
    outages
        .map(|(index, outage)| {
            Ok(Outage {
                from: seconds(index, "from-s", &outage.get_ref().from_s)?,
                lasts: seconds(index, "for-s", &outage.get_ref().for_s)?,
            })
        })
        .collect()
}

fn check_cycle(
    path: &str,
    raw: &RawLink,
    base: Option<OutageCycle>,
    context: &Context<'_>,
) -> Result<Option<OutageCycle>, Fault> {
    let Some(table) = &raw.outage_cycle else {
        return Ok(base);
    };
    let seconds = |key: &str, value: &Option<Spanned<Number>>, base: Option<Duration>, least| {
        let Some(value) = value else {
            return base.ok_or_else(|| missing(path, key, table.span(), context));
        };
        let path = format!("{path}.{key}");
        let seconds = context.number(&path, Some(value), least..=OUTAGE_S_MAX, 0.0)?;
        Ok(Duration::from_secs_f64(seconds))
    };
    let given = table.get_ref();
    let every = seconds(
        "every-s",
        &given.every_s,
        base.map(|base| base.every),
        0.001,
    )?;
    let lasts = seconds("for-s", &given.for_s, base.map(|base| base.lasts), 0.0)?;
    if lasts >= every {
        return Err(Fault {
            span: table.span(),
            message: format!(
                "outages of {} s every {} s",
                lasts.as_secs_f64(),
                every.as_secs_f64()
            ),
            help: Some(format!("`{path}.for-s`: seconds from 0, less than every-s")),
        });
    }
    Ok(Some(OutageCycle { every, lasts }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_link_is_the_default_port() {
        let link = Link::built_in(DEFAULT_NAME).unwrap();
        assert_eq!(link.port_options(), PortOptions::default());
    }
}
