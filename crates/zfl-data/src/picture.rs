//! A partition as a picture: clients × classes.
//!
//! A circle for each client and class, its area in proportion to the samples
//! that the client holds of it, and below a bar for each client's share. It is
//! SVG without scripts, fonts or anything to fetch, and follows the reader's
//! light or dark scheme.

use std::fmt::Write;

use crate::dataset::Dataset;
use crate::partition::Partition;

/// Most clients that are drawn, from the first.
pub const CLIENTS_MAX: usize = 400;

/// Units of the picture, of which a screen shows one as a pixel.
const LEFT: f64 = 92.0;
const TOP: f64 = 40.0;
const BARS: f64 = 70.0;
const GAP: f64 = 14.0;
const BOTTOM: f64 = 44.0;
const RIGHT: f64 = 16.0;
/// A line of text.
const LINE: f64 = 12.0;

const STYLE: &str = "text{font:12px sans-serif;fill:#24292f}\
.m{fill:#57606a}circle{fill:#0969da}rect{fill:#8c959f}line{stroke:#d0d7de}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.m{fill:#9198a1}\
circle{fill:#58a6ff}rect{fill:#6e7681}line{stroke:#3d444d}}";

/// The picture of `partition`, which is one of `dataset`, under a caption.
pub fn svg(partition: &Partition, dataset: &Dataset, caption: &str) -> String {
    let mut svg = String::new();
    // Writing to a string cannot fail.
    let _ = draw(&mut svg, partition, dataset, caption);
    svg
}

