//! Points, and the front of those that nothing beats.

use maud::{Markup, html};

use super::{Axis, Room, Scale, drawing, extent, frame, path, px, text_width};

/// A point.
#[derive(Clone, Debug)]
pub(crate) struct Dot {
    pub(crate) x: f64,
    pub(crate) y: f64,
    /// Shown at rest on it, and for screen readers.
    pub(crate) text: String,
    /// It is on the front.
    pub(crate) is_front: bool,
    /// Written beside it; or empty.
    pub(crate) label: String,
}

/// Points in a plane.
#[derive(Clone, Debug)]
pub(crate) struct Scatter {
    pub(crate) title: String,
    pub(crate) width: f64,
    pub(crate) height: f64,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) dots: Vec<Dot>,
    /// Connect the front by steps rather than leave its points alone.
    pub(crate) draws_front: bool,
}

impl Scatter {
    pub(crate) fn draw(&self) -> Markup {
        let (x_low, x_high) = extent(self.dots.iter().map(|dot| dot.x));
        let (y_low, y_high) = extent(self.dots.iter().map(|dot| dot.y));
        let y = Scale::new(&self.y, y_low, y_high, 6).rounded();
        let room = Room {
            left: (y.tick_width() + 10.0).max(26.0),
            right: self.width - 60.0,
            top: 26.0,
            bottom: self.height - 46.0,
        };
        let y = y.between(room.bottom, room.top);
        let tick_count = (((room.right - room.left) / 60.0) as usize).clamp(2, 10);
        let x = Scale::new(&self.x, x_low, x_high, tick_count).between(room.left, room.right);
        let mut front: Vec<&Dot> = self.dots.iter().filter(|dot| dot.is_front).collect();
        front.sort_by(|one, other| one.x.total_cmp(&other.x));
        let steps: Vec<(f64, f64)> = front
            .iter()
            .map(|dot| (x.place(dot.x), y.place(dot.y)))
            .collect();
        // What is reached stays reached: a step goes right before it goes up.
        let mut corners: Vec<(f64, f64)> = Vec::new();
        for (to_x, to_y) in steps {
            if let Some((_, from_y)) = corners.last().copied() {
                corners.push((to_x, from_y));
            }
            corners.push((to_x, to_y));
        }
        let content = html! {
            (frame(&x, &y, room))
            @for dot in self.dots.iter().filter(|dot| !dot.is_front) {
                circle class="dot" cx=(px(x.place(dot.x))) cy=(px(y.place(dot.y))) r="2.2" {
                    title { (dot.text) }
                }
            }
            @if self.draws_front && corners.len() > 1 {
                path class="line s0" d=(path(corners)) {}
            }
            @for dot in &front {
                circle class="mark s0" cx=(px(x.place(dot.x))) cy=(px(y.place(dot.y))) r="3.6" {
                    title { (dot.text) }
                }
            }
            @for dot in self.dots.iter().filter(|dot| !dot.label.is_empty()) {
                @let at = x.place(dot.x);
                @if at + text_width(&dot.label) + 10.0 < self.width {
                    text class="note" x=(px(at + 7.0)) y=(px(y.place(dot.y) + 13.0)) { (dot.label) }
                } @else {
                    text class="note end" x=(px(at - 7.0)) y=(px(y.place(dot.y) + 13.0)) { (dot.label) }
                }
            }
        };
        let description = format!(
            "{} points, of which {} are on the front.",
            self.dots.len(),
            front.len()
        );
        drawing(self.width, self.height, &self.title, &description, &content)
    }
}
