//! Bars: stacked over rounds, or lying, each with a limit.

use std::fmt::Write;

use maud::{Markup, html};

use super::{Axis, Room, Scale, drawing, frame, px, shortened, spread, text_width};

/// One kind of piece of all bars.
#[derive(Clone, Debug)]
pub(crate) struct Stack {
    pub(crate) name: String,
    /// The class of its colour.
    pub(crate) class: String,
    /// Its height in each bar.
    pub(crate) values: Vec<f64>,
}

/// Bars of pieces on each other.
#[derive(Clone, Debug)]
pub(crate) struct StackedBars {
    pub(crate) title: String,
    pub(crate) width: f64,
    pub(crate) height: f64,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    /// From where to where each bar reaches.
    pub(crate) spans: Vec<(f64, f64)>,
    /// From the lowest up.
    pub(crate) stacks: Vec<Stack>,
}

impl StackedBars {
    pub(crate) fn draw(&self) -> Markup {
        let mut tops = vec![0.0; self.spans.len()];
        // Each stack's lower and upper edges.
        let edges: Vec<Vec<(f64, f64)>> = self
            .stacks
            .iter()
            .map(|stack| {
                tops.iter_mut()
                    .zip(&stack.values)
                    .map(|(top, value)| {
                        let low = *top;
                        *top += if value.is_finite() {
                            value.max(0.0)
                        } else {
                            0.0
                        };
                        (low, *top)
                    })
                    .collect()
            })
            .collect();
        let high = tops.iter().copied().fold(0.0, f64::max);
        let y = Scale::new(&self.y.clone().with_zero(), 0.0, high, 5).rounded();
        let names_width = self
            .stacks
            .iter()
            .map(|stack| text_width(&stack.name))
            .fold(0.0, f64::max);
        let room = Room {
            left: (y.tick_width() + 10.0).max(26.0),
            right: self.width - names_width - 14.0,
            top: 26.0,
            bottom: self.height - 46.0,
        };
        let y = y.between(room.bottom, room.top);
        let first = self.spans.first().map_or(0.0, |span| span.0);
        let last = self.spans.last().map_or(1.0, |span| span.1);
        let tick_count = (((room.right - room.left) / 60.0) as usize).clamp(2, 10);
        let x = Scale::new(&self.x, first, last, tick_count).between(room.left, room.right);
        let wide = self.spans.len().max(1) as f64;
        let gap = ((room.right - room.left) / wide * 0.16).min(3.0);
        // The names stand beside the last bar that has something.
        let at_end: Vec<(usize, f64)> = edges
            .iter()
            .enumerate()
            .filter_map(|(index, edges)| {
                let (low, high) = edges.last()?;
                Some((index, f64::midpoint(y.place(*low), y.place(*high))))
            })
            .collect();
        let heights: Vec<f64> = at_end.iter().map(|(_, height)| *height).collect();
        let places = spread(&heights, room.top, room.bottom);
        let content = html! {
            (frame(&x, &y, room))
            @for (stack, edges) in self.stacks.iter().zip(&edges) {
                path class=(format!("area {}", stack.class)) d=(self.bars(edges, &x, &y, gap)) {}
            }
            @for ((index, height), place) in at_end.iter().zip(places) {
                @if let Some(stack) = self.stacks.get(*index) {
                    @if (place - height).abs() > 2.0 {
                        line class="leader" x1=(px(room.right)) y1=(px(*height))
                            x2=(px(room.right + 5.0)) y2=(px(place)) {}
                    }
                    text class=(format!("direct {}", stack.class)) x=(px(room.right + 8.0))
                        y=(px(place)) dy="0.34em" { (stack.name) }
                }
            }
        };
        let words: Vec<String> = self
            .stacks
            .iter()
            .map(|stack| {
                let sum: f64 = stack.values.iter().filter(|value| value.is_finite()).sum();
                let count = stack.values.len().max(1) as f64;
                format!("{}: {} in the mean.", stack.name, self.y.show(sum / count))
            })
            .collect();
        drawing(
            self.width,
            self.height,
            &self.title,
            &words.join(" "),
            &content,
        )
    }

    fn bars(&self, edges: &[(f64, f64)], x: &Scale, y: &Scale, gap: f64) -> String {
        let mut text = String::new();
        for ((from, to), (low, high)) in self.spans.iter().zip(edges) {
            if high > low {
                let (left, right) = (x.place(*from) + gap / 2.0, x.place(*to) - gap / 2.0);
                let _ = write!(
                    text,
                    "M{} {}H{}V{}H{}Z",
                    px(left),
                    px(y.place(*low)),
                    px(right),
                    px(y.place(*high)),
                    px(left)
                );
            }
        }
        text
    }
}

/// A bar of [`HorizontalBars`].
#[derive(Clone, Debug)]
pub(crate) struct HorizontalBar {
    pub(crate) name: String,
    /// From 0 to 1, of the whole width.
    pub(crate) share: f64,
    /// Written at its end.
    pub(crate) text: String,
    /// The class of its colour.
    pub(crate) class: String,
}

/// Lying bars, each a share of what there is.
#[derive(Clone, Debug)]
pub(crate) struct HorizontalBars {
    pub(crate) title: String,
    pub(crate) width: f64,
    /// What the whole width is.
    pub(crate) whole: String,
    pub(crate) bars: Vec<HorizontalBar>,
}

impl HorizontalBars {
    pub(crate) fn draw(&self) -> Markup {
        const ROW: f64 = 26.0;
        let names = self
            .bars
            .iter()
            .map(|bar| text_width(&shortened(&bar.name, 44)));
        let left = names.fold(40.0, f64::max) + 12.0;
        let texts = self.bars.iter().map(|bar| text_width(&bar.text));
        let right = self.width - texts.fold(30.0, f64::max) - 14.0;
        let height = self.bars.len() as f64 * ROW + 42.0;
        let x = |share: f64| left + share.clamp(0.0, 1.0) * (right - left);
        let bottom = self.bars.len() as f64 * ROW + 6.0;
        let content = html! {
            g class="axis" {
                @for tick in [0.0, 0.25, 0.5, 0.75, 1.0] {
                    line class=(if tick == 0.0 || tick == 1.0 { "base" } else { "grid" })
                        x1=(px(x(tick))) x2=(px(x(tick))) y1="2" y2=(px(bottom)) {}
                    text class="tick middle" x=(px(x(tick))) y=(px(bottom + 16.0)) {
                        (format!("{:.0}", tick * 100.0))
                    }
                }
                text class="label middle x-label" x=(px(f64::midpoint(left, right)))
                    y=(px(bottom + 33.0)) { (self.whole) " (%)" }
            }
            @for (index, bar) in self.bars.iter().enumerate() {
                @let top = index as f64 * ROW + 4.0;
                text class="name end" x=(px(left - 8.0)) y=(px(top + 9.0)) dy="0.34em" {
                    (shortened(&bar.name, 44))
                }
                rect class=(format!("area {}", bar.class)) x=(px(left)) y=(px(top + 1.5))
                    width=(px((x(bar.share) - left).max(1.0))) height="15" {}
                text class="value" x=(px(right + 8.0)) y=(px(top + 9.0)) dy="0.34em" { (bar.text) }
            }
        };
        let words: Vec<String> = self
            .bars
            .iter()
            .map(|bar| format!("{}: {}.", bar.name, bar.text))
            .collect();
        drawing(self.width, height, &self.title, &words.join(" "), &content)
    }
}