fn draw(
    svg: &mut String,
    partition: &Partition,
    dataset: &Dataset,
    caption: &str,
) -> std::fmt::Result {
    let mut counts = partition.label_counts(dataset);
    counts.truncate(CLIENTS_MAX);
    let (clients, classes) = (counts.len(), dataset.class_count());
    // Columns and rows that are near enough to read across, and fit a page.
    let column = (800.0 / clients.max(1) as f64).clamp(5.0, 28.0);
    let row = (480.0 / classes.max(1) as f64).clamp(4.0, 22.0);
    let (right, floor) = (
        LEFT + column * clients as f64,
        TOP + row * classes as f64 + GAP + BARS,
    );
    // Wide enough for the caption.
    let width = (right + RIGHT).max(LEFT + 7.0 * caption.chars().count() as f64 + RIGHT);
    let height = floor + BOTTOM;
    let caption = escaped(caption);
    writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0} {height:.0}" width="{width:.0}" height="{height:.0}" role="img" aria-labelledby="t d">"#
    )?;
    let most = counts.iter().flatten().copied().max().unwrap_or(0);
    let sizes: Vec<u64> = counts
        .iter()
        .map(|row| row.iter().copied().map(u64::from).sum())
        .collect();
    let largest = sizes.iter().copied().max().unwrap_or(0);
    let smallest = sizes.iter().copied().min().unwrap_or(0);
    writeln!(svg, r#"<title id="t">{caption}</title>"#)?;
    writeln!(
        svg,
        r#"<desc id="d">Samples of {classes} classes (rows) held by {clients} clients (columns): a circle's area is their number, at most {most}. The bars are each client's samples of all classes, {smallest} to {largest}.</desc>"#
    )?;
    writeln!(svg, "<style>{STYLE}</style>")?;
    writeln!(svg, r#"<text x="{LEFT}" y="18">{caption}</text>"#)?;

    let across = |client: usize| LEFT + column * (client as f64 + 0.5);
    let down = |class: usize| TOP + row * (class as f64 + 0.5);
    for class in (0..classes).step_by(step(row, LINE)) {
        let (x, y) = (LEFT - 8.0, down(class));
        let name = class_name(dataset, class);
        writeln!(
            svg,
            r#"<line x1="{LEFT}" y1="{y:.1}" x2="{right:.1}" y2="{y:.1}"/><text x="{x}" y="{:.1}" text-anchor="end">{name}</text>"#,
            y + 4.0
        )?;
    }
    for (client, row_counts) in counts.iter().enumerate() {
        for (class, count) in row_counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
        {
            let part = f64::from(*count) / f64::from(most.max(1));
            // The largest touches its neighbour.
            let radius = (0.5 * column.min(row) * part.sqrt()).max(0.6);
            writeln!(
                svg,
                r#"<circle cx="{:.1}" cy="{:.1}" r="{radius:.1}"/>"#,
                across(client),
                down(class)
            )?;
        }
    }
    writeln!(
        svg,
        r#"<line x1="{LEFT}" y1="{floor}" x2="{right:.1}" y2="{floor}"/>"#
    )?;
    for (client, size) in sizes.iter().enumerate() {
        let bar = BARS * *size as f64 / largest.max(1) as f64;
        let (x, y) = (across(client) - 0.35 * column, floor - bar);
        writeln!(
            svg,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{:.1}" height="{bar:.1}"/>"#,
            0.7 * column
        )?;
    }
    for client in (0..clients).step_by(step(column, 3.0 * LINE)) {
        writeln!(
            svg,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">{client}</text>"#,
            across(client),
            floor + 16.0
        )?;
    }
    let middle = TOP + 0.5 * row * classes as f64;
    writeln!(
        svg,
        r#"<text class="m" transform="translate(14 {middle:.1}) rotate(-90)" text-anchor="middle">class</text>"#
    )?;
    let bars = floor - 0.5 * BARS;
    writeln!(
        svg,
        r#"<text class="m" transform="translate(14 {bars:.1}) rotate(-90)" text-anchor="middle">samples</text><text x="{}" y="{:.1}" text-anchor="end">{largest}</text>"#,
        LEFT - 8.0,
        floor - BARS + 4.0
    )?;
    let more = match partition.client_count() - clients {
        0 => String::new(),
        more => format!(" (the first {clients}; {more} more)"),
    };
    writeln!(
        svg,
        r#"<text class="m" x="{LEFT}" y="{:.1}">client{more}</text>"#,
        floor + 34.0
    )?;
    writeln!(svg, "</svg>")
}

/// What a class is called, as far as there is room for it, or its number.
fn class_name(dataset: &Dataset, class: usize) -> String {
    const LETTERS_MAX: usize = 7;
    let Some(name) = dataset.schema().class_names.get(class) else {
        return class.to_string();
    };
    match name.char_indices().nth(LETTERS_MAX) {
        None => escaped(name),
        Some((end, _)) => format!("{}…", escaped(name.get(..end).unwrap_or_default())),
    }
}

/// Every how many places there is a label, so that they do not overlap.
fn step(place: f64, label: f64) -> usize {
    let least = label / place;
    let steps = [1, 2, 5, 10, 20, 50, 100];
    let fits = |step: &usize| *step as f64 >= least;
    steps.into_iter().find(fits).unwrap_or(200)
}

/// Text that stands in XML.
fn escaped(text: &str) -> String {
    text.chars()
        .filter(|letter| !letter.is_control())
        .map(|letter| match letter {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            letter => letter.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::Scheme;
    use crate::testing::{labelled_dataset, small_dataset};

    fn count(text: &str, what: &str) -> usize {
        text.matches(what).count()
    }

    #[test]
    fn a_circle_is_a_class_of_a_client_and_its_area_the_samples() {
        let partition = Partition::from_shares([vec![0, 3, 6, 9, 1], vec![4], vec![]], 10).unwrap();
        let svg = svg(&partition, &small_dataset(10), "a & b");
        assert_eq!(count(&svg, "<circle"), 3, "{svg}");
        assert_eq!(count(&svg, "<rect"), 3);
        // Four samples have twice the radius of one.
        for radius in ["r=\"11.0\"", "r=\"5.5\""] {
            assert!(svg.contains(radius), "{radius} {svg}");
        }
        assert!(svg.contains("<title id=\"t\">a &amp; b</title>"));
        assert!(svg.contains("held by 3 clients (columns): a circle's area is their number, at most 4. The bars are each client's samples of all classes, 0 to 5."), "{svg}");
    }

    /// However many clients and classes, it stays a picture.
    #[test]
    fn it_is_bounded() {
        let dataset = labelled_dataset((0..=255).cycle().take(60_000).collect(), 256);
        let partition = Scheme::Iid.partition(&dataset, 30_000, 1).unwrap();
        let svg = svg(&partition, &dataset, "large");
        assert_eq!(count(&svg, "<rect"), CLIENTS_MAX);
        assert!(svg.contains("client (the first 400; 29600 more)"));
        assert!(svg.len() < 200_000, "{}", svg.len());
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn nothing_breaks_out_of_the_caption() {
        let partition = Partition::from_shares([vec![0]], 1).unwrap();
        let svg = svg(&partition, &small_dataset(1), "</title><script>\u{1}\n");
        assert!(!svg.contains("<script>") && !svg.contains('\u{1}'), "{svg}");
    }
}
