//! The page around the charts: one file, with its style, without scripts.

use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("page.css");
/// Rows of a table behind a chart.
const ROWS_MAX: usize = 200;

/// A table of cells as they are shown; the first column names the row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) caption: String,
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(caption: &str, head: &[&str]) -> Self {
        Self {
            caption: caption.to_owned(),
            head: head.iter().map(|&name| name.to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// At most [`ROWS_MAX`] rows, evenly, the last among them.
    fn draw(&self, class: &str) -> Markup {
        let step = self.rows.len().div_ceil(ROWS_MAX).max(1);
        let last = self.rows.len().saturating_sub(1);
        let rows = self.rows.iter().enumerate();
        let shown = rows.filter(|(index, _)| index % step == 0 || *index == last);
        html! {
            div class="scroll" tabindex="0" role="region" aria-label=(self.caption) {
                table class=(class) {
                    caption {
                        (self.caption)
                        @if step > 1 { "; every " (step) "th row of " (self.rows.len()) }
                    }
                    thead { tr { @for name in &self.head { th scope="col" { (name) } } } }
                    tbody {
                        @for (_, row) in shown {
                            tr {
                                @for (index, cell) in row.iter().enumerate() {
                                    @if index == 0 { th scope="row" { (cell) } }
                                    @else { td { (cell) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// A table of numbers that stands open.
    pub(crate) fn open(&self) -> Markup {
        self.draw("numbers")
    }

    /// A table of words that stands open.
    pub(crate) fn words(&self) -> Markup {
        self.draw("words")
    }
}

/// A section with a heading that can be linked to.
#[derive(Clone, Debug)]
struct Section {
    id: &'static str,
    title: String,
    content: Markup,
}

/// A page that is being put together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    title: String,
    lead: Vec<Markup>,
    sections: Vec<Section>,
    figures: usize,
}

impl Page {
    /// A page without sections, with what stands at its head.
    pub(crate) fn new(title: &str, lead: Vec<Markup>) -> Self {
        Self {
            title: title.to_owned(),
            lead,
            ..Self::default()
        }
    }

    /// Adds a section.
    pub(crate) fn section(&mut self, id: &'static str, title: &str, content: Markup) {
        self.sections.push(Section {
            id,
            title: title.to_owned(),
            content,
        });
    }

    /// A figure with the next number: charts beside each other, what they are, and
    /// their numbers.
    pub(crate) fn figure(
        &mut self,
        title: &str,
        caption: &Markup,
        charts: &[Markup],
        tables: &[Table],
    ) -> Markup {
        self.panels_figure(charts.len(), title, caption, charts, tables)
    }

    /// The same, with so many charts beside each other.
    pub(crate) fn panels_figure(
        &mut self,
        columns: usize,
        title: &str,
        caption: &Markup,
        charts: &[Markup],
        tables: &[Table],
    ) -> Markup {
        self.figures += 1;
        let panels = match (columns, charts.len()) {
            (_, 1) => "panels one",
            (3, _) => "panels three",
            _ => "panels two",
        };
        html! {
            figure id=(format!("figure-{}", self.figures)) {
                div class=(panels) { @for chart in charts { (chart) } }
                figcaption { b { "Figure " (self.figures) ". " (title) "." } " " (caption) }
                @if !tables.is_empty() {
                    details {
                        summary { "Numbers of figure " (self.figures) }
                        @for table in tables { (table.draw("numbers")) }
                    }
                }
            }
        }
    }

    /// The whole file.
    pub(crate) fn finish(&self, made_by: &str) -> String {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    // Nothing is loaded, whatever a name in the records holds.
                    meta http-equiv="Content-Security-Policy"
                        content="default-src 'none'; style-src 'unsafe-inline'; img-src data:";
                    meta name="color-scheme" content="light dark";
                    // A browser asks for an icon of its own accord otherwise.
                    link rel="icon" href="data:,";
                    title { (self.title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    a class="skip" href="#content" { "Skip to the content" }
                    header {
                        h1 { (self.title) }
                        @for part in &self.lead { (part) }
                    }
                    nav aria-label="Sections" {
                        ol {
                            @for section in &self.sections {
                                li { a href=(format!("#{}", section.id)) { (section.title) } }
                            }
                        }
                    }
                    main id="content" {
                        @for section in &self.sections {
                            section aria-labelledby=(section.id) {
                                h2 id=(section.id) { (section.title) }
                                (section.content)
                            }
                        }
                    }
                    footer { (made_by) }
                }
            }
        }
        .into_string()
    }
}

/// Names and figures at the head of a page; the third is a remark.
pub(crate) fn key_figures(figures: &[(&str, String, String)]) -> Markup {
    html! {
        dl class="key" {
            @for (name, value, remark) in figures {
                div { dt { (name) } dd { (value) @if !remark.is_empty() { small { (remark) } } } }
            }
        }
    }
}
