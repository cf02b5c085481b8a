//! Grids: what became of each client in each round, and who holds what.

use std::fmt::Write;

use maud::{Markup, html};

use super::{Axis, Room, Scale, drawing, frame, px, text_width};
use crate::number::Unit;

/// What a cell of a [`Grid`] may be.
#[derive(Clone, Debug)]
pub(crate) struct Category {
    pub(crate) name: String,
    /// The class of its colour.
    pub(crate) class: String,
}

/// Cells that are one of a few things each.
#[derive(Clone, Debug)]
pub(crate) struct Grid {
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) width: f64,
    /// What a column is, and the range that all columns cover.
    pub(crate) x: Axis,
    pub(crate) x_range: (f64, f64),
    /// The same of rows, from the top.
    pub(crate) y: Axis,
    pub(crate) y_range: (f64, f64),
    pub(crate) categories: Vec<Category>,
    /// The category of each cell, row by row; `None` is empty.
    pub(crate) rows: Vec<Vec<Option<usize>>>,
}

impl Grid {
    pub(crate) fn draw(&self) -> Markup {
        let row_height = (360.0 / self.rows.len().max(1) as f64).clamp(2.0, 18.0);
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0).max(1);
        let y_scale = Scale::new(&self.y, self.y_range.0, self.y_range.1, 8);
        let left = (y_scale.tick_width() + 10.0).max(26.0);
        let right = self.width - 12.0;
        // Few rounds do not fill the page.
        let column_width = ((right - left) / columns as f64).min(40.0);
        let right = left + column_width * columns as f64;
        let room = Room {
            left,
            right,
            top: 50.0,
            bottom: 50.0 + row_height * self.rows.len() as f64,
        };
        let y = y_scale.between(room.top, room.bottom);
        let tick_count = (((room.right - room.left) / 60.0) as usize).clamp(2, 10);
        let x = Scale::new(&self.x, self.x_range.0, self.x_range.1, tick_count)
            .between(room.left, room.right);
        let gap = |size: f64| if size >= 6.0 { 1.0 } else { 0.0 };
        let mut paths = vec![String::new(); self.categories.len()];
        for (row, cells) in self.rows.iter().enumerate() {
            let top = room.top + row as f64 * row_height;
            let mut column = 0;
            for cells in cells.chunk_by(|one, other| one == other) {
                let from = column;
                column += cells.len();
                let category = cells.first().copied().flatten();
                let Some(path) = category.and_then(|category| paths.get_mut(category)) else {
                    continue;
                };
                // Cells are told apart where there is room, else drawn together.
                let pieces = match gap(column_width) > 0.0 {
                    true => (from..column).map(|at| (at, at + 1)).collect(),
                    false => vec![(from, column)],
                };
                for (from, to) in pieces {
                    let _ = write!(
                        path,
                        "M{} {}H{}V{}H{}Z",
                        px(left + from as f64 * column_width),
                        px(top),
                        px(left + to as f64 * column_width - gap(column_width)),
                        px(top + row_height - gap(row_height)),
                        px(left + from as f64 * column_width)
                    );
                }
            }
        }
        let mut legend_at = room.left;
        let legend: Vec<(f64, &Category)> = self
            .categories
            .iter()
            .map(|category| {
                let at = legend_at;
                legend_at += text_width(&category.name) + 34.0;
                (at, category)
            })
            .collect();
        let content = html! {
            (frame(&x, &y, room))
            @for (at, category) in legend {
                rect class=(format!("area {}", category.class)) x=(px(at)) y="24" width="12"
                    height="12" {}
                text class="value" x=(px(at + 17.0)) y="30" dy="0.34em" { (category.name) }
            }
            @for (path, category) in paths.iter().zip(&self.categories) {
                @if !path.is_empty() { path class=(format!("area {}", category.class)) d=(path) {} }
            }
        };
        drawing(
            self.width,
            room.bottom + 48.0,
            &self.title,
            &self.description,
            &content,
        )
    }
}

