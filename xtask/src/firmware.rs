//! Builds the firmware images.
//!
//! Reads target and package of every board from `boards/*.toml`, lets cargo
//! build `firmware/` and leaves `target/firmware/BOARD.elf`. All boards and
//! both toolchains share one target folder, `target/firmware-build`. With all
//! boards the example without a network is built:
//! `target/firmware-examples/bare-metal-TARGET.elf`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::Deserialize;

use crate::toolchain::{self, Toolchain};

/// Why there are no images.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// There is no such board.
    #[error("unknown board `{name}`, expected one of {known}")]
    UnknownBoard {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A board file is not as it should be.
    #[error("failed to read board file {path}: {reason}")]
    BoardFile {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file or folder could not be read or written.
    #[error("failed to {action} {path}: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// No compiler.
    #[error(transparent)]
    Toolchain(#[from] toolchain::Error),
    /// The compiler could not be started.
    #[error("failed to run cargo of {toolchain}: {source}")]
    Cargo {
        /// Of which toolchain.
        toolchain: String,
        /// Why.
        source: io::Error,
    },
    /// The compiler found errors, and printed them.
    #[error("failed to build {package} for {target}: see the messages above")]
    Build {
        /// What.
        package: String,
        /// For which target.
        target: String,
    },
}

/// What a board file says of the firmware.
#[derive(Deserialize)]
struct BoardFile {
    name: String,
    firmware: Firmware,
}

#[derive(Deserialize)]
struct Firmware {
    target: String,
    package: String,
    #[serde(default)]
    profile: Profile,
}

/// How the compiler optimises: the profiles of `firmware/Cargo.toml`.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Profile {
    /// For speed where the time goes, else for size.
    #[default]
    Release,
    /// For size everywhere: for boards with little flash.
    Small,
}

impl Profile {
    const fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Small => "small",
        }
    }
}

/// The package of `firmware/examples/bare-metal`, and what its test runs.
const EXAMPLE: &str = "zfl-bare-metal";
const EXAMPLE_TARGETS: [&str; 2] = ["thumbv7m-none-eabi", "thumbv7em-none-eabihf"];

/// Builds the boards called `names`, or all and the example when there are none.
///
/// # Errors
/// When a board is unknown, no toolchain is there or the build fails.
pub(crate) fn build(project: &Path, names: &[String]) -> Result<(), Error> {
    let boards = select(read_boards(&project.join("boards"))?, names)?;
    let targets: BTreeSet<&str> = boards.iter().map(|board| &*board.firmware.target).collect();
    let targets: Vec<&str> = targets.into_iter().collect();
    let toolchain = Toolchain::find(project, &targets)?;
    eprintln!("xtask: building firmware with {toolchain}");
    let build_folder = project.join("target/firmware-build");
    let image_folder = project.join("target/firmware");
    let example_folder = project.join("target/firmware-examples");
    for folder in [&image_folder, &example_folder] {
        fs::create_dir_all(folder).map_err(|source| Error::File {
            action: "create",
            path: folder.clone(),
            source,
        })?;
    }
    let build = |package: &str, target: &str, profile: Profile, image: &Path| {
        let mut command = toolchain.cargo_build(target, profile.name());
        command
            .current_dir(project.join("firmware"))
            .arg("--target-dir")
            .arg(&build_folder)
            .args(["--package", package]);
        let status = command.status().map_err(|source| Error::Cargo {
            toolchain: toolchain.to_string(),
            source,
        })?;
        if !status.success() {
            return Err(Error::Build {
                package: package.to_owned(),
                target: target.to_owned(),
            });
        }
        let built_folder = build_folder.join(target).join(profile.name());
        install(&built_folder.join(package), image)?;
        eprintln!("xtask: {}", image.display());
        Ok(())
    };
    // Each board by a cargo of its own: the drivers are chosen by features of
    // a package that all share, and cargo would unite those of one build.
    for board in &boards {
        let Firmware {
            target,
            package,
            profile,
        } = &board.firmware;
        let image = image_folder.join(format!("{}.elf", board.name));
        build(package, target, *profile, &image)?;
    }
    if names.is_empty() {
        for target in EXAMPLE_TARGETS {
            let image = example_folder.join(format!("bare-metal-{target}.elf"));
            build(EXAMPLE, target, Profile::Release, &image)?;
        }
    }
    Ok(())
}

