//! Parallel coordinates: a line for each trial of a sweep.

use maud::{Markup, html};

use super::{drawing, path, px, shortened};

/// One of the axes, on which values have their places from 0 (below) to 1.
#[derive(Clone, Debug)]
pub(crate) struct Coordinate {
    pub(crate) name: String,
    /// Where a tick is, and its text.
    pub(crate) ticks: Vec<(f64, String)>,
}

/// A trial.
#[derive(Clone, Debug)]
pub(crate) struct Polyline {
    /// Its place on each axis; what is no number parts it.
    pub(crate) places: Vec<f64>,
    /// From 0 (worst) to 1 (best).
    pub(crate) merit: f64,
    /// Shown at rest on it.
    pub(crate) text: String,
}

/// Lines over parallel axes.
#[derive(Clone, Debug)]
pub(crate) struct ParallelCoordinates {
    pub(crate) title: String,
    pub(crate) width: f64,
    pub(crate) height: f64,
    pub(crate) coordinates: Vec<Coordinate>,
    /// Best last: they are drawn over the others.
    pub(crate) lines: Vec<Polyline>,
}

impl ParallelCoordinates {
    pub(crate) fn draw(&self) -> Markup {
        let (left, right) = (50.0, self.width - 70.0);
        let (top, bottom) = (44.0, self.height - 14.0);
        let count = self.coordinates.len();
        let x = |index: usize| {
            left + index as f64 / count.saturating_sub(1).max(1) as f64 * (right - left)
        };
        let y = |place: f64| bottom + place.clamp(0.0, 1.0) * (top - bottom);
        let content = html! {
            @for line in &self.lines {
                @let places = line.places.iter().enumerate().map(|(index, place)| {
                    let height = if place.is_finite() { y(*place) } else { f64::NAN };
                    (x(index), height)
                });
                // Four shades: the best stand out, the others are there.
                @let class = match line.merit {
                    merit if merit > 0.9 => "merit m3",
                    merit if merit > 0.6 => "merit m2",
                    merit if merit > 0.3 => "merit m1",
                    _ => "merit m0",
                };
                path class=(class) d=(path(places)) { title { (line.text) } }
            }
            g class="axis" {
                @for (index, coordinate) in self.coordinates.iter().enumerate() {
                    line class="base" x1=(px(x(index))) x2=(px(x(index))) y1=(px(top)) y2=(px(bottom)) {}
                    text class="label middle x-label" x=(px(x(index))) y=(px(if index % 2 == 0 { 12.0 } else { 29.0 })) {
                        (shortened(&coordinate.name, 34))
                    }
                    @for (place, text) in &coordinate.ticks {
                        line class="base" x1=(px(x(index) - 3.0)) x2=(px(x(index) + 3.0)) y1=(px(y(*place))) y2=(px(y(*place))) {}
                        text class="tick halo" x=(px(x(index) + 6.0)) y=(px(y(*place))) dy="0.34em" { (text) }
                    }
                }
            }
        };
        let description = format!(
            "{} trials over {count} axes; the best are drawn last and strongest.",
            self.lines.len()
        );
        drawing(self.width, self.height, &self.title, &description, &content)
    }
}
