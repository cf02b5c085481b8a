//! Curves.

use maud::{Markup, html};

use super::{
    Axis, Room, Scale, colour, drawing, extent, frame, path, px, shortened, spread, text_width,
};

/// Points that a curve is drawn with at most, and those that have a mark.
const POINTS_MAX: usize = 500;
const MARKS_MAX: usize = 40;
/// Characters of a curve's name.
const NAME_MAX: usize = 22;

/// A curve.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Written at its end, before the last value.
    pub(crate) name: String,
    /// Its points, in ascending x.
    pub(crate) points: Vec<(f64, f64)>,
    /// The place of its colour.
    pub(crate) colour: usize,
    /// Lowest and highest of what it is the middle of, at the same x; or empty.
    pub(crate) band: Vec<(f64, f64)>,
}

impl Line {
    pub(crate) fn new(name: &str, colour: usize, points: Vec<(f64, f64)>) -> Self {
        Self {
            name: name.to_owned(),
            points,
            colour,
            band: Vec::new(),
        }
    }
}

/// A level that curves are compared with.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    pub(crate) name: String,
    pub(crate) level: f64,
}

/// Curves over one x.
#[derive(Clone, Debug)]
pub(crate) struct LineChart {
    pub(crate) title: String,
    pub(crate) width: f64,
    pub(crate) height: f64,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) lines: Vec<Line>,
    pub(crate) references: Vec<Reference>,
    /// Write the last value at a curve's end.
    pub(crate) shows_last: bool,
}

impl LineChart {
    pub(crate) fn draw(&self) -> Markup {
        let xs = self.lines.iter().flat_map(|line| &line.points);
        let (x_low, x_high) = extent(xs.clone().map(|(x, _)| *x));
        let bands = self.lines.iter().flat_map(|line| &line.band);
        let (y_low, y_high) = extent(
            xs.map(|(_, y)| *y)
                .chain(bands.flat_map(|(low, high)| [*low, *high]))
                .chain(self.references.iter().map(|reference| reference.level)),
        );
        let y = Scale::new(&self.y, y_low, y_high, 5).rounded();
        let ends: Vec<(usize, f64, f64, String)> = self
            .lines
            .iter()
            .filter_map(|line| {
                let finite = |(_, y): &&(f64, f64)| y.is_finite();
                let (x, y) = *line.points.iter().rev().find(finite)?;
                Some((
                    line.colour,
                    x,
                    y,
                    self.end_text(line, y, y_low.abs().max(y_high.abs())),
                ))
            })
            .collect();
        let end_width = ends
            .iter()
            .map(|(.., text)| text_width(text))
            .fold(0.0, f64::max);
        let room = Room {
            left: (y.tick_width() + 10.0).max(26.0),
            right: self.width - end_width.max(14.0) - 10.0,
            top: 26.0,
            bottom: self.height - 46.0,
        };
        let y = y.between(room.bottom, room.top);
        let tick_count = (((room.right - room.left) / 60.0) as usize).clamp(2, 10);
        let x = Scale::new(&self.x, x_low, x_high, tick_count).between(room.left, room.right);
        let heights: Vec<f64> = ends
            .iter()
            .map(|(_, _, value, _)| y.place(*value))
            .collect();
        let places = spread(&heights, room.top, room.bottom);
        let content = html! {
            (frame(&x, &y, room))
            @for reference in &self.references {
                @let at = px(y.place(reference.level));
                line class="reference" x1=(px(room.left)) x2=(px(room.right)) y1=(at) y2=(at) {}
                text class="note" x=(px(room.left + 4.0)) y=(px(y.place(reference.level) - 5.0)) {
                    (reference.name)
                }
            }
            @for line in &self.lines {
                @if line.band.len() == line.points.len() && !line.band.is_empty() {
                    path class=(format!("band {}", colour(line.colour)))
                        d=(band_path(line, &x, &y)) {}
                }
            }
            @for line in &self.lines {
                @let points = decimated(&line.points, POINTS_MAX);
                path class=(format!("line {}", colour(line.colour)))
                    d=(path(points.iter().map(|(a, b)| (x.place(*a), y.place(*b))
                    ).zip(&points).map(|(place, (_, value))| match value.is_finite() {
                        true => place,
                        false => (f64::NAN, f64::NAN),
                    }))) {}
                @if line.points.len() <= MARKS_MAX {
                    @for (a, b) in line.points.iter().filter(|(a, b)| a.is_finite() && b.is_finite()) {
                        circle class=(format!("mark {}", colour(line.colour)))
                            cx=(px(x.place(*a))) cy=(px(y.place(*b))) r="2.4" {
                            title { (self.x.show(*a)) ": " (self.y.show(*b)) }
                        }
                    }
                }
            }
            @for ((index, end_x, end_y, text), place) in ends.iter().zip(places) {
                @let at = x.place(*end_x);
                @if (place - y.place(*end_y)).abs() > 2.0 || room.right - at > 12.0 {
                    line class="leader" x1=(px(at + 4.0)) y1=(px(y.place(*end_y)))
                        x2=(px(room.right + 4.0)) y2=(px(place)) {}
                }
                text class=(format!("direct {}", colour(*index)))
                    x=(px(room.right + 7.0)) y=(px(place)) dy="0.34em" { (text) }
            }
        };
        drawing(
            self.width,
            self.height,
            &self.title,
            &self.description(),
            &content,
        )
    }

