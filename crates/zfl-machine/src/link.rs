//! Links that one can have: one TOML file for each.
//!
//! What lies between a device and the coordinator, as figures: rates, delay,
//! loss and the like, each with where it is from and whether anybody has looked
//! it up there, as the profiles of microcontrollers have it ([`crate::mcu`]).
//! Here they are numbers; `zfl-net` has the model that they are for, and
//! `docs/links.md` the table and what each means.

use serde::Deserialize;
use toml::Spanned;

use crate::board::{Fault, word};
use crate::catalogue::{
    Catalogue, CatalogueError, Figure, RawFigure, catalogued, files, unverified,
};

/// The links of this program: from the fastest to the slowest.
const CATALOGUE: Catalogue = Catalogue {
    noun: "link",
    folder: "links",
    embedded: files![
        "links/",
        "ethernet",
        "wifi",
        "satellite",
        "ble",
        "lte-m",
        "ieee802154",
        "nb-iot",
    ],
};

/// The link that a fleet has where nothing else is said.
pub const DEFAULT_NAME: &str = "ethernet";

/// A kind of link. Made by reading its file, and by nothing else; all figures
/// are finite and within the limits of `docs/links.md`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LinkProfile {
    /// How it is called in experiments.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// Kilobits (10³ bits) that a device may send each second; 0: without limit.
    pub rate_up_kbps: Figure,
    /// Kilobits that a device may be sent each second; 0: without limit.
    pub rate_down_kbps: Figure,
    /// Bytes of time that each frame takes beside its own.
    pub overhead_bytes: Figure,
    /// Bytes that may pass at once after a pause.
    pub burst_bytes: Figure,
    /// Mean delay one way, in milliseconds.
    pub delay_ms: Figure,
    /// How far the delay varies each way from its mean; at most the delay.
    pub jitter_ms: Figure,
    /// The share of frames that are lost, each way.
    pub loss: Figure,
    /// Bytes that may wait to be sent, each way.
    pub queue_bytes: Figure,
    /// The largest IP packet, in bytes.
    pub mtu_bytes: Figure,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RawLink {
    name: Spanned<String>,
    description: String,
    rate_up_kbps: RawFigure,
    rate_down_kbps: RawFigure,
    overhead_bytes: RawFigure,
    burst_bytes: RawFigure,
    delay_ms: RawFigure,
    jitter_ms: RawFigure,
    loss: RawFigure,
    queue_bytes: RawFigure,
    mtu_bytes: RawFigure,
}

catalogued!(LinkProfile);

impl LinkProfile {
    /// The links of this program. An item is an error only if a file that was
    /// built in is wrong.
    pub fn all() -> impl Iterator<Item = Result<Self, CatalogueError>> {
        Self::names().map(Self::named)
    }

    fn check(raw: RawLink) -> Result<Self, Fault> {
        raw.jitter_ms
            .check_at_most("jitter-ms", &raw.delay_ms, "delay-ms")?;
        Ok(Self {
            name: word(raw.name, "name", "-")?,
            description: raw.description,
            rate_up_kbps: raw.rate_up_kbps.check("rate-up-kbps", 0.0..=1e7)?,
            rate_down_kbps: raw.rate_down_kbps.check("rate-down-kbps", 0.0..=1e7)?,
            overhead_bytes: raw.overhead_bytes.check("overhead-bytes", 0.0..=65_535.0)?,
            burst_bytes: raw.burst_bytes.check("burst-bytes", 0.0..=1e9)?,
            delay_ms: raw.delay_ms.check("delay-ms", 0.0..=60_000.0)?,
            jitter_ms: raw.jitter_ms.check("jitter-ms", 0.0..=60_000.0)?,
            loss: raw.loss.check("loss", 0.0..=1.0)?,
            queue_bytes: raw.queue_bytes.check("queue-bytes", 1.0..=1e9)?,
            mtu_bytes: raw.mtu_bytes.check("mtu-bytes", 128.0..=1_500.0)?,
        })
    }