/// Cells of which each is a number from 0, the more the darker.
#[derive(Clone, Debug)]
pub(crate) struct Intensities {
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) width: f64,
    pub(crate) x: Axis,
    pub(crate) x_range: (f64, f64),
    /// The name of each row, from the top.
    pub(crate) names: Vec<String>,
    /// What the rows are.
    pub(crate) rows_name: String,
    pub(crate) rows: Vec<Vec<f64>>,
    /// What a cell is counted in.
    pub(crate) unit: Unit,
}

/// Steps of the shades.
const SHADES: usize = 8;

impl Intensities {
    pub(crate) fn draw(&self) -> Markup {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0).max(1);
        let row_height = (260.0 / self.rows.len().max(1) as f64).clamp(4.0, 22.0);
        let names_width = self
            .names
            .iter()
            .map(|name| text_width(name))
            .fold(0.0, f64::max);
        let left = (names_width + 10.0).max(26.0);
        let column_width = ((self.width - 12.0 - left) / columns as f64).min(34.0);
        let room = Room {
            left,
            right: left + column_width * columns as f64,
            top: 50.0,
            bottom: 50.0 + row_height * self.rows.len() as f64,
        };
        let tick_count = (((room.right - room.left) / 60.0) as usize).clamp(2, 10);
        let x = Scale::new(&self.x, self.x_range.0, self.x_range.1, tick_count)
            .between(room.left, room.right);
        let high = self.rows.iter().flatten().copied().fold(0.0, f64::max);
        let mut paths = vec![String::new(); SHADES];
        for (row, cells) in self.rows.iter().enumerate() {
            for (column, value) in cells.iter().enumerate() {
                if !(*value > 0.0 && high > 0.0) {
                    continue;
                }
                // Anything that is not nothing has a shade.
                let shade = ((value / high * SHADES as f64).ceil() as usize).clamp(1, SHADES) - 1;
                let (at, top) = (
                    left + column as f64 * column_width,
                    room.top + row as f64 * row_height,
                );
                let gap = if column_width >= 6.0 { 1.0 } else { 0.0 };
                if let Some(path) = paths.get_mut(shade) {
                    let _ = write!(
                        path,
                        "M{} {}h{}v{}h{}Z",
                        px(at),
                        px(top),
                        px(column_width - gap),
                        px(row_height - 1.0),
                        px(gap - column_width)
                    );
                }
            }
        }
        // Names that would lie on each other are left out.
        let step = (12.0 / row_height).ceil().max(1.0) as usize;
        let middle = f64::midpoint(room.left, room.right);
        let content = html! {
            g class="axis" {
                text class="label y-label" x="0" y="12" { (self.rows_name) }
                @for (index, name) in self.names.iter().enumerate().step_by(step) {
                    text class="tick end" x=(px(left - 7.0))
                        y=(px(room.top + (index as f64 + 0.5) * row_height)) dy="0.34em" { (name) }
                }
                @for (place, text) in &x.ticks {
                    text class="tick middle" x=(px(x.place(*place))) y=(px(room.bottom + 17.0)) {
                        (text)
                    }
                }
                text class="label middle x-label" x=(px(middle.max(30.0)))
                    y=(px(room.bottom + 36.0)) { (x.label) }
                @for shade in 0..SHADES {
                    rect class="shade" fill-opacity=(opacity(shade)) x=(px(room.left + shade as f64 * 14.0))
                        y="24" width="14" height="12" {}
                }
                text class="value" x=(px(room.left + SHADES as f64 * 14.0 + 6.0)) y="30" dy="0.34em" {
                    "1 to " (self.unit.show(high))
                }
            }
            @for (shade, path) in paths.iter().enumerate() {
                @if !path.is_empty() { path class="shade" fill-opacity=(opacity(shade)) d=(path) {} }
            }
        };
        drawing(
            self.width,
            room.bottom + 46.0,
            &self.title,
            &self.description,
            &content,
        )
    }
}

fn opacity(shade: usize) -> String {
    format!("{:.2}", 0.12 + 0.88 * (shade + 1) as f64 / SHADES as f64)
}
