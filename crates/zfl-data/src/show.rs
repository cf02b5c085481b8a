//! Text about a data set: what a person looks at before trusting it.
//!
//! Pure functions from data to text; printing is the command line's. Pictures
//! are made of five shades of block characters, so they read on any terminal
//! with a dark background; on a light one they are negatives.

use std::fmt::Write;

use crate::dataset::{Dataset, Spread, TrainTest};
use crate::partition::Partition;

/// What [`describe`] shows besides shapes and counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShowOptions {
    /// How many samples of the training part are drawn, from its beginning.
    pub picture_count: usize,
    /// How many columns the pictures may take.
    pub columns: usize,
    /// How many clients the partition's picture and its table list before they
    /// cut.
    pub client_rows_max: usize,
}

impl Default for ShowOptions {
    fn default() -> Self {
        Self {
            picture_count: 5,
            columns: 80,
            client_rows_max: 100,
        }
    }
}

/// Everything `zfl data show` says: both parts, a few pictures, and the table
/// of `partition` (of the training part) where there is one.
pub fn describe(set: &TrainTest, partition: Option<&Partition>, options: ShowOptions) -> String {
    let mut text = summary(set);
    let pictures = pictures(&set.train, options.picture_count, options.columns);
    if !pictures.is_empty() {
        let _ = write!(text, "\nfirst training samples\n{pictures}");
    }
    if let Some(partition) = partition {
        let (rows_max, columns) = (options.client_rows_max, options.columns);
        let picture = partition_picture(partition, &set.train, rows_max, columns);
        let _ = write!(
            text,
            "\npartition of the training part: each class of a client, and its samples\n{picture}"
        );
        let table = partition_table(partition, &set.train, options.client_rows_max);
        let _ = write!(text, "\nsamples by client and class\n{table}");
    }
    text
}

/// Name, origin, shapes, range of values and the counts of each class.
pub fn summary(set: &TrainTest) -> String {
    let TrainTest { train, test } = set;
    let mut text = String::new();
    let shape: Vec<String> = train.sample_shape().iter().map(usize::to_string).collect();
    let (train_low, train_high) = train.value_range();
    let (test_low, test_high) = test.value_range();
    let lines = [
        ("data set", train.name().to_owned()),
        ("origin", train.origin().to_owned()),
        (
            "samples",
            format!(
                "{} training, {} test",
                train.sample_count(),
                test.sample_count()
            ),
        ),
        (
            "shape",
            format!("{} = {} inputs", shape.join("×"), train.input_count()),
        ),
        (
            "values",
            format!(
                "{} to {}, times {}",
                train_low.min(test_low),
                train_high.max(test_high),
                scale(train.value_scale())
            ),
        ),
        match train.targets() {
            None => ("classes", classes(train)),
            Some(targets) => {
                let (least, most) = targets.range();
                let Spread { mean, deviation } = targets.spread();
                let text = format!(
                    "{}, {least} to {most}, mean {mean:.4}, deviation {deviation:.4}",
                    targets.name
                );
                ("target", text)
            }
        },
    ];
    for (key, value) in lines {
        let _ = writeln!(text, "{key:<9} {value}");
    }
    text.push_str(&inputs_table(train));
    let rows = [
        ("training".to_owned(), train.label_counts()),
        ("test".to_owned(), test.label_counts()),
    ];
    let by = match train.targets() {
        None => "samples by class",
        Some(_) => "samples by tenth of the target",
    };
    let _ = write!(text, "\n{by}\n{}", label_table("part", &rows));
    text
}

/// How many classes there are, and what they are called.
fn classes(dataset: &Dataset) -> String {
    let names = &dataset.schema().class_names;
    let mut text = dataset.class_count().to_string();
    let is_numbered = names
        .iter()
        .zip(0..)
        .all(|(name, number)| *name == format!("{number}"));
    if is_numbered {
        return text;
    }
    for (number, name) in names.iter().take(NAMES_MAX).enumerate() {
        let separator = if number == 0 { ": " } else { ", " };
        let _ = write!(text, "{separator}{number} {}", short(name));
    }
    if names.len() > NAMES_MAX {
        text.push_str(", …");
    }
    text
}

/// So many classes or inputs are listed by name.
const NAMES_MAX: usize = 40;