    fn end_text(&self, line: &Line, last: f64, magnitude: f64) -> String {
        let name = shortened(&line.name, NAME_MAX);
        let last = self.y.show_bare(last, magnitude);
        match (name.is_empty(), self.shows_last) {
            (true, _) => last,
            (false, true) => format!("{name}: {last}"),
            (false, false) => name,
        }
    }

    /// The chart in words.
    fn description(&self) -> String {
        let mut words = String::new();
        for line in &self.lines {
            let finite = || line.points.iter().filter(|(_, y)| y.is_finite());
            if let (Some(first), Some(last)) = (finite().next(), finite().next_back()) {
                let name = match line.name.as_str() {
                    "" => "The curve",
                    name => name,
                };
                words.push_str(&format!(
                    "{name} goes from {} to {}. ",
                    self.y.show(first.1),
                    self.y.show(last.1)
                ));
            }
        }
        words.trim_end().to_owned()
    }
}

fn band_path(line: &Line, x: &Scale, y: &Scale) -> String {
    // A step that leaves both edges of the same rounds.
    let step = line.points.len().div_ceil(POINTS_MAX).max(1);
    let edges: Vec<(f64, f64, f64)> = line
        .points
        .iter()
        .zip(&line.band)
        .step_by(step)
        .map(|((at, _), (low, high))| (x.place(*at), y.place(*low), y.place(*high)))
        .filter(|(at, low, high)| at.is_finite() && low.is_finite() && high.is_finite())
        .collect();
    let upper = edges.iter().map(|(at, _, high)| (*at, *high));
    let lower = edges.iter().rev().map(|(at, low, _)| (*at, *low));
    format!("{}Z", path(upper.chain(lower)))
}

/// At most so many of a curve's points, of which each piece keeps its lowest and
/// its highest: no peak is lost.
pub(crate) fn decimated(points: &[(f64, f64)], count_max: usize) -> Vec<(f64, f64)> {
    if points.len() <= count_max {
        return points.to_vec();
    }
    let piece = points.len().div_ceil((count_max / 2).max(1)).max(1);
    let mut kept = Vec::new();
    for points in points.chunks(piece) {
        let finite = || points.iter().filter(|(_, y)| y.is_finite());
        let low = finite().min_by(|one, other| one.1.total_cmp(&other.1));
        let high = finite().max_by(|one, other| one.1.total_cmp(&other.1));
        match (low, high) {
            (Some(low), Some(high)) if low.0 < high.0 => kept.extend([*low, *high]),
            (Some(low), Some(high)) if high.0 < low.0 => kept.extend([*high, *low]),
            (Some(only), _) => kept.push(*only),
            _ => kept.extend(points.first()),
        }
    }
    // The end is what the label stands for.
    if let (Some(last), Some(kept_last)) = (points.last(), kept.last_mut())
        && last.1.is_finite()
    {
        *kept_last = *last;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_curve_keeps_its_peaks_and_its_end() {
        let mut points: Vec<(f64, f64)> = (0..10_000).map(|x| (f64::from(x), 0.5)).collect();
        points[7_777].1 = 9.0;
        points[3_333].1 = -9.0;
        points[9_999].1 = 0.7;
        let kept = decimated(&points, 500);
        assert!(kept.len() <= 500, "{}", kept.len());
        for point in [(7_777.0, 9.0), (3_333.0, -9.0), (9_999.0, 0.7)] {
            assert!(kept.contains(&point), "{point:?}");
        }
        assert!(kept.is_sorted_by(|one, other| one.0 < other.0));
        assert_eq!(decimated(&points[..4], 500), points[..4]);
    }
}
