//! Things that are described by a TOML file each: boards, and with figures that
//! say what they rest on, microcontrollers and links.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;

use crate::board::{Fault, position};
use crate::nearest;

/// A number, and what it rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// In the unit that the figure's name ends with.
    pub value: f64,
    /// Document, version, section or table; or how it was estimated.
    pub source: String,
    /// Whether it was looked up there, and is no estimate.
    pub is_verified: bool,
}

/// Why something is not in a catalogue.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// A file that cannot be read.
    #[error("failed to read {noun} file {}: {source}", path.display())]
    Read {
        /// What it should describe.
        noun: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that says something wrong.
    #[error("{file}:{line}:{column}: {message}")]
    Invalid {
        /// The file.
        file: String,
        /// Line of the fault, from 1.
        line: usize,
        /// Column of the fault in characters, from 1.
        column: usize,
        /// What is wrong and what is allowed.
        message: String,
    },
    /// A name that nothing has.
    #[error(
        "no {noun} `{name}`{}; known {noun}s: {}",
        nearest.as_ref().map(|near| format!(", did you mean `{near}`?")).unwrap_or_default(),
        known.join(", ")
    )]
    Unknown {
        /// What was asked for.
        noun: &'static str,
        /// By this name.
        name: String,
        /// The closest known name, if one is close.
        nearest: Option<String>,
        /// Every known name.
        known: Vec<String>,
    },
}

/// The files of these names in a folder of the project: name and text of each.
macro_rules! files {
    ($folder:literal, $($name:literal),* $(,)?) => {
        &[$((
            $name,
            include_str!(concat!("../../../", $folder, $name, ".toml")),
        )),*]
    };
}
pub(crate) use files;

/// The files of one kind that are part of this program.
pub(crate) struct Catalogue {
    /// What a file describes.
    pub(crate) noun: &'static str,
    /// Where the files are, from the root of the project.
    pub(crate) folder: &'static str,
    /// Name and text of each.
    pub(crate) embedded: &'static [(&'static str, &'static str)],
}

impl Catalogue {
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.embedded.iter().map(|(name, _)| *name)
    }

    /// How errors call the file of a name.
    pub(crate) fn file(&self, name: &str) -> String {
        format!("{}/{name}.toml", self.folder)
    }

    /// The text of a name.
    pub(crate) fn text(&self, name: &str) -> Result<&'static str, CatalogueError> {
        let found = self.embedded.iter().find(|(known, _)| *known == name);
        if let Some((_, text)) = found {
            return Ok(text);
        }
        Err(CatalogueError::Unknown {
            noun: self.noun,
            name: name.into(),
            nearest: nearest(name, self.names()).map(Into::into),
            known: self.names().map(Into::into).collect(),
        })
    }

    /// The text of a file of the user's own.
    pub(crate) fn load(&self, path: &Path) -> Result<String, CatalogueError> {
        std::fs::read_to_string(path).map_err(|source| CatalogueError::Read {
            noun: self.noun,
            path: path.into(),
            source,
        })
    }
}

/// What has a `CATALOGUE` beside it is found there by name; with `and files`, also
/// in a file of the user's own. `Self::check` makes it of what was read.
macro_rules! catalogued {
    ($described:ty) => {
        impl $described {
            /// The names of those of this program, in their order.
            pub fn names() -> impl Iterator<Item = &'static str> {
                CATALOGUE.names()
            }

            /// The one of this program that is called `name`.
            ///
            /// # Errors
            /// [`CatalogueError::Unknown`] with the known names and the nearest.
            pub fn named(name: &str) -> Result<Self, CatalogueError> {
                Self::parse(&CATALOGUE.file(name), CATALOGUE.text(name)?)
            }

            /// What `text` describes; `file` is how errors call it.
            ///
            /// # Errors
            /// [`CatalogueError::Invalid`] with line, column and what is allowed.
            pub fn parse(file: &str, text: &str) -> Result<Self, CatalogueError> {
                $crate::catalogue::parse_file(file, text, Self::check)
            }
        }
    };
    ($described:ty, and files) => {
        catalogued!($described);

        impl $described {
            /// What the file at `path` describes.
            ///
            /// # Errors
            /// If the file cannot be read, or says something wrong.
            pub fn load(path: &std::path::Path) -> Result<Self, CatalogueError> {
                Self::parse(&path.display().to_string(), &CATALOGUE.load(path)?)
            }

            /// What an experiment names: a file where it has a `/` or ends with
            /// `.toml`, else one of this program's.
            ///
            /// # Errors
            /// As [`Self::load`] and [`Self::named`].
            pub fn find(name_or_path: &str) -> Result<Self, CatalogueError> {
                match $crate::board::is_path(name_or_path) {
                    true => Self::load(name_or_path.as_ref()),
                    false => Self::named(name_or_path),
                }
            }
        }
    };
}
pub(crate) use catalogued;