/// A name that fits a column.
fn short(name: &str) -> String {
    const CHARACTERS_MAX: usize = 30;
    match name.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", name.get(..end).unwrap_or_default()),
        None => name.to_owned(),
    }
}

/// The range of each input that was mapped onto bytes; empty where none was.
fn inputs_table(dataset: &Dataset) -> String {
    let inputs = &dataset.schema().inputs;
    if inputs.is_empty() {
        return String::new();
    }
    let mut table = vec![["input", "minimum", "maximum", "step"].map(str::to_owned)];
    for input in inputs.iter().take(NAMES_MAX) {
        let numbers = [input.minimum, input.maximum, input.resolution()];
        let [minimum, maximum, step] = numbers.map(significant);
        table.push([short(&input.name), minimum, maximum, step]);
    }
    let mut text = "\ninputs: byte 0 is the minimum, 255 the maximum\n".to_owned();
    let width = |column: usize| {
        let cells = table.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths = [width(0), width(1), width(2), width(3)];
    for [name, minimum, maximum, step] in &table {
        let [first, second, third, fourth] = widths;
        let _ = writeln!(
            text,
            "{name:<first$}  {minimum:>second$}  {maximum:>third$}  {step:>fourth$}"
        );
    }
    if inputs.len() > NAMES_MAX {
        let _ = writeln!(text, "… {} more", inputs.len() - NAMES_MAX);
    }
    text
}

/// A number with four significant digits, or more before the point.
fn significant(number: f64) -> String {
    let magnitude = number.abs().log10().floor();
    if number == 0.0 {
        return "0".to_owned();
    }
    if !(-5.0..15.0).contains(&magnitude) {
        return format!("{number:.3e}");
    }
    let decimals = (3.0 - magnitude).max(0.0) as usize;
    let text = format!("{number:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A scale as people write it: 1/255 rather than 0.003921569.
fn scale(value_scale: f32) -> String {
    let units = (1.0 / f64::from(value_scale)).round();
    if units > 1.0 && (1.0 / units) as f32 == value_scale {
        format!("1/{units}")
    } else {
        value_scale.to_string()
    }
}

/// Clients × classes as shades, the darkest of which is the largest number of
/// samples that a client holds of a class, and a bar for each client's samples;
/// at most `client_rows_max` clients, within `columns`.
pub fn partition_picture(
    partition: &Partition,
    dataset: &Dataset,
    client_rows_max: usize,
    columns: usize,
) -> String {
    let columns = columns.min(COLUMNS_MAX);
    let counts = partition.label_counts(dataset);
    let most = counts.iter().flatten().copied().max().unwrap_or(0).max(1);
    let sizes: Vec<u64> = counts
        .iter()
        .map(|row| row.iter().copied().map(u64::from).sum())
        .collect();
    let largest = sizes.iter().copied().max().unwrap_or(0).max(1);
    let digits = |number: u64| number.to_string().len();
    let name_width = "client".len().max(digits(partition.client_count() as u64));
    let size_width = "sum".len().max(digits(largest));
    let room = columns.saturating_sub(name_width + size_width + 4);
    let classes = dataset.class_count();
    // As wide as its number, with a column between, if that fits.
    let numbered = digits(classes as u64 - 1) + 1;
    let (cell, is_numbered) = match (classes * numbered <= room, classes <= room) {
        (true, _) => (numbered, true),
        (false, true) => (1, false),
        (false, false) => {
            return format!(
                "(not drawn: {classes} classes take as many columns, there are {columns})\n"
            );
        }
    };
    let header = match is_numbered {
        true => (0..classes)
            .map(|class| format!("{class:>cell$}"))
            .collect(),
        false => format!("{:<classes$}", format!("0 to {}", classes - 1)),
    };
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{:<name_width$}  {header}  {:>size_width$}",
        "client", "sum"
    );
    let bar_max = room.saturating_sub(cell * classes + 1).min(20);
    for (client, (row, size)) in counts.iter().zip(&sizes).take(client_rows_max).enumerate() {
        let cells: String = row
            .iter()
            .flat_map(|count| std::iter::repeat_n(shade_of(*count, most), cell))
            .collect();
        // Whoever holds anything has a bar.
        let bar = (*size as f64 / largest as f64 * bar_max as f64).ceil() as usize;
        let line = format!(
            "{client:<name_width$}  {cells}  {size:>size_width$} {}",
            "▇".repeat(bar)
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let cut = counts.len().saturating_sub(client_rows_max);
    if cut > 0 {
        let _ = writeln!(text, "… {cut} more");
    }
    text
}

/// Blank for none, and the darker the more.
fn shade_of(count: u32, most: u32) -> char {
    let steps = SHADES.len() as u64 - 1;
    let step = (u64::from(count) * steps).div_ceil(u64::from(most.max(1)));
    SHADES.get(step as usize).copied().unwrap_or('█')
}

/// Clients × classes, at most `client_rows_max` clients, and the sum of all.
pub fn partition_table(partition: &Partition, dataset: &Dataset, client_rows_max: usize) -> String {
    let counts = partition.label_counts(dataset);
    let mut total = vec![0; dataset.class_count()];
    for row in &counts {
        for (sum, count) in total.iter_mut().zip(row) {
            *sum += count;
        }
    }
    let mut rows: Vec<(String, Vec<u32>)> = counts
        .into_iter()
        .take(client_rows_max)
        .enumerate()
        .map(|(client, counts)| (client.to_string(), counts))
        .collect();
    let cut = partition.client_count() - rows.len();
    if cut > 0 {
        rows.push((format!("… {cut} more"), Vec::new()));
    }
    rows.push(("all".to_owned(), total));
    label_table("client", &rows)
}

/// A table of counts by class, with their sum; a row without counts is a remark.
fn label_table(corner: &str, rows: &[(String, Vec<u32>)]) -> String {
    let class_count = rows
        .iter()
        .map(|(_, counts)| counts.len())
        .max()
        .unwrap_or(0);
    let mut header: Vec<String> = vec![corner.to_owned()];
    header.extend((0..class_count).map(|class| class.to_string()));
    header.push("sum".to_owned());
    let mut table = vec![header];
    for (name, counts) in rows {
        let mut cells = vec![name.clone()];
        if !counts.is_empty() {
            cells.extend(counts.iter().map(u32::to_string));
            cells.push(
                counts
                    .iter()
                    .map(|count| u64::from(*count))
                    .sum::<u64>()
                    .to_string(),
            );
        }
        table.push(cells);
    }
    // A remark may run over the columns that it leaves empty.
    let width = |column: usize| {
        let cells = table.iter().filter(|row| row.len() > 1);
        cells
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..class_count + 2).map(width).collect();
    let mut text = String::new();
    for row in &table {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = if column == 0 {
                write!(line, "{cell:<width$}")
            } else {
                write!(line, "  {cell:>width$}")
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The first `count` samples as pictures side by side, with their labels,
/// within `columns`; empty for samples that are no images, a line of
/// explanation for images too wide.
pub fn pictures(dataset: &Dataset, count: usize, columns: usize) -> String {
    let Some(image) = Image::of(dataset) else {
        return String::new();
    };
    let count = count.min(dataset.sample_count());
    let columns = columns.min(COLUMNS_MAX);
    let (width, _) = image.text_size();
    if count > 0 && width > columns {
        return format!("(not drawn: an image takes {width} columns, there are {columns})\n");
    }
    // Pictures stand two columns apart.
    let per_row = ((columns + 2) / (width + 2)).max(1);
    let mut text = String::new();
    let indices: Vec<usize> = (0..count).collect();
    for (row, indices) in indices.chunks(per_row).enumerate() {
        if row > 0 {
            text.push('\n');
        }
        let drawn: Vec<Vec<String>> = indices
            .iter()
            .map(|index| image.draw(dataset, *index))
            .collect();
        let height = drawn.iter().map(Vec::len).max().unwrap_or(0);
        for line in 0..height {
            let cells: Vec<&str> = drawn
                .iter()
                .map(|lines| lines.get(line).map_or("", String::as_str))
                .collect();
            push_line(&mut text, &cells, width);
        }
        let labels: Vec<String> = indices
            .iter()
            .filter_map(|index| dataset.label(*index))
            .map(|label| format!("label {label}"))
            .collect();
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        push_line(&mut text, &labels, width);
    }
    text
}

fn push_line(text: &mut String, cells: &[&str], width: usize) {
    let cells: Vec<String> = cells.iter().map(|cell| format!("{cell:<width$}")).collect();
    text.push_str(cells.join("  ").trim_end());
    text.push('\n');
}

/// No terminal is wider, and padding by format has a bound.
const COLUMNS_MAX: usize = 1000;

/// Darkest to brightest.
const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];

/// Images up to this width are drawn two columns to a pixel.
const DOUBLE_WIDTH_MAX: usize = 16;

/// How the samples of a data set are images.
struct Image {
    height: usize,
    width: usize,
    channels: usize,
    /// The value drawn brightest.
    brightest: u64,
}

impl Image {
    fn of(dataset: &Dataset) -> Option<Self> {
        let (height, width, channels) = match *dataset.sample_shape() {
            [height, width] => (height, width, 1),
            [height, width, channels] => (height, width, channels),
            _ => return None,
        };
        Some(Self {
            height,
            width,
            channels,
            brightest: u64::from(dataset.value_range().1).max(1),
        })
    }

    /// A character is about twice as high as wide: a small image takes two
    /// for a pixel, in a larger one each covers two pixels, one above the other.
    fn is_doubled(&self) -> bool {
        self.width <= DOUBLE_WIDTH_MAX
    }

    fn text_size(&self) -> (usize, usize) {
        if self.is_doubled() {
            (self.width * 2, self.height)
        } else {
            (self.width, self.height.div_ceil(2))
        }
    }

    fn draw(&self, dataset: &Dataset, index: usize) -> Vec<String> {
        let sample = dataset.sample(index).unwrap_or_default();
        let (_, lines) = self.text_size();
        let rows_per_line = if self.is_doubled() { 1 } else { 2 };
        (0..lines)
            .map(|line| {
                let rows = line * rows_per_line..((line + 1) * rows_per_line).min(self.height);
                (0..self.width)
                    .flat_map(|column| {
                        let shade = self.shade(sample, rows.clone(), column);
                        std::iter::repeat_n(shade, if self.is_doubled() { 2 } else { 1 })
                    })
                    .collect()
            })
            .collect()
    }

    /// The shade of the mean of one column of pixels, all channels.
    fn shade(&self, sample: &[u8], rows: std::ops::Range<usize>, column: usize) -> char {
        let values = rows.flat_map(|row| {
            let pixel = (row * self.width + column) * self.channels;
            sample.get(pixel..pixel + self.channels).unwrap_or_default()
        });
        let (sum, count) = values.fold((0, 0), |(sum, count): (u64, u64), value| {
            (sum + u64::from(*value), count + 1)
        });
        let steps = SHADES.len() as u64 - 1;
        let full = (count * self.brightest).max(1);
        // Rounded to the nearest step.
        let step = (sum * steps * 2 + full) / (full * 2);
        SHADES.get(step as usize).copied().unwrap_or('█')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::DatasetParts;
    use crate::partition::Scheme;
    use crate::testing::{mnist_data_dir, small_dataset};
    use crate::{LoadOptions, SearchPath, digits, load};

    fn images(shape: &[usize], samples: Vec<u8>) -> Dataset {
        let count = samples.len() / shape.iter().product::<usize>();
        Dataset::new(DatasetParts {
            name: "images".into(),
            origin: "test".into(),
            sample_shape: shape.to_vec(),
            samples,
            labels: vec![0; count],
            class_count: 1,
            value_scale: 1.0,
            schema: Default::default(),
            groups: None,
        })
        .unwrap()
    }

    #[test]
    fn a_small_image_takes_two_columns_a_pixel() {
        let dataset = images(&[2, 3], vec![0, 1, 2, 3, 4, 4, 4, 0, 0, 0, 0, 0]);
        assert_eq!(
            pictures(&dataset, 2, 80),
            "  ░░▒▒  ██\n▓▓████\nlabel 0  label 0\n"
        );
    }

    #[test]
    fn pictures_that_do_not_fit_go_below() {
        let dataset = images(&[1, 4], vec![4; 12]);
        assert_eq!(
            pictures(&dataset, 3, 18),
            "████████  ████████\nlabel 0   label 0\n\n████████\nlabel 0\n"
        );
    }

    #[test]
    fn a_large_image_is_halved_in_height() {
        let mut samples = vec![0; 17 * 3];
        samples[0] = 200; // above a dark pixel: half
        samples[1] = 200;
        samples[18] = 200; // above and below: full
        samples[34] = 200; // the odd last row counts alone
        let text = pictures(&images(&[3, 17], samples), 1, 80);
        assert_eq!(text, "▒█\n█\nlabel 0\n");
    }

    #[test]
    fn channels_are_averaged() {
        let dataset = images(&[1, 2, 2], vec![0, 4, 4, 4]);
        assert_eq!(pictures(&dataset, 1, 80), "▒▒██\nlabel 0\n");
    }

    #[test]
    fn what_is_no_picture_is_not_drawn() {
        assert_eq!(pictures(&small_dataset(3), 2, 80), "");
        assert_eq!(
            pictures(&images(&[1, 90], vec![0; 90]), 1, 80),
            "(not drawn: an image takes 90 columns, there are 80)\n"
        );
        assert_eq!(pictures(&images(&[1, 2], vec![0; 2]), 0, 80), "");
        // An image without any light divides by nothing.
        assert_eq!(pictures(&images(&[1, 2], vec![0; 2]), 9, 80), "\nlabel 0\n");
    }

    #[test]
    fn the_table_of_a_partition_lists_clients_and_classes() {
        let dataset = small_dataset(6);
        let partition = Partition::from_shares([vec![0, 3, 1], vec![2], vec![]], 6).unwrap();
        assert_eq!(
            partition_table(&partition, &dataset, 10),
            "client  0  1  2  sum\n\
             0       2  1  0    3\n\
             1       0  0  1    1\n\
             2       0  0  0    0\n\
             all     2  1  1    4\n"
        );
        assert_eq!(
            partition_table(&partition, &dataset, 1),
            "client  0  1  2  sum\n\
             0       2  1  0    3\n\
             … 2 more\n\
             all     2  1  1    4\n"
        );
    }

    #[test]
    fn the_picture_of_a_partition_is_shades_and_bars() {
        let dataset = small_dataset(12);
        let shares = [vec![0, 3, 6, 9, 1], vec![2, 5], vec![]];
        let partition = Partition::from_shares(shares, 12).unwrap();
        assert_eq!(
            partition_picture(&partition, &dataset, 10, 40),
            "client   0 1 2  sum\n\
             0       ██░░      5 ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇\n\
             1           ▒▒    2 ▇▇▇▇▇▇▇▇\n\
             2                 0\n"
        );
        assert_eq!(
            partition_picture(&partition, &dataset, 1, 17),
            "client  0 to 2  sum\n\
             0       █░     5\n\
             … 2 more\n"
        );
        assert_eq!(
            partition_picture(&partition, &dataset, 1, 15),
            "(not drawn: 3 classes take as many columns, there are 15)\n"
        );
    }

    #[test]
    fn a_scale_is_a_fraction_where_it_is_one() {
        for (value, text) in [
            (1.0 / 255.0, "1/255"),
            (1.0 / 16.0, "1/16"),
            (1.0, "1"),
            (0.3, "0.3"),
            (2.0, "2"),
        ] {
            assert_eq!(scale(value), text);
        }
    }

    #[test]
    fn the_digits_are_described() {
        let set = digits::load(1, 0.2).unwrap();
        let partition = Scheme::Iid.partition(&set.train, 10, 1).unwrap();
        let text = describe(&set, Some(&partition), ShowOptions::default());
        assert!(
            text.starts_with(
                "data set  digits\n\
                 origin    embedded\n\
                 samples   1438 training, 359 test\n\
                 shape     8×8 = 64 inputs\n\
                 values    0 to 16, times 1/16\n\
                 classes   10\n\
                 \n\
                 samples by class\n\
                 part        0    1 "
            ),
            "{text}"
        );
        assert!(text.contains("\nfirst training samples\n"));
        assert!(text.contains("\nlabel "));
        assert!(text.contains('█'));
        assert!(text.contains("\nclient    0 "), "{text}");
        assert!(text.trim_end().ends_with(" 1438"), "{text}");
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }

    #[test]
    fn mnist_is_described() {
        let Some(folder) = mnist_data_dir() else {
            return;
        };
        let search_path = SearchPath {
            data_dir: Some(folder),
            ..SearchPath::default()
        };
        let set = load("mnist", &LoadOptions::new(search_path, 1)).unwrap();
        let text = describe(&set, None, ShowOptions::default());
        assert!(text.contains("shape     28×28 = 784 inputs\n"), "{text}");
        // Two pictures fit beside each other.
        assert!(
            text.contains("label 5                       label 0\n"),
            "{text}"
        );
    }
}