fn read_boards(folder: &Path) -> Result<Vec<BoardFile>, Error> {
    let file_error = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::File {
            action: "read",
            path,
            source,
        }
    };
    let mut boards = Vec::new();
    for entry in fs::read_dir(folder).map_err(file_error(folder))? {
        let path = entry.map_err(file_error(folder))?.path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(file_error(&path))?;
        boards.push(toml::from_str(&text).map_err(|error| Error::BoardFile {
            path,
            reason: error.to_string(),
        })?);
    }
    boards.sort_by(|a: &BoardFile, b| a.name.cmp(&b.name));
    Ok(boards)
}

fn select(boards: Vec<BoardFile>, names: &[String]) -> Result<Vec<BoardFile>, Error> {
    for name in names {
        if !boards.iter().any(|board| board.name == *name) {
            let known: Vec<&str> = boards.iter().map(|board| board.name.as_str()).collect();
            return Err(Error::UnknownBoard {
                name: name.clone(),
                known: known.join(", "),
            });
        }
    }
    Ok(boards
        .into_iter()
        .filter(|board| names.is_empty() || names.contains(&board.name))
        .collect())
}

/// Puts a built image in its place, whole or not at all, and only when it
/// changed, so that whatever depends on it is not built anew for nothing.
fn install(built: &Path, image: &Path) -> Result<(), Error> {
    let file_error = |action, path: &Path| {
        let path = path.to_owned();
        move |source| Error::File {
            action,
            path,
            source,
        }
    };
    let bytes = fs::read(built).map_err(file_error("read", built))?;
    if fs::read(image).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let partial = image.with_extension("elf.partial");
    fs::write(&partial, bytes).map_err(file_error("write", &partial))?;
    fs::rename(&partial, image).map_err(file_error("write", image))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boards() -> Vec<BoardFile> {
        read_boards(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../boards")).unwrap()
    }

    #[test]
    fn every_board_has_its_binary() {
        let firmware = Path::new(env!("CARGO_MANIFEST_DIR")).join("../firmware");
        assert!(!boards().is_empty());
        for board in boards() {
            let folder = firmware.join("boards").join(&board.name);
            let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
            let name = format!("name = \"{}\"", board.firmware.package);
            assert!(manifest.contains(&name), "{}", board.name);
        }
    }

    #[test]
    fn boards_are_selected_by_name() {
        let names = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            select(boards(), &names).map(|boards| boards.len())
        };
        assert_eq!(names(&[]).unwrap(), boards().len());
        assert_eq!(names(&["mps2-an386"]).unwrap(), 1);
        let error = names(&["mps2-an999"]).unwrap_err().to_string();
        assert!(
            error
                .starts_with("unknown board `mps2-an999`, expected one of lm3s6965evb, mps2-an385"),
            "{error}"
        );
    }

    #[test]
    fn an_image_is_replaced_only_when_it_changed() {
        let folder = tempfile::tempdir().unwrap();
        let (built, image) = (folder.path().join("built"), folder.path().join("b.elf"));
        fs::write(&built, "1").unwrap();
        install(&built, &image).unwrap();
        let first = fs::metadata(&image).unwrap().modified().unwrap();
        install(&built, &image).unwrap();
        assert_eq!(fs::metadata(&image).unwrap().modified().unwrap(), first);
        fs::write(&built, "2").unwrap();
        install(&built, &image).unwrap();
        assert_eq!(fs::read_to_string(&image).unwrap(), "2");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
