//! Charts as SVG inside a page.
//!
//! Colours and fonts are classes, so that the page's style sheet decides them for
//! light, dark and paper. Each chart has a title and a description for who cannot
//! see it; what belongs to a curve is written beside it, and each axis says its
//! unit and, for a time, its clock. Sizes are in pixels of the drawing.

mod bars;
mod grid;
mod line;
mod parallel;
mod scatter;

pub(crate) use bars::{HorizontalBar, HorizontalBars, Stack, StackedBars};
pub(crate) use grid::{Category, Grid, Intensities};
pub(crate) use line::{Line, LineChart, Reference};
pub(crate) use parallel::{Coordinate, ParallelCoordinates, Polyline};
pub(crate) use scatter::{Dot, Scatter};

use std::fmt::Write;

use maud::{Markup, html};

use crate::number::{Clock, Unit, log_ticks, significant, tick_text, ticks};

/// Colours that curves have, by turns.
const COLOURS: usize = 6;
/// Mean width of a character of the small type.
const CHARACTER_WIDTH: f64 = 6.4;
/// Height of a line of it.
const LINE_HEIGHT: f64 = 15.0;

/// The class of the colour of a curve.
pub(crate) fn colour(index: usize) -> String {
    format!("s{}", index % COLOURS)
}

/// How wide a text is, about.
pub(crate) fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * CHARACTER_WIDTH
}

/// At most so many characters of a name.
pub(crate) fn shortened(text: &str, count_max: usize) -> String {
    match text.char_indices().nth(count_max) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default().trim_end()),
        None => text.to_owned(),
    }
}

/// What an axis shows.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    name: String,
    unit: Unit,
    clock: Option<Clock>,
    is_logarithmic: bool,
    has_zero: bool,
}

impl Axis {
    pub(crate) fn new(name: impl Into<String>, unit: Unit) -> Self {
        Self {
            name: name.into(),
            unit,
            clock: None,
            is_logarithmic: false,
            has_zero: false,
        }
    }

    /// Seconds on a clock.
    pub(crate) fn time(name: impl Into<String>, clock: Clock) -> Self {
        Self {
            clock: Some(clock),
            ..Self::new(name, Unit::Seconds)
        }
    }

    pub(crate) fn with_zero(self) -> Self {
        Self {
            has_zero: true,
            ..self
        }
    }

    pub(crate) fn logarithmic(self) -> Self {
        Self {
            is_logarithmic: true,
            ..self
        }
    }

    /// A value in the unit that the axis has for values up to `magnitude`, without
    /// it: it is beside the axis.
    fn show_bare(&self, value: f64, magnitude: f64) -> String {
        let (divisor, _) = self.unit.scaled(magnitude);
        let digits = if self.unit == Unit::Share { 4 } else { 3 };
        significant(value / divisor, digits)
    }

    /// A value with its unit.
    fn show(&self, value: f64) -> String {
        self.unit.show(value)
    }
}

/// An axis that knows its range and where it lies.
#[derive(Clone, Debug)]
struct Scale {
    low: f64,
    high: f64,
    start: f64,
    end: f64,
    is_logarithmic: bool,
    /// Where a tick stands, and its text.
    ticks: Vec<(f64, String)>,
    label: String,
}