    /// Every figure under its name in the file, in the file's order.
    pub fn figures(&self) -> [(&'static str, &Figure); 9] {
        [
            ("rate-up-kbps", &self.rate_up_kbps),
            ("rate-down-kbps", &self.rate_down_kbps),
            ("overhead-bytes", &self.overhead_bytes),
            ("burst-bytes", &self.burst_bytes),
            ("delay-ms", &self.delay_ms),
            ("jitter-ms", &self.jitter_ms),
            ("loss", &self.loss),
            ("queue-bytes", &self.queue_bytes),
            ("mtu-bytes", &self.mtu_bytes),
        ]
    }

    /// The names of the figures that nobody has looked up, in the file's order.
    pub fn unverified(&self) -> impl Iterator<Item = &'static str> {
        unverified(self.figures())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::tests::{check_complete, check_estimates};

    const DOCUMENT: &str = include_str!("../../../docs/links.md");

    #[test]
    fn every_link_is_embedded_and_right() {
        check_complete(
            &CATALOGUE,
            LinkProfile::all().map(|link| link.unwrap().name),
        );
    }

    #[test]
    fn an_estimate_is_not_verified() {
        for link in LinkProfile::all().map(Result::unwrap) {
            check_estimates(&link.name, link.figures());
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known() {
        assert_eq!(
            LinkProfile::named("wiffi").unwrap_err().to_string(),
            "no link `wiffi`, did you mean `wifi`?; known links: ethernet, wifi, satellite, ble, \
             lte-m, ieee802154, nb-iot"
        );
    }

    /// The error of the file of `ble` in which `from` reads `to`.
    #[track_caller]
    fn check(from: &str, to: &str, expected: &str) {
        let (_, text) = CATALOGUE
            .embedded
            .iter()
            .find(|(name, _)| *name == "ble")
            .unwrap();
        assert_eq!(text.matches(from).count(), 1, "{from}");
        let error = LinkProfile::parse("l.toml", &text.replace(from, to)).unwrap_err();
        let message = error.to_string();
        let place = message.strip_prefix("l.toml:").unwrap();
        let (_, message) = place.split_once(": ").unwrap();
        assert_eq!(message, expected);
    }

    #[test]
    fn an_impossible_value_says_what_is_allowed() {
        check(
            "[loss]\nvalue = 0\n",
            "[loss]\nvalue = 1.5\n",
            "loss is 1.5; allowed are 0 to 1",
        );
        check(
            "[jitter-ms]\nvalue = 15\n",
            "[jitter-ms]\nvalue = 16\n",
            "jitter-ms is 16; allowed is at most the 15 of delay-ms",
        );
        check(
            "[mtu-bytes]\nvalue = 1_280\n",
            "[mtu-bytes]\nvalue = 1_501\n",
            "mtu-bytes is 1501; allowed are 128 to 1500",
        );
        check("name = \"ble\"\n", "", "missing field `name`");
    }

    /// A link's row of the table in the document.
    fn row(link: &LinkProfile) -> String {
        let cells = link.figures().map(|(_, figure)| {
            let mark = if figure.is_verified { "" } else { "?" };
            format!("{}{mark}", figure.value)
        });
        format!("| `{}` | {} |\n", link.name, cells.join(" | "))
    }

    #[test]
    fn the_document_has_the_table_of_all_links() {
        let links: Vec<LinkProfile> = LinkProfile::all().map(Result::unwrap).collect();
        let rows: String = links.iter().map(row).collect();
        assert!(DOCUMENT.contains(&rows), "should have the rows\n{rows}");
        let figures = links.len() * links[0].figures().len();
        let unverified: usize = links.iter().map(|link| link.unverified().count()).sum();
        let sum = format!("{unverified} of {figures}");
        assert!(DOCUMENT.contains(&sum), "should have {sum}");
    }
}