/// What `text` describes; `file` is how errors call it.
pub(crate) fn parse_file<R: DeserializeOwned, T>(
    file: &str,
    text: &str,
    check: impl FnOnce(R) -> Result<T, Fault>,
) -> Result<T, CatalogueError> {
    let read = toml::from_str::<R>(text).map_err(|error| Fault {
        span: error.span().unwrap_or_default(),
        message: error.message().into(),
    });
    read.and_then(check).map_err(|fault| {
        let (line, column) = position(text, fault.span.start);
        CatalogueError::Invalid {
            file: file.into(),
            line,
            column,
            message: fault.message,
        }
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawFigure {
    pub(crate) value: Spanned<f64>,
    source: Spanned<String>,
    #[serde(default)]
    unverified: bool,
}

impl RawFigure {
    /// The figure, which is `key`, where it is within what is allowed and has a
    /// source.
    pub(crate) fn check(self, key: &str, allowed: RangeInclusive<f64>) -> Result<Figure, Fault> {
        let value = *self.value.get_ref();
        // Not a number is in no range.
        if !allowed.contains(&value) {
            return Err(Fault::at(
                &self.value,
                format!(
                    "{key} is {value}; allowed are {} to {}",
                    allowed.start(),
                    allowed.end()
                ),
            ));
        }
        if self.source.get_ref().trim().is_empty() {
            return Err(Fault::at(
                &self.source,
                format!(
                    "{key} without a source; name document and table, or say how it is estimated"
                ),
            ));
        }
        Ok(Figure {
            value,
            source: self.source.into_inner(),
            is_verified: !self.unverified,
        })
    }

    /// Checks that this, which is `key`, is no more than another.
    pub(crate) fn check_at_most(
        &self,
        key: &str,
        other: &Self,
        other_key: &str,
    ) -> Result<(), Fault> {
        let (value, most) = (self.value.get_ref(), other.value.get_ref());
        if value > most {
            return Err(Fault::at(
                &self.value,
                format!("{key} is {value}; allowed is at most the {most} of {other_key}"),
            ));
        }
        Ok(())
    }
}

/// The names of the figures that nobody has looked up.
pub(crate) fn unverified<'a>(
    figures: impl IntoIterator<Item = (&'static str, &'a Figure)>,
) -> impl Iterator<Item = &'static str> {
    figures
        .into_iter()
        .filter(|(_, figure)| !figure.is_verified)
        .map(|(name, _)| name)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Checks that a catalogue has all files of its folder, and that each is
    /// called by its name.
    pub(crate) fn check_complete(catalogue: &Catalogue, names: impl Iterator<Item = String>) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut files: Vec<String> = std::fs::read_dir(root.join(catalogue.folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().display().to_string())
            .filter(|name| name.ends_with(".toml"))
            .collect();
        files.sort();
        let mut embedded: Vec<String> = catalogue
            .names()
            .map(|name| format!("{name}.toml"))
            .collect();
        embedded.sort();
        assert_eq!(files, embedded);
        assert!(names.eq(catalogue.names()));
    }

    /// Checks that no estimate passes for a figure that was looked up.
    pub(crate) fn check_estimates<'a>(
        name: &str,
        figures: impl IntoIterator<Item = (&'static str, &'a Figure)>,
    ) {
        for (key, figure) in figures {
            let source = &figure.source;
            let is_own = source.starts_with("estimate") || source.contains("recalled");
            assert!(!is_own || !figure.is_verified, "{name} {key}");
        }
    }
}