impl Scale {
    /// For values from `low` to `high`, with about so many ticks.
    fn new(axis: &Axis, low: f64, high: f64, tick_count: usize) -> Self {
        let (mut low, mut high) = match low.is_finite() && high.is_finite() {
            true => (low, high),
            false => (0.0, 1.0),
        };
        if axis.has_zero && !axis.is_logarithmic {
            (low, high) = (low.min(0.0), high.max(0.0));
        }
        if low == high {
            // A single value stands in the middle, or above zero.
            let (wider_low, wider_high) = match low {
                0.0 => (0.0, 1.0),
                _ if axis.has_zero => (low, high),
                _ if axis.is_logarithmic => (low / 2.0, high * 2.0),
                _ => (low - low.abs() * 0.1, high + high.abs() * 0.1),
            };
            (low, high) = (wider_low, wider_high);
        }
        let (divisor, unit) = axis.unit.scaled(low.abs().max(high.abs()));
        let is_logarithmic = axis.is_logarithmic && low > 0.0;
        let ticks = if is_logarithmic {
            log_ticks(low / divisor, high / divisor)
                .into_iter()
                .map(|tick| (tick * divisor, significant(tick, 1)))
                .collect()
        } else {
            let (mut places, decimals) = ticks(low / divisor, high / divisor, tick_count);
            if matches!(axis.unit, Unit::Count(_)) && high - low >= 2.0 {
                // There is no half of a thing.
                places.retain(|place| place.fract() == 0.0);
            }
            let decimals = match axis.unit {
                Unit::Count(_) if high - low >= 2.0 => 0,
                _ => decimals,
            };
            places
                .into_iter()
                .map(|tick| (tick * divisor, tick_text(tick, decimals)))
                .collect()
        };
        let label = match (unit, axis.clock) {
            // The name of an axis of things is what they are.
            ("", None) => axis.name.clone(),
            (unit, None) if matches!(axis.unit, Unit::Count(_)) && axis.name == unit => {
                axis.name.clone()
            }
            (unit, None) => format!("{} ({unit})", axis.name),
            (unit, Some(clock)) => format!("{} ({unit}, {})", axis.name, clock.text()),
        };
        Self {
            low,
            high,
            start: 0.0,
            end: 1.0,
            is_logarithmic,
            ticks,
            label,
        }
    }

    fn between(mut self, start: f64, end: f64) -> Self {
        (self.start, self.end) = (start, end);
        self
    }

    /// Widens it to the ticks around its values.
    fn rounded(mut self) -> Self {
        let places: Vec<f64> = self.ticks.iter().map(|(place, _)| *place).collect();
        if let [first, .., last] = places.as_slice()
            && !self.is_logarithmic
        {
            let step = (last - first) / (places.len() - 1) as f64;
            // A curve may come near to its frame.
            if self.high - last > step * 0.02 {
                self.high = self.high.max(last + step * 0.35);
            }
            if first - self.low > step * 0.02 && self.low > 0.0 {
                self.low = (self.low - step * 0.1).max(0.0);
            }
        }
        self
    }

    fn place(&self, value: f64) -> f64 {
        let share = if self.is_logarithmic {
            (value.max(f64::MIN_POSITIVE) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.start + share.clamp(-0.05, 1.05) * (self.end - self.start)
    }

    fn tick_width(&self) -> f64 {
        let widths = self.ticks.iter().map(|(_, text)| text_width(text));
        widths.fold(0.0, f64::max)
    }
}

/// The room that a chart has for what it shows.
#[derive(Clone, Copy, Debug)]
struct Room {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

/// Grid, ticks and labels of two axes.
fn frame(x: &Scale, y: &Scale, room: Room) -> Markup {
    let middle = f64::midpoint(room.left, room.right);
    html! {
        g class="axis" {
            @for (place, text) in &y.ticks {
                @let at = px(y.place(*place));
                line class="grid" x1=(px(room.left)) x2=(px(room.right)) y1=(at) y2=(at) {}
                text class="tick end" x=(px(room.left - 7.0)) y=(at) dy="0.34em" { (text) }
            }
            line class="base" x1=(px(room.left)) x2=(px(room.right))
                y1=(px(room.bottom)) y2=(px(room.bottom)) {}
            @for (place, text) in &x.ticks {
                @let at = px(x.place(*place));
                line class="base" x1=(at) x2=(at) y1=(px(room.bottom)) y2=(px(room.bottom + 4.0)) {}
                text class="tick middle" x=(at) y=(px(room.bottom + 18.0)) { (text) }
            }
            text class="label y-label" x="0" y="12" { (y.label) }
            text class="label middle x-label" x=(px(middle)) y=(px(room.bottom + 38.0)) { (x.label) }
        }
    }
}

/// The drawing of a chart, with words for those who cannot see it.
fn drawing(width: f64, height: f64, title: &str, description: &str, content: &Markup) -> Markup {
    // Text that belongs to the picture, so that no number is needed to name it.
    html! {
        svg class="chart" viewBox=(format!("0 0 {} {}", px(width), px(height)))
            style=(format!("max-width:{}px", px(width)))
            role="img" aria-label=(format!("{title}. {description}")) {
            title { (title) }
            desc { (description) }
            (content)
        }
    }
}

/// A coordinate, to a tenth of a pixel.
fn px(value: f64) -> String {
    let mut text = format!("{value:.1}");
    if text.ends_with(".0") {
        text.truncate(text.len() - 2);
    }
    match text.as_str() {
        "-0" => "0".to_owned(),
        _ => text,
    }
}

/// The path through points; what is no number parts it.
fn path(points: impl IntoIterator<Item = (f64, f64)>) -> String {
    let mut text = String::new();
    let mut is_down = false;
    for (x, y) in points {
        if !x.is_finite() || !y.is_finite() {
            is_down = false;
            continue;
        }
        let command = if is_down { 'L' } else { 'M' };
        let _ = write!(text, "{command}{} {}", px(x), px(y));
        is_down = true;
    }
    text
}

/// Moves labels that would lie on each other apart, between two heights; in the
/// order given.
fn spread(heights: &[f64], low: f64, high: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..heights.len()).collect();
    let height = |index: &usize| heights.get(*index).copied().unwrap_or_default();
    order.sort_by(|one, other| height(one).total_cmp(&height(other)));
    let mut placed: Vec<(usize, f64)> = order.iter().map(|index| (*index, height(index))).collect();
    let mut free = low;
    for (_, place) in &mut placed {
        *place = place.max(free);
        free = *place + LINE_HEIGHT;
    }
    let mut free = high;
    for (_, place) in placed.iter_mut().rev() {
        *place = place.min(free);
        free = *place - LINE_HEIGHT;
    }
    placed.sort_by_key(|(index, _)| *index);
    placed.into_iter().map(|(_, place)| place).collect()
}

/// The least and the greatest of the numbers among values.
fn extent(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    values
        .into_iter()
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_moved_apart_in_their_order() {
        assert_eq!(spread(&[50.0, 52.0, 10.0], 0.0, 100.0), [50.0, 65.0, 10.0]);
        assert_eq!(spread(&[98.0, 99.0], 0.0, 100.0), [85.0, 100.0]);
        assert!(spread(&[], 0.0, 100.0).is_empty());
    }

    #[test]
    fn a_path_is_parted_where_there_is_no_number() {
        let points = [(0.0, 1.0), (1.0, f64::NAN), (2.0, 3.04), (3.0, 4.06)];
        assert_eq!(path(points), "M0 1M2 3L3 4.1");
    }

    #[test]
    fn an_axis_says_its_unit_and_clock() {
        for (axis, high, label) in [
            (
                Axis::time("time", Clock::Device),
                12.0,
                "time (s, device clock)",
            ),
            (
                Axis::time("time", Clock::DeviceAndLink),
                0.02,
                "time (ms, device + link clock)",
            ),
            (Axis::new("messages", Unit::Bytes), 2e6, "messages (MB)"),
            (Axis::new("round", Unit::Plain), 20.0, "round"),
            (
                Axis::new("loss", Unit::Named("nats".into())),
                2.0,
                "loss (nats)",
            ),
        ] {
            assert_eq!(Scale::new(&axis, 0.0, high, 5).label, label);
        }
    }

    #[test]
    fn values_have_their_place() {
        let scale = Scale::new(&Axis::new("x", Unit::Plain), 0.0, 10.0, 5).between(100.0, 0.0);
        assert_eq!(scale.place(2.5), 75.0);
        let axis = Axis::new("x", Unit::Bytes).logarithmic();
        let scale = Scale::new(&axis, 1.0, 10_000.0, 5).between(0.0, 4.0);
        assert!((scale.place(100.0) - 2.0).abs() < 1e-9);
        // A logarithm of what is not positive is none.
        let scale = Scale::new(&axis, 0.0, 10_000.0, 5).between(0.0, 4.0);
        assert!(!scale.is_logarithmic);
    }
}
